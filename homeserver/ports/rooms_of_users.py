"""What accounts ask of rooms."""

from __future__ import annotations

from typing import Protocol


class RoomActions(Protocol):
    """Effects of an account's changes on the rooms its user is in."""

    async def leave_all(self, user_id: str) -> None:
        """Leave every room, and reject every invite and knock. Continues past rooms where that fails."""
        ...

    async def profile_changed(self, user_id: str) -> None:
        """Put the newest profile into the user's membership of every joined room."""
        ...
