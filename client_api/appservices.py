"""What application services ask for, and what clients ask of third-party networks.

spec: application-service-api#client-server-api-extensions, client-server-api#third-party-networks
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from client_api.bounds import ID_LENGTH, LINE_LENGTH, Id
from client_api.deps import ClientServices
from client_api.rooms import require_active
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.web.request import Request

_MOST_FIELDS = 20
_OURS = frozenset(("access_token", "user_id", "device_id", "org.matrix.msc3202.device_id"))


class PingBody(msgspec.Struct):
    """The body of a ping."""

    transaction_id: Id | None = None


class NetworkVisibilityBody(msgspec.Struct):
    """Whether a room is published on a network."""

    visibility: Literal["private", "public"]


async def ping_appservice(
    api: ClientServices, who: Requester, *, appservice_id: str, body: PingBody | None = None
) -> dict[str, Any]:
    """An application service asks whether it can be reached."""
    wanted = None if body is None else body.transaction_id
    return {"duration_ms": await api.appservices.ping(who.appservice, appservice_id, wanted)}


async def update_appservice_room_directory_visibility(
    api: ClientServices, who: Requester, *, network_id: str, room_id: str, body: NetworkVisibilityBody
) -> None:
    """Publish a room in the directory of a network."""
    if who.appservice is None:
        raise MatrixError(ErrCode.FORBIDDEN, "Only application services have networks")
    require_active(who)
    await api.rooms.directory.publish_on_network(
        (who.appservice, network_id), room_id, public=body.visibility == "public"
    )


async def get_protocols(api: ClientServices, who: Requester) -> dict[str, Any]:
    """All networks."""
    return await api.appservices.protocols()


async def get_protocol_metadata(api: ClientServices, who: Requester, *, protocol: str) -> dict[str, Any]:
    """One network."""
    return await api.appservices.protocol(protocol)


async def query_location_by_protocol(
    api: ClientServices, who: Requester, *, protocol: str, request: Request
) -> list[Any]:
    """Places of a network."""
    return await api.appservices.search("location", protocol, _fields(request))


async def query_user_by_protocol(api: ClientServices, who: Requester, *, protocol: str, request: Request) -> list[Any]:
    """People of a network."""
    return await api.appservices.search("user", protocol, _fields(request))


async def query_location_by_alias(api: ClientServices, who: Requester, *, alias: str) -> list[Any]:
    """What an alias stands for."""
    return await api.appservices.locations_of(alias)


async def query_user_by_id(api: ClientServices, who: Requester, *, userid: str) -> list[Any]:
    """Whom a user stands for."""
    return await api.appservices.users_of(userid)


def _fields(request: Request) -> dict[str, str]:
    """What a search names, for the service to judge. Raises MatrixError(INVALID_PARAM)."""
    named = [(name, values[-1]) for name, values in request.query.items() if name not in _OURS]
    if len(named) > _MOST_FIELDS or any(len(name) > ID_LENGTH or len(value) > LINE_LENGTH for name, value in named):
        raise MatrixError(ErrCode.INVALID_PARAM, "The search has too many fields, or too long ones")
    return dict(named)
