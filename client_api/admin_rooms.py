"""Rooms for administrators, at the paths that existing tools ask (docs/operating/admin-api.md)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from client_api.administration import DEFAULT_PAGE, paging
from client_api.bounds import Id, Text
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.administration.rooms import ROOM_ORDERS, Emptying, RoomSearch, ShownRoom


class BlockBody(msgspec.Struct):
    """Whether a room is blocked."""

    block: bool


class DeleteRoomBody(msgspec.Struct):
    """How to empty a room. What belongs to purging and to a room instead of it is understood and not done."""

    block: bool = False
    purge: bool = True
    force_purge: bool = False
    new_room_user_id: Id | None = None
    room_name: Text | None = None
    message: Text | None = None


async def list_rooms(  # noqa: PLR0913 - one parameter for each of the query's
    api: ClientServices,
    who: Requester,
    *,
    from_: int = 0,
    limit: int = DEFAULT_PAGE,
    order_by: str = "name",
    dir_: Literal["f", "b"] = "f",
    search_term: str = "",
    public_rooms: bool | None = None,
    empty_rooms: bool | None = None,
) -> dict[str, Any]:
    """A page of rooms."""
    offset, limit = paging(from_, limit, api.administration.max_page)
    if order_by not in ROOM_ORDERS:
        raise MatrixError(ErrCode.INVALID_PARAM, "order_by must be one of " + ", ".join(ROOM_ORDERS))
    if len(search_term) > 256:
        raise MatrixError(ErrCode.INVALID_PARAM, "search_term has at most 256 characters")
    search = RoomSearch(search_term, public_rooms, empty_rooms, order_by, reverse=dir_ == "b")
    shown, total = await api.administration.rooms.page(search, offset, limit)
    answer: dict[str, Any] = {"rooms": [_listed(room) for room in shown], "offset": offset, "total_rooms": total}
    if shown and offset + len(shown) < total:
        answer["next_batch"] = offset + len(shown)
    if offset:
        answer["prev_batch"] = max(0, offset - limit)
    return answer


async def get_room(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """One room."""
    shown, devices = await api.administration.rooms.get(room_id)
    return {**_listed(shown), "topic": shown.said.get("topic"), "joined_local_devices": devices, "forgotten": False}


async def get_room_members(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """Who is in a room."""
    members = await api.administration.rooms.members(room_id)
    return {"members": members, "total": len(members)}


async def get_room_state_of(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """Every state event of a room."""
    return {"state": [orjson.Fragment(event) for event in await api.administration.rooms.state(who, room_id)]}


async def get_room_block(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """Whether a room is blocked, and by whom."""
    block = await api.administration.rooms.blocked(room_id)
    return {"block": False} if block is None else {"block": True, "user_id": block.blocked_by}


async def set_room_block(api: ClientServices, who: Requester, *, room_id: str, body: BlockBody) -> dict[str, Any]:
    """Block a room, or lift that."""
    await api.administration.rooms.set_blocked(who, room_id, body.block)
    return {"block": body.block}


async def delete_room(
    api: ClientServices, who: Requester, *, room_id: str, body: DeleteRoomBody | None = None
) -> dict[str, Any]:
    """Begin to make everybody leave."""
    body = body or DeleteRoomBody()
    if body.new_room_user_id is not None:
        raise MatrixError(ErrCode.INVALID_PARAM, "This server makes no room instead of one that is deleted")
    return {"delete_id": await api.administration.rooms.empty(who, room_id, block=body.block)}


async def get_delete_status(api: ClientServices, who: Requester, *, delete_id: str) -> dict[str, Any]:
    """How far a deletion is."""
    return _status(api.administration.rooms.job(delete_id))


async def get_delete_statuses(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """How far the deletions of a room are."""
    return {"results": [_status(job) for job in api.administration.rooms.jobs(room_id)]}


def _status(job: Emptying) -> dict[str, Any]:
    return {
        "delete_id": job.delete_id,
        "room_id": job.room_id,
        "status": job.status,
        **({} if job.error is None else {"error": job.error}),
        "shutdown_room": {
            "kicked_users": job.left,
            "failed_to_kick_users": job.failed,
            "local_aliases": job.aliases,
            "new_room_id": None,
        },
        "chat.hromada.purged": False,
    }


def _listed(room: ShownRoom) -> dict[str, Any]:
    row = room.row
    names = (
        "name",
        "canonical_alias",
        "avatar",
        "encryption",
        "join_rules",
        "guest_access",
        "history_visibility",
        "room_type",
    )
    return {
        "room_id": row.room_id,
        **{name: room.said.get(name) for name in names},
        "joined_members": row.joined_members,
        "joined_local_members": row.joined_local_members,
        "version": row.room_version,
        "creator": row.creator,
        "federatable": room.federates,
        "public": row.is_public,
        "state_events": row.state_events,
        "chat.hromada.events": row.events,
        "chat.hromada.bytes": row.bytes,
        "chat.hromada.blocked": row.is_blocked,
    }
