"""Who shares rooms with whom, and whom a user may find.  spec: client-server-api#user-directory"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class PeopleRepo(Protocol):
    """Questions about local users and the rooms they are in."""

    async def search(self, user_id: str, words: Sequence[str], limit: int, providers: Sequence[str] = ()) -> list[str]:
        """Ids of at most `limit` local users whose id or display name holds every one of the folded words.

        Only those who share a room with `user_id`, are in a room that anybody may join or read, or come from one of
        the login `providers` and are not disabled there; neither the user nor guests and deactivated accounts. Those
        where the first word begins a name come first.
        """
        ...

    async def mutual_rooms(self, user_id: str, other: str) -> list[str]:
        """Ids of the rooms both are joined to, in a constant order."""
        ...
