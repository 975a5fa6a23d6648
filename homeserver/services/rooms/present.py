"""Events as one recipient gets them: the shared client form plus what is theirs alone.

spec: client-server-api#room-event-format
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.ports.events import StoredEvent
from homeserver.ports.relations import Reader
from homeserver.ports.store import Transaction
from homeserver.services.rooms.access import RoomWindow
from homeserver.services.rooms.render import for_member, for_recipient
from homeserver.services.rooms.visibility import History, Visible, has_quotes


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets the events, on which device."""

    user_id: str
    device_id: str | None = None
    ignored: frozenset[str] = frozenset()


async def present(tx: Transaction, window: RoomWindow, recipient: Recipient, events: Sequence[Visible]) -> list[bytes]:
    """The client form of timeline events for a recipient: with their transaction ids, their membership at the time
    and bundled aggregations. A constant number of statements."""
    history = window.history
    relations = await bundled(tx, recipient, {window.room_nid: history}, events, window.end)
    return [told(stored, recipient, history, relations.get(stored.event.event_id)) for stored in events]


def told(stored: Visible, recipient: Recipient, history: History, aggregations: dict[str, Any] | None) -> bytes:
    """The client form of one timeline event for a recipient."""
    # spec: client-server-api#room-event-format (unsigned.membership, MSC4115)
    membership = history.membership_at(stored)
    txn, quotes = stored.sent_from(recipient.user_id, recipient.device_id), has_quotes(stored)
    if txn is None and aggregations is None and not quotes:
        return for_member(stored, membership)
    extra: dict[str, Any] = {"membership": membership}
    if quotes:
        extra.update(history.quotes(stored))
    if txn is not None:
        extra["transaction_id"] = txn.txn_id
    if aggregations is not None:
        extra["m.relations"] = aggregations
    return for_recipient(stored, extra)


async def bundled(
    tx: Transaction,
    recipient: Recipient,
    histories: Mapping[int, History],
    events: Sequence[StoredEvent],
    end: int | None = None,
    *,
    inside_thread: bool = False,
) -> dict[str, dict[str, Any]]:
    """`m.relations` by event id for those events that have any; no statement if none has, else at most six.

    State events get none. Children count as far as the user may see them (by `histories` of all the events' rooms, and
    up to the order `end`) and wants to. With a thread comes its newest event, and with that what is bundled with it,
    which is no thread again: `inside_thread`.
    spec: client-server-api#aggregations-of-child-events
    """
    targets = [s.event.event_id for s in events if s.is_related_to and not s.event.is_state]
    if not targets:
        return {}
    spans = [span for room_nid in {s.room_nid for s in events} for span in histories[room_nid].spans(room_nid, end)]
    reader = Reader(recipient.user_id, recipient.ignored, spans)
    relations: dict[str, dict[str, Any]] = {}
    found = await tx.relations.aggregates(targets, reader)
    aggregates = [one for one in found if not (inside_thread and one.rel_type == "m.thread")]
    children = (await tx.events.get_many([one.latest for one in aggregates])).values()
    latest = {
        child.event.event_id: child for stored in children for child in histories[stored.room_nid].shown([stored], end)
    }
    replies = [latest[one.latest] for one in aggregates if one.rel_type == "m.thread" and one.latest in latest]
    inner = await bundled(tx, recipient, histories, replies, end, inside_thread=True)
    for aggregate in aggregates:
        child = latest.get(aggregate.latest)
        if child is None:
            continue
        history, own = histories[child.room_nid], relations.setdefault(aggregate.target, {})
        rendered = orjson.Fragment(told(child, recipient, history, inner.get(aggregate.latest)))
        if aggregate.rel_type == "m.replace":
            # spec: client-server-api#server-side-aggregation-of-mreplace-relationships
            own["m.replace"] = rendered
            continue
        # spec: client-server-api#server-side-aggregation-of-mthread-relationships
        own["m.thread"] = {
            "latest_event": rendered,
            "count": aggregate.count,
            "current_user_participated": aggregate.participated,
        }
    for target, event_ids in (await tx.relations.references(targets, reader)).items():
        relations.setdefault(target, {})["m.reference"] = {"chunk": [{"event_id": name} for name in event_ids]}
    return relations
