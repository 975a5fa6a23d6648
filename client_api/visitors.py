"""What visitors of support chats may ask of this API. What is not named here they may not, new endpoints included.

Joining, inviting, state, directories and profiles are not here: a visitor's rooms are made and left by the server
(`services/support`), so that they reach no others. The second column is the further rate limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from client_api.deps import ClientServices
from homeserver.core import canonical
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.web.route import Route

_V1 = "/_matrix/client/v1"
_V3 = "/_matrix/client/v3"
_ROOM = f"{_V3}/rooms/{{roomId}}"
_REQUESTS = "support_requests"
_MESSAGES = "support_messages"
_SEAL = 1024

ALLOWED: dict[tuple[str, str], str] = {
    ("GET", "/_matrix/client/versions"): _REQUESTS,
    ("GET", f"{_V3}/capabilities"): _REQUESTS,
    ("GET", f"{_V3}/account/whoami"): _REQUESTS,
    ("GET", f"{_V3}/sync"): _REQUESTS,
    ("GET", f"{_V3}/joined_rooms"): _REQUESTS,
    ("POST", f"{_V3}/user/{{userId}}/filter"): _REQUESTS,
    ("GET", f"{_V3}/user/{{userId}}/filter/{{filterId}}"): _REQUESTS,
    ("GET", f"{_V3}/pushrules/"): _REQUESTS,
    ("PUT", f"{_ROOM}/send/{{eventType}}/{{txnId}}"): _MESSAGES,
    ("PUT", f"{_ROOM}/redact/{{eventId}}/{{txnId}}"): _MESSAGES,
    ("GET", f"{_ROOM}/event/{{eventId}}"): _REQUESTS,
    ("GET", f"{_ROOM}/context/{{eventId}}"): _REQUESTS,
    ("GET", f"{_ROOM}/messages"): _REQUESTS,
    ("GET", f"{_ROOM}/members"): _REQUESTS,
    ("GET", f"{_ROOM}/joined_members"): _REQUESTS,
    ("PUT", f"{_ROOM}/typing/{{userId}}"): _REQUESTS,
    ("POST", f"{_ROOM}/receipt/{{receiptType}}/{{eventId}}"): _REQUESTS,
    ("POST", f"{_ROOM}/read_markers"): _REQUESTS,
    ("GET", f"{_V1}/rooms/{{roomId}}/relations/{{eventId}}"): _REQUESTS,
    ("POST", f"{_V3}/keys/upload"): _REQUESTS,
    ("POST", f"{_V3}/keys/query"): _REQUESTS,
    ("POST", f"{_V3}/keys/claim"): _REQUESTS,
    ("GET", f"{_V3}/keys/changes"): _REQUESTS,
    ("POST", f"{_V3}/keys/device_signing/upload"): _REQUESTS,
    ("POST", f"{_V3}/keys/signatures/upload"): _REQUESTS,
    ("PUT", f"{_V3}/sendToDevice/{{eventType}}/{{txnId}}"): _REQUESTS,
    # A known visitor's browsers share their keys there (docs/adr/0016).
    ("GET", f"{_V3}/user/{{userId}}/account_data/{{type}}"): _REQUESTS,
    ("PUT", f"{_V3}/user/{{userId}}/account_data/{{type}}"): _REQUESTS,
    ("GET", f"{_V3}/room_keys/version"): _REQUESTS,
    ("POST", f"{_V3}/room_keys/version"): _REQUESTS,
    ("GET", f"{_V3}/room_keys/keys"): _REQUESTS,
    ("PUT", f"{_V3}/room_keys/keys"): _REQUESTS,
}

_SECRETS = (
    "m.secret_storage.default_key",
    "m.secret_storage.key.chat.hromada.site",
    "m.cross_signing.master",
    "m.cross_signing.self_signing",
    "m.cross_signing.user_signing",
    "m.megolm_backup.v1",
)
_SECRET_BYTES = 2_048
_EVENTS = ("m.room.message", "m.reaction", "m.room.encrypted", "m.sticker", "chat.hromada.support.rating")


def for_visitors(routes: Iterable[Route[ClientServices]]) -> list[Route[ClientServices]]:
    """The rows, those that visitors may use marked. Raises ValueError if the table names one that is not served."""
    rows = list(routes)
    unknown = ALLOWED.keys() - {(row.method, row.path) for row in rows}
    if unknown:
        raise ValueError(f"not served, but allowed to visitors: {sorted(unknown)}")
    return [replace(row, visitors=ALLOWED.get((row.method, row.path))) for row in rows]


def check_sent(who: Requester, event_type: str, content: dict[str, object], most_bytes: int) -> None:
    """Raise MatrixError: FORBIDDEN, TOO_LARGE for an event that a visitor may not send; others may."""
    if who.site_id is None:
        return
    if event_type not in _EVENTS:
        raise MatrixError(ErrCode.FORBIDDEN, "Visitors of a support chat send messages, reactions and ratings only")
    if event_type == "m.room.encrypted":
        most_bytes += most_bytes // 2 + _SEAL  # what is encrypted is longer than what it says
    if len(canonical.encode_lenient(content)) > most_bytes:
        raise MatrixError(ErrCode.TOO_LARGE, f"A message has at most {most_bytes} bytes here")


def check_account_data(who: Requester, type_: str, content: dict[str, object] | None = None) -> None:
    """Raise MatrixError: FORBIDDEN, TOO_LARGE for account data that is not a visitor's; others may have any."""
    if who.site_id is None:
        return
    if type_ not in _SECRETS:
        raise MatrixError(ErrCode.FORBIDDEN, "Visitors of a support chat keep their keys here and nothing else")
    if content is not None and len(canonical.encode_lenient(content)) > _SECRET_BYTES:
        raise MatrixError(ErrCode.TOO_LARGE, f"A visitor's secret has at most {_SECRET_BYTES} bytes")
