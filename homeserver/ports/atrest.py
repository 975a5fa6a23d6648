"""Encryption at rest of what the database holds: bringing stored values into the form that new ones get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class KeysMissing(Exception):
    """The database holds values of keys of encryption at rest that are not configured: nobody could read them."""


class AtRestRepo(Protocol):
    """Renews stored values in small steps. The form of new values, plain or of a key, comes from the configuration."""

    @property
    def tables(self) -> Sequence[str]:
        """What `renew_values` knows, besides events."""
        ...

    async def is_concerned(self) -> bool:
        """Whether anything is stored sealed, or is to be. Raises KeysMissing."""
        ...

    async def begin(self) -> int | None:
        """Make the configured form the current one; after which event to go on, None if nothing is left to renew.

        Raises KeysMissing.
        """
        ...

    async def renew_events(self, after: int, limit: int) -> int | None:
        """Renew the events that follow in the order of row ids, and note how far it got; the last of them, None at
        the end."""
        ...

    async def renew_values(self, table: str, after: Sequence[str | int], limit: int) -> Sequence[str | int] | None:
        """Renew the rows that follow in the order of their keys (first: an empty sequence); the last key, or None."""
        ...

    async def drop_words(self) -> None:
        """Empty the index of words, which shows in the clear what is sealed elsewhere."""
        ...

    async def finish(self) -> None:
        """Everything has the current form: no other key is needed any more."""
        ...
