"""The published room directory, and summaries of single rooms.

spec: client-server-api#published-room-directory
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.ids import parse_room_id
from homeserver.ports.store import Transaction
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.previews import SHOWN, previews, summarise
from homeserver.services.rooms.tokens import offset_of, offset_token
from homeserver.services.rooms.writer import RoomMemory

_NOT_LISTED = ("allowed_room_ids", "encryption", "room_version")
_MAX_LIMIT = 500


@dataclass(frozen=True, slots=True)
class DirectoryQuery:
    """What /publicRooms asks for."""

    limit: int | None = None
    since: str | None = None
    search: str | None = None
    room_types: tuple[str | None, ...] | None = None
    all_networks: bool = False
    """With the rooms that application services publish on networks of theirs."""
    network: tuple[str, str] | None = None
    """The rooms of this network only: application service and its name for the network."""


class Directory:
    """Publishes rooms and lists them."""

    def __init__(self, memory: RoomMemory, access: RoomAccess) -> None:
        self._memory = memory
        self._access = access

    async def is_published(self, room_id: str) -> bool:
        """Whether the room is in the directory. Raises MatrixError(NOT_FOUND).

        spec: client-server-api#get_matrixclientv3directorylistroomroomid
        """
        parse_room_id(room_id)
        async with self._memory.store.read() as tx:
            if not await tx.rooms.room_nids([room_id]):
                raise _unknown_room()
            return any(published == room_id for _, published in await tx.rooms.public_rooms())

    async def published(self) -> set[str]:
        """The ids of all rooms in the directory."""
        async with self._memory.store.read() as tx:
            return {room_id for _, room_id in await tx.rooms.public_rooms()}

    async def publish(self, user_id: str, room_id: str, *, public: bool, is_admin: bool = False) -> None:
        """Put a room into the directory or take it out: for those who may set its canonical alias, and admins.

        Raises MatrixError: NOT_FOUND, FORBIDDEN.  spec: client-server-api#put_matrixclientv3directorylistroomroomid
        """
        parse_room_id(room_id)
        memory = self._memory
        head = await memory.heads.fetch(room_id, memory.store)
        if head is None:
            raise _unknown_room()
        if not is_admin:
            levels = await memory.power_levels(head)
            joined = await self._access.membership(head, user_id) == "join"
            if not joined or levels.user(user_id) < levels.event("m.room.canonical_alias", is_state=True):
                raise NotAllowed("You may not publish this room")
        async with memory.store.write() as tx:
            await tx.rooms.set_public(head.room_nid, public)

    async def publish_on_network(self, network: tuple[str, str], room_id: str, *, public: bool) -> None:
        """Put a room into the directory of an application service's network, or take it out.

        Raises MatrixError(NOT_FOUND).
        spec: client-server-api#put_matrixclientv3directorylistappservicenetworkidroomid
        """
        parse_room_id(room_id)
        async with self._memory.store.write() as tx:
            room_nid = (await tx.rooms.room_nids([room_id])).get(room_id)
            if room_nid is None:
                raise _unknown_room()
            if public:
                await tx.appservices.list_room(*network, room_nid)
            else:
                await tx.appservices.unlist_room(*network, room_nid)

    async def public_rooms(self, query: DirectoryQuery) -> dict[str, Any]:
        """A page of the directory, the largest rooms first.  spec: client-server-api#post_matrixclientv3publicrooms"""
        offset = 0 if query.since is None else offset_of(query.since)
        if query.limit is not None and query.limit < 0:
            raise MatrixError(ErrCode.INVALID_PARAM, "limit must not be negative")
        limit = min(query.limit or _MAX_LIMIT, _MAX_LIMIT)
        async with self._memory.store.read() as tx:
            published = await _published(tx, query)
            counts = await tx.rooms.member_counts(published) if published else {}
            states = await tx.rooms.current_state(published, types=SHOWN) if published else {}
        term = (query.search or "").casefold()
        rooms = [
            _entry(summarise(room_id, states.get(room_nid, []), counts.get(room_nid, {})))
            for room_nid, room_id in published.items()
        ]
        matching = sorted(
            (room for room in rooms if _matches(room, query, term)),
            key=lambda room: (-room["num_joined_members"], room["room_id"]),
        )
        answer: dict[str, Any] = {
            "chunk": matching[offset : offset + limit],
            "total_room_count_estimate": len(matching),
        }
        if offset + limit < len(matching):
            answer["next_batch"] = offset_token(offset + limit)
        if offset:
            answer["prev_batch"] = offset_token(max(offset - limit, 0))
        return answer

    async def room_summary(self, user_id: str | None, room_id: str) -> dict[str, Any]:
        """What may be known of a room before joining it.

        Raises MatrixError(NOT_FOUND), the same for unknown rooms and for those that may not be known.
        spec: client-server-api#get_matrixclientv1room_summaryroomidoralias
        """
        parse_room_id(room_id)
        async with self._memory.store.read() as tx:
            memberships = [] if user_id is None else await tx.rooms.memberships(user_id)
            mine = {known.room_id: known.membership for known in memberships}
            found = (await previews(tx, [room_id], mine)).get(room_id)
        if found is None:
            raise _unknown_room()
        return {**found.summary, "membership": mine[room_id]} if room_id in mine else found.summary


async def _published(tx: Transaction, query: DirectoryQuery) -> dict[int, str]:
    """Room ids of the rooms to list, by internal id.  spec: client-server-api#post_matrixclientv3publicrooms"""
    if query.all_networks:
        return {**dict(await tx.rooms.public_rooms()), **dict(await tx.appservices.listed_rooms(None))}
    if query.network is not None:
        return dict(await tx.appservices.listed_rooms(query.network))
    return dict(await tx.rooms.public_rooms())


def _entry(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary as the directory lists it.

    COMPAT(matrix-nio 0.26): a key that directories do not have makes it fail on the whole list.
    spec: client-server-api#get_matrixclientv3publicrooms
    """
    return {key: value for key, value in summary.items() if key not in _NOT_LISTED}


def _matches(room: Mapping[str, Any], query: DirectoryQuery, term: str) -> bool:
    if query.room_types is not None and room.get("room_type") not in query.room_types:
        return False
    if not term:
        return True
    return any(term in room.get(key, "").casefold() for key in ("name", "topic", "canonical_alias"))


def _unknown_room() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "There is no such room, or you may not know of it")
