"""Duties: work that one process does for all that share a database, as the store knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DutyRow:
    """Who has a duty.

    Each new holder's `term` is one higher, so whoever writes with an old one has lost it. `beat` is counted on by a
    holder that lives: no clock of one process is ever held against another's.
    """

    name: str
    holder: str | None
    """None: it was given back."""
    term: int
    beat: int


class DutyRepo(Protocol):
    """Who does what."""

    async def get(self, name: str) -> DutyRow | None:
        """Who has a duty; None if nobody ever had."""
        ...

    async def take(self, name: str, holder: str, seen: DutyRow | None) -> int | None:
        """Take a duty that is as it was `seen`: the new term, or None if somebody was faster."""
        ...

    async def beat(self, name: str, term: int) -> bool:
        """Say that the holder of this term lives; False if it is not the holder any more."""
        ...

    async def require(self, name: str, term: int) -> bool:
        """Whether this term is the present one, and stays so until the transaction ends."""
        ...

    async def give_back(self, name: str, term: int) -> None:
        """Let the next process have it at once."""
        ...
