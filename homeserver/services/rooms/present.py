"""Events as one recipient gets them: the shared client form plus what is theirs alone.

spec: client-server-api#room-event-format
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction
from homeserver.services.rooms.access import RoomWindow
from homeserver.services.rooms.filtered import ignores
from homeserver.services.rooms.render import client_json, for_recipient
from homeserver.services.rooms.visibility import Visible, has_quotes
from homeserver.services.rooms.writer import RoomMemory

Seen = Callable[[list[StoredEvent]], Awaitable[list[Visible]]]
"""Leaves out the events that the recipient may not see."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets the events, on which device."""

    user_id: str
    device_id: str | None = None
    ignored: frozenset[str] = frozenset()


async def present(
    tx: Transaction, memory: RoomMemory, window: RoomWindow, recipient: Recipient, events: Sequence[Visible]
) -> list[bytes]:
    """The client form of timeline events for a recipient: with their transaction ids, their membership at the time
    and bundled aggregations. A constant number of statements."""

    async def seen(children: list[StoredEvent]) -> list[Visible]:
        return window.shown(child for child in children if not ignores(recipient.ignored, child))

    relations = await bundled(tx, memory, recipient.user_id, events, seen)
    rendered: list[bytes] = []
    for stored in events:
        # spec: client-server-api#room-event-format (unsigned.membership, MSC4115)
        extra: dict[str, Any] = {"membership": window.history.membership_at(stored)}
        if has_quotes(stored):
            extra.update(window.history.quotes(stored))
        if (txn := stored.sent_from(recipient.user_id, recipient.device_id)) is not None:
            extra["transaction_id"] = txn.txn_id
        if (aggregations := relations.get(stored.event.event_id)) is not None:
            extra["m.relations"] = aggregations
        rendered.append(for_recipient(stored, extra))
    return rendered


async def bundled(
    tx: Transaction, memory: RoomMemory, user_id: str, events: Sequence[StoredEvent], seen: Seen
) -> dict[str, dict[str, Any]]:
    """`m.relations` by event id for those events that have any; no statement if none has, else at most three.

    State events and redacted ones get none; children that the user may not see are left out.
    spec: client-server-api#aggregations-of-child-events
    """
    targets = [s.event.event_id for s in events if s.is_related_to and not s.event.is_state and s.redacted_by is None]
    if not targets:
        return {}
    relations: dict[str, dict[str, Any]] = {}
    aggregates = await tx.relations.aggregates(targets, user_id)
    children = await tx.events.get_many([aggregate.latest for aggregate in aggregates])
    latest = {child.event.event_id: child for child in await seen(list(children.values()))}
    for aggregate in aggregates:
        child = latest.get(aggregate.latest)
        if child is None:
            continue
        rendered = orjson.Fragment(client_json(child))
        relations.setdefault(aggregate.target, {})[aggregate.rel_type] = (
            rendered  # spec: client-server-api#server-side-aggregation-of-mreplace-relationships
            if aggregate.rel_type == "m.replace"
            else {
                "latest_event": rendered,
                "count": aggregate.count,
                "current_user_participated": aggregate.participated,
            }
        )
    references = await tx.relations.references(targets)
    if references:
        referring = await tx.events.get_many({name for names in references.values() for name in names})
        visible = {child.event.event_id for child in await seen(list(referring.values()))}
        for target, event_ids in references.items():
            if chunk := [{"event_id": name} for name in event_ids if name in visible]:
                relations.setdefault(target, {})["m.reference"] = {"chunk": chunk}
    return relations
