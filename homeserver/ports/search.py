"""The index of what people wrote, as the store keeps it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from homeserver.core.searching import Kind, Term


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """Texts that hold every one of `terms`, of these kinds, in these rooms. None of the three may be empty."""

    terms: Sequence[Term]
    kinds: Collection[Kind]
    room_nids: Collection[int]


class SearchRepo(Protocol):
    """Reads the index. It is written with the events, in their transaction, and cleared with redactions."""

    async def find(self, query: IndexQuery, before: int, limit: int) -> list[int]:
        """Row ids below `before` of events that match, highest first.

        The index knows words, not who may see what or how characters stand together: ask the events themselves.
        """
        ...

    async def searchable(self) -> int:
        """How many events are of the kinds that are searched."""
        ...

    async def following(self, after: int, limit: int) -> Sequence[int]:
        """Row ids above `after` of events of the kinds that are searched, lowest first, whether indexed or not."""
        ...

    async def put(self, nids: Collection[int]) -> None:
        """Index these events anew (or take them out, if they say nothing any more)."""
        ...
