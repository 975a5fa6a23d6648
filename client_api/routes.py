"""The Client-Server API on one screen: every endpoint this role serves.  spec: client-server-api"""

from __future__ import annotations

from client_api import discovery, stream, sync
from client_api.accounts_routes import ROUTES_ACCOUNTS
from client_api.admin_routes import ADMIN_ROUTES
from client_api.appservices_routes import APPSERVICE_ROUTES
from client_api.deps import ClientServices
from client_api.e2e_routes import E2E_ROUTES
from client_api.personal_routes import PERSONAL_ROUTES
from client_api.room_keys_routes import ROOM_KEYS_ROUTES
from client_api.rooms_routes import ROUTES_ROOMS
from client_api.visitors import for_visitors
from homeserver.web.route import Auth, Route, WebSocketRoute

DISCOVERY: list[Route[ClientServices]] = [
    Route("GET", "/_matrix/client/versions", discovery.get_versions, auth=Auth.OPTIONAL),
    Route("GET", "/.well-known/matrix/client", discovery.get_wellknown, auth=Auth.NONE),
    Route("GET", "/.well-known/matrix/support", discovery.get_wellknown_support, auth=Auth.NONE),
    Route("GET", "/_matrix/client/v3/capabilities", discovery.get_capabilities, auth=Auth.GUEST_OK),
]

# COMPAT(matrix-js-sdk 43): it asks for the state after the timeline by the unstable name only.
_SYNC_NAMES = {"use_state_after_unstable": "org.matrix.msc4222.use_state_after"}

SYNC: list[Route[ClientServices]] = [
    Route("GET", "/_matrix/client/v3/sync", sync.sync, auth=Auth.GUEST_OK, held=True, query_names=_SYNC_NAMES),
]

ROUTES: list[Route[ClientServices]] = for_visitors(
    [
        *DISCOVERY,
        *ROUTES_ACCOUNTS,
        *PERSONAL_ROUTES,
        *E2E_ROUTES,
        *ROOM_KEYS_ROUTES,
        *ROUTES_ROOMS,
        *APPSERVICE_ROUTES,
        *ADMIN_ROUTES,
        *SYNC,
    ]
)

SOCKETS: list[WebSocketRoute[ClientServices]] = [
    WebSocketRoute("/_matrix/client/unstable/chat.hromada/stream", stream.stream, subprotocol="m.json"),
]
