"""Events as one recipient gets them: the shared client form plus what is theirs alone.

spec: client-server-api#room-event-format
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction
from homeserver.services.rooms.access import RoomWindow
from homeserver.services.rooms.relations import bundled
from homeserver.services.rooms.render import for_recipient


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets the events, on which device."""

    user_id: str
    device_id: str | None = None
    ignored: frozenset[str] = frozenset()


async def present(
    tx: Transaction, window: RoomWindow, recipient: Recipient, events: Sequence[StoredEvent]
) -> list[bytes]:
    """The client form of timeline events for a recipient: with their transaction ids, their membership at the time
    and bundled aggregations. A constant number of statements."""
    txns = await transaction_ids(tx, recipient, events)
    relations = await bundled(tx, window, recipient.user_id, events)
    rendered = []
    for stored in events:
        # spec: client-server-api#room-event-format (unsigned.membership, MSC4115)
        extra: dict[str, Any] = {"membership": window.history.membership_at(stored)}
        if (txn_id := txns.get(stored.position)) is not None:
            extra["transaction_id"] = txn_id
        if (aggregations := relations.get(stored.event.event_id)) is not None:
            extra["m.relations"] = aggregations
        rendered.append(for_recipient(stored, extra))
    return rendered


async def transaction_ids(tx: Transaction, recipient: Recipient, events: Sequence[StoredEvent]) -> dict[int, str]:
    """Transaction ids, by position, of the events that this very device sent."""
    if recipient.device_id is None:
        return {}
    own = [stored.position for stored in events if stored.event.sender == recipient.user_id]
    return await tx.events.txns_of(own, recipient.user_id, recipient.device_id) if own else {}
