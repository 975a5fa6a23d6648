"""Read receipts and read markers.  spec: client-server-api#receipts, client-server-api#fully-read-markers"""

from __future__ import annotations

import msgspec

from client_api.bounds import Id
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.personal.receipts import FULLY_READ


class ReceiptData(msgspec.Struct):
    """What a client may say about a receipt. Null is not absent: a thread id that is no string is an error."""

    thread_id: Id | msgspec.UnsetType = msgspec.UNSET


class ReadMarkers(msgspec.Struct):
    """How far the user has read, in up to three senses."""

    fully_read: Id | None = msgspec.field(name="m.fully_read", default=None)
    read: Id | None = msgspec.field(name="m.read", default=None)
    read_private: Id | None = msgspec.field(name="m.read.private", default=None)


async def post_receipt(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    receipt_type: str,
    event_id: str,
    body: ReceiptData | None = None,
) -> None:
    """The user has read up to an event."""
    await api.personal.members.require_joined(room_id, who.user_id)
    thread_id = None if body is None or body.thread_id is msgspec.UNSET else body.thread_id
    if receipt_type == FULLY_READ:
        if thread_id is not None:
            raise MatrixError(ErrCode.INVALID_PARAM, "The fully read marker has no threads")
        await api.personal.receipts.set_fully_read(who.user_id, room_id, event_id)
    else:
        await api.personal.receipts.set(who.user_id, room_id, receipt_type, event_id, thread_id)


async def set_read_marker(api: ClientServices, who: Requester, *, room_id: str, body: ReadMarkers) -> None:
    """Move the fully read marker, the receipts, or all of them."""
    await api.personal.members.require_joined(room_id, who.user_id)
    if body.fully_read is not None:
        await api.personal.receipts.set_fully_read(who.user_id, room_id, body.fully_read)
    for type_, event_id in (("m.read", body.read), ("m.read.private", body.read_private)):
        if event_id is not None:
            await api.personal.receipts.set(who.user_id, room_id, type_, event_id, None)
