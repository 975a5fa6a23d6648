"""Aliases, the published room directory and room summaries.  spec: client-server-api#published-room-directory"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from client_api.bounds import Id, RoomTypes, Search
from client_api.deps import ClientServices
from client_api.rooms import require_active
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.appservices.queries import split_instance
from homeserver.services.rooms.directory import DirectoryQuery
from homeserver.services.rooms.hierarchy import HierarchyRequest


class RoomIdBody(msgspec.Struct):
    """Names a room."""

    room_id: Id


class VisibilityBody(msgspec.Struct):
    """Whether a room is published."""

    visibility: Literal["private", "public"] = "public"


class DirectoryFilter(msgspec.Struct):
    """What listed rooms must match."""

    generic_search_term: Search | None = None
    room_types: RoomTypes | None = None


class QueryPublicRoomsBody(msgspec.Struct):
    """A search of the directory."""

    limit: int | None = None
    since: Id | None = None
    filter: DirectoryFilter | None = None
    include_all_networks: bool = False
    third_party_instance_id: Id | None = None


async def get_room_id_by_alias(api: ClientServices, *, room_alias: str) -> dict[str, Any]:
    """The room behind an alias."""
    room_id = await api.rooms.aliases.room_of(room_alias)
    return {"room_id": room_id, "servers": [api.info.server_name]}


async def set_room_alias(api: ClientServices, who: Requester, *, room_alias: str, body: RoomIdBody) -> None:
    """Give a room an alias."""
    require_active(who)
    await api.rooms.aliases.set_room_alias(who.user_id, room_alias, body.room_id, appservice=who.appservice)


async def delete_room_alias(api: ClientServices, who: Requester, *, room_alias: str) -> None:
    """Remove an alias."""
    require_active(who)
    await api.rooms.aliases.delete_room_alias(who.user_id, room_alias, is_admin=who.is_admin)


async def get_local_aliases(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """Aliases of a room."""
    return {"aliases": await api.rooms.aliases.local_aliases(who.user_id, room_id)}


async def get_room_visibility_on_directory(api: ClientServices, *, room_id: str) -> dict[str, Any]:
    """Whether a room is published."""
    return {"visibility": "public" if await api.rooms.directory.is_published(room_id) else "private"}


async def set_room_visibility_on_directory(
    api: ClientServices, who: Requester, *, room_id: str, body: VisibilityBody
) -> None:
    """Publish a room or take it out of the directory."""
    require_active(who)
    await api.rooms.directory.publish(who.user_id, room_id, public=body.visibility == "public", is_admin=who.is_admin)


async def get_public_rooms(
    api: ClientServices, *, limit: int | None = None, since: str | None = None, server: str | None = None
) -> dict[str, Any]:
    """The directory."""
    _require_local(api, server)
    return await api.rooms.directory.public_rooms(DirectoryQuery(limit, since))


async def query_public_rooms(
    api: ClientServices, who: Requester, *, body: QueryPublicRoomsBody | None = None, server: str | None = None
) -> dict[str, Any]:
    """A search of the directory."""
    _require_local(api, server)
    body = body or QueryPublicRoomsBody()
    wanted = body.filter or DirectoryFilter()
    types = None if wanted.room_types is None else tuple(wanted.room_types)
    return await api.rooms.directory.public_rooms(
        DirectoryQuery(
            body.limit,
            body.since,
            wanted.generic_search_term,
            types,
            all_networks=body.include_all_networks,
            network=None if body.third_party_instance_id is None else split_instance(body.third_party_instance_id),
        )
    )


async def get_room_summary(api: ClientServices, who: Requester | None, *, room_id_or_alias: str) -> dict[str, Any]:
    """What may be known of a room before joining."""
    room_id = room_id_or_alias
    if room_id.startswith("#"):
        room_id = await api.rooms.aliases.room_of(room_id)
    return await api.rooms.directory.room_summary(None if who is None else who.user_id, room_id)


async def get_space_hierarchy(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    suggested_only: bool = False,
    limit: int | None = None,
    max_depth: int | None = None,
    from_: str | None = None,
) -> dict[str, Any]:
    """The rooms below a space."""
    request = HierarchyRequest(suggested_only, limit, max_depth, from_)
    return await api.rooms.hierarchy.of_space(who.user_id, room_id, request)


def _require_local(api: ClientServices, server: str | None) -> None:
    if server is not None and server != api.info.server_name:
        raise MatrixError(ErrCode.NOT_FOUND, "This server cannot ask that one for its rooms")
