"""Who is joined where, from the room lists that sync keeps in memory."""

from __future__ import annotations

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.members import RoomMembers
from homeserver.ports.store import Store
from homeserver.services.rooms.lists import RoomLists


class JoinedRooms(RoomMembers):
    """Implements `ports.members.RoomMembers`."""

    def __init__(self, store: Store, rooms: RoomLists) -> None:
        self._store = store
        self._rooms = rooms

    async def require_joined(self, room_id: str, user_id: str) -> None:
        membership = (await self._rooms.of(user_id)).get(room_id)
        if membership is None or membership.membership != "join":
            raise MatrixError(ErrCode.FORBIDDEN, "You are not in this room")

    async def share_a_room(self, user_id: str, asked_by: str) -> bool:
        mine = await self._rooms.of(asked_by)
        # Whoever is asked about is not loaded into the lists: they are for those who sync.
        async with self._store.read() as tx:
            theirs = await tx.rooms.memberships(user_id)
        return any(
            membership.membership == "join"
            and (own := mine.get(membership.room_id)) is not None
            and own.membership == "join"
            for membership in theirs
        )
