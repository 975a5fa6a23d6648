"""Backups of room keys, as the store knows them.  spec: client-server-api#server-side-key-backups"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

KeyPlace = tuple[str, str]
"""Room id and session id: what a key in a backup is for."""


@dataclass(frozen=True, slots=True)
class BackupVersion:
    """A backup: how its keys are encrypted, how many there are, and a number that grows when any of them changes."""

    version: int
    algorithm: str
    auth_data: bytes  # JSON object
    etag: int
    count: int


@dataclass(frozen=True, slots=True)
class BackedUpKey:
    """A room key in a backup."""

    room_id: str
    session_id: str
    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: str  # JSON object


class BackupRepo(Protocol):
    """Backups of room keys. Writers hold the user's lock (`UserRepo.lock`), so that counts are exact."""

    async def create(self, user_id: str, algorithm: str, auth_data: bytes) -> int:
        """Begin a backup with no keys. Returns its version, greater than all that the user ever had."""
        ...

    async def get(self, user_id: str, version: int | None) -> BackupVersion | None:
        """The backup; of the newest version if `version` is None."""
        ...

    async def last_version(self, user_id: str) -> int:
        """The greatest version that the user ever had, deleted ones too; 0 if none."""
        ...

    async def totals(self, user_id: str) -> tuple[int, int, int]:
        """How many backups the user has, and how many keys and bytes of session data are in all of them together."""
        ...

    async def set_auth_data(self, user_id: str, version: int, auth_data: bytes) -> None:
        """Replace the authentication data."""
        ...

    async def merge_keys(self, user_id: str, version: int, keys: Sequence[BackedUpKey]) -> tuple[int, int, int]:
        """Store keys, each for another session, unless a better one is there. Three statements.

        Returns how many there were not before, how many rows changed in all, and by how many bytes the session data
        has grown. The caller counts them (`changed`).
        """
        ...

    async def delete_keys(
        self, user_id: str, version: int, room_id: str | None, session_id: str | None
    ) -> tuple[int, int]:
        """Delete a key, those of a room, or all; returns how many, of how many bytes. The caller counts them."""
        ...

    async def changed(self, user_id: str, version: int, by: int, by_bytes: int) -> None:
        """Keys have changed: their number `by` so many, their session data `by_bytes`, and the etag."""
        ...

    async def key(self, user_id: str, version: int, place: KeyPlace) -> BackedUpKey | None:
        """One key."""
        ...

    async def keys(
        self, user_id: str, version: int, *, room_id: str | None, after: KeyPlace, limit: int
    ) -> list[BackedUpKey]:
        """Keys of a room, or of all, by room and session id, behind `after` (`("", "")`: from the first)."""
        ...

    async def delete(self, user_id: str, version: int | None) -> bool:
        """Let nobody see the backup any more (None: all of the user's), and `purge` delete it. False: there is none."""
        ...

    async def purge(self, limit: int) -> int:
        """Delete at most `limit` keys of deleted backups, and backups that have none left. Returns how many rows."""
        ...

    async def forget_user(self, user_id: str) -> None:
        """Delete all backups of an account that has ended, as `delete`, and which versions it had."""
        ...
