"""Who is in which room, for services and handlers that only need to know that."""

from __future__ import annotations

from typing import Protocol


class RoomMembers(Protocol):
    """Memberships of local users as they are now."""

    async def require_joined(self, room_id: str, user_id: str) -> None:
        """Raise MatrixError FORBIDDEN unless the user is joined; an unknown room is answered the same way."""
        ...

    async def share_a_room(self, user_id: str, asked_by: str) -> bool:
        """Whether the user and who asks about them are joined to one room."""
        ...
