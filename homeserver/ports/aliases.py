"""Room aliases as the store knows them.  spec: client-server-api#room-aliases"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RoomAlias:
    """A local alias and the room it points to."""

    alias: str
    room_nid: int
    room_id: str
    creator: str  # user id of whoever made it; may delete it


class AliasRepo(Protocol):
    """Aliases of this server."""

    async def get(self, alias: str) -> RoomAlias | None:
        """The alias, or None if there is none."""
        ...

    async def put(self, alias: str, room_nid: int, creator: str) -> None:
        """Add an alias. Raises UniqueViolation (at the statement or the commit) if it is taken."""
        ...

    async def delete(self, alias: str) -> bool:
        """Remove an alias; whether there was one."""
        ...

    async def move(self, old: int, new: int) -> None:
        """Let all aliases of one room (by internal id) lead to another."""
        ...

    async def count_of(self, creator: str) -> int:
        """How many aliases a user has made and not removed."""
        ...

    async def of_rooms(self, room_nids: Collection[int]) -> list[tuple[int, str]]:
        """(room_nid, alias) of all aliases of many rooms, in one statement."""
        ...

    async def of_room(self, room_nid: int) -> list[str]:
        """All aliases of a room, sorted."""
        ...
