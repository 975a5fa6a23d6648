"""Read receipts and read markers.  spec: client-server-api#receipts"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.log import EntryKind, LogEntry
from homeserver.ports.receipts import ReceiptChanged
from homeserver.ports.store import Store, Transaction
from homeserver.services.commit import Committer

READ = "m.read"
READ_PRIVATE = "m.read.private"
MAIN_THREAD = "main"


@dataclass(frozen=True, slots=True)
class _PutReceipt:
    """The change for the committer."""

    receipt: ReceiptChanged
    positions: int = 1

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Store the receipt. A private one concerns only its owner."""
        receipt = self.receipt
        await tx.receipts.put(receipt, first)
        owner = receipt.user_id if receipt.is_private else None
        return [LogEntry(first, EntryKind.RECEIPT, receipt.room_id, owner, receipt)]


class ReceiptService:
    """Stores receipts; they never go back to an earlier event of the timeline."""

    def __init__(self, store: Store, committer: Committer, clock: Clock) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock

    async def set(self, user_id: str, room_id: str, type_: str, event_id: str, thread_id: str | None) -> None:
        """The user, joined to the room (checked by the caller), has read up to `event_id`.

        Raises MatrixError(INVALID_PARAM) for an unknown type or thread, NOT_FOUND for an event of another room.
        """
        if type_ not in {READ, READ_PRIVATE}:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{type_!r} is not a receipt type")
        if thread_id is not None and thread_id != MAIN_THREAD and not thread_id.startswith("$"):
            raise MatrixError(ErrCode.INVALID_PARAM, "thread_id must be 'main' or an event id")
        async with self._store.read() as tx:
            room_nid = (await tx.rooms.room_nids([room_id])).get(room_id)
            if room_nid is None:
                raise _unknown_event()
            known_id = await tx.receipts.get(room_nid, user_id, type_, thread_id)
            events = await tx.events.get_many({event_id} | ({known_id} if known_id else set()))
        target = events.get(event_id)
        if target is None or target.room_nid != room_nid or target.order is None:
            raise _unknown_event()
        known = events.get(known_id) if known_id else None
        if known is not None and known.order is not None and known.order >= target.order:
            return
        receipt = ReceiptChanged(room_id, room_nid, user_id, type_, thread_id, event_id, self._clock.now_ms())
        await self._committer.commit(_PutReceipt(receipt))


def receipt_event(receipts: Sequence[ReceiptChanged]) -> dict[str, Any]:
    """The ephemeral `m.receipt` event of a room.  spec: client-server-api#mreceipt"""
    content: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for receipt in receipts:
        data: dict[str, Any] = {"ts": receipt.ts}
        if receipt.thread_id is not None:
            data["thread_id"] = receipt.thread_id
        content.setdefault(receipt.event_id, {}).setdefault(receipt.type, {})[receipt.user_id] = data
    return {"type": "m.receipt", "content": content}


def typing_event(users: Sequence[str]) -> dict[str, Any]:
    """The ephemeral `m.typing` event of a room.  spec: client-server-api#mtyping"""
    return {"type": "m.typing", "content": {"user_ids": list(users)}}


def _unknown_event() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "There is no such event in this room")
