"""The Client-Server API on one screen: every endpoint this role serves.  spec: client-server-api"""

from __future__ import annotations

from client_api import discovery
from client_api.accounts_routes import ROUTES_ACCOUNTS
from client_api.deps import ClientServices
from client_api.rooms_routes import ROUTES_ROOMS
from homeserver.web.route import Auth, Route

DISCOVERY: list[Route[ClientServices]] = [
    Route("GET", "/_matrix/client/versions", discovery.get_versions, auth=Auth.OPTIONAL),
    Route("GET", "/.well-known/matrix/client", discovery.get_wellknown, auth=Auth.NONE),
    Route("GET", "/.well-known/matrix/support", discovery.get_wellknown_support, auth=Auth.NONE),
    Route("GET", "/_matrix/client/v3/capabilities", discovery.get_capabilities, auth=Auth.GUEST_OK),
]

ROUTES: list[Route[ClientServices]] = [*DISCOVERY, *ROUTES_ACCOUNTS, *ROUTES_ROOMS]
