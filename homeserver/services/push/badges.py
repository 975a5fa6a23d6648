"""The number that an application's icon shows: what a user has not read in all their rooms.

spec: push-gateway-api#post_matrixpushv1notify
"""

from __future__ import annotations

from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms.lists import RoomLists


class Badges:
    """Counts for pushes."""

    def __init__(self, rooms: RoomLists, unread: UnreadCounts, *, by_room: bool) -> None:
        """`by_room`: count rooms with something unread, not messages."""
        self._rooms = rooms
        self._unread = unread
        self._by_room = by_room

    async def of(self, user_id: str) -> int:
        """The number as of now. An invitation counts one."""
        rooms = await self._rooms.of(user_id)
        invites = sum(1 for membership in rooms.values() if membership.membership == "invite")
        joined = {
            room_id: membership.room_nid for room_id, membership in rooms.items() if membership.membership == "join"
        }
        counts = (await self._unread.of(user_id, joined)).values() if joined else ()
        return invites + sum(min(unread.total.notify, 1) if self._by_room else unread.total.notify for unread in counts)
