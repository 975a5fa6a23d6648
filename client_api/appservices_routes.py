"""The endpoints of application services and of the networks that they bridge.

spec: application-service-api#client-server-api-extensions
"""

from __future__ import annotations

from client_api import appservices
from client_api.deps import ClientServices
from homeserver.web.route import Route

_V1 = "/_matrix/client/v1"
_V3 = "/_matrix/client/v3"
_THIRDPARTY = f"{_V3}/thirdparty"
# COMPAT(bridges): the name from before the specification.
_PINGS = ("/_matrix/client/unstable/fi.mau.msc2659/appservice/{appserviceId}/ping",)

APPSERVICE_ROUTES: list[Route[ClientServices]] = [
    Route("POST", f"{_V1}/appservice/{{appserviceId}}/ping", appservices.ping_appservice, also=_PINGS),
    Route(
        "PUT",
        f"{_V3}/directory/list/appservice/{{networkId}}/{{roomId}}",
        appservices.update_appservice_room_directory_visibility,
    ),
    Route("GET", f"{_THIRDPARTY}/protocols", appservices.get_protocols),
    Route("GET", f"{_THIRDPARTY}/protocol/{{protocol}}", appservices.get_protocol_metadata),
    Route("GET", f"{_THIRDPARTY}/location/{{protocol}}", appservices.query_location_by_protocol),
    Route("GET", f"{_THIRDPARTY}/user/{{protocol}}", appservices.query_user_by_protocol),
    Route("GET", f"{_THIRDPARTY}/location", appservices.query_location_by_alias),
    Route("GET", f"{_THIRDPARTY}/user", appservices.query_user_by_id),
]
