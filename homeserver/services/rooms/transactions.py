"""Names client transactions so that a repeated request finds the event it made.

The key covers the device *and* the endpoint (room and event type), as the specification scopes transaction ids,
and the user, so that an application service may use one id for several of its users.
spec: client-server-api#transaction-identifiers
"""

from __future__ import annotations

from hashlib import blake2b

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.events import Txn

_MAX_TXN_ID = 255


def transaction(user_id: str, device_id: str, room_id: str, event_type: str, txn_id: str | None) -> Txn | None:
    """The transaction `txn_id` of a device at one endpoint; None for a request that names none.

    Raises MatrixError(INVALID_PARAM) for an id longer than any client makes.
    """
    if txn_id is None:
        return None
    if len(txn_id) > _MAX_TXN_ID:
        raise MatrixError(ErrCode.INVALID_PARAM, f"Transaction ids have at most {_MAX_TXN_ID} characters")
    digest = blake2b(digest_size=16)
    for part in (user_id, device_id, room_id, event_type, txn_id):
        # Lengths go in too: without them two different splits of the same text would collide.
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return Txn(digest.digest(), device_id, txn_id)
