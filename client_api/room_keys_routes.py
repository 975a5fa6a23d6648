"""The endpoints of key backups.  spec: client-server-api#server-side-key-backups"""

from __future__ import annotations

from client_api import room_keys
from client_api.bounds import KEYS_BODY
from client_api.deps import ClientServices
from homeserver.web.route import Route

V3 = "/_matrix/client/v3"
_VERSIONS = f"{V3}/room_keys/version"
_VERSION = f"{_VERSIONS}/{{version}}"
_KEYS = f"{V3}/room_keys/keys"
_ROOM = f"{_KEYS}/{{roomId}}"
_SESSION = f"{_ROOM}/{{sessionId}}"

# Keys are asked for one by one when old messages are opened, so only what writes or reads many is counted.
ROOM_KEYS_ROUTES: list[Route[ClientServices]] = [
    Route("POST", _VERSIONS, room_keys.post_room_keys_version, body_limit=KEYS_BODY, limit="keys"),
    Route("GET", _VERSIONS, room_keys.get_room_keys_version_current),
    Route("GET", _VERSION, room_keys.get_room_keys_version),
    Route("PUT", _VERSION, room_keys.put_room_keys_version, body_limit=KEYS_BODY, limit="keys"),
    Route("DELETE", _VERSION, room_keys.delete_room_keys_version, limit="keys"),
    Route("PUT", _KEYS, room_keys.put_room_keys, body_limit=KEYS_BODY, limit="keys"),
    Route("GET", _KEYS, room_keys.get_room_keys, limit="keys"),
    Route("DELETE", _KEYS, room_keys.delete_room_keys, limit="keys"),
    Route("PUT", _ROOM, room_keys.put_room_keys_by_room_id, body_limit=KEYS_BODY, limit="keys"),
    Route("GET", _ROOM, room_keys.get_room_keys_by_room_id, limit="keys"),
    Route("DELETE", _ROOM, room_keys.delete_room_keys_by_room_id, limit="keys"),
    Route("PUT", _SESSION, room_keys.put_room_key_by_session_id, body_limit=KEYS_BODY, limit="keys"),
    Route("GET", _SESSION, room_keys.get_room_key_by_session_id),
    Route("DELETE", _SESSION, room_keys.delete_room_key_by_session_id, limit="keys"),
]
