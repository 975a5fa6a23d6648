"""The port of databases: what the bridge asks of PostgreSQL, MySQL, MariaDB or MongoDB, whatever they call it.

A row is an object of JSON: column → text, integer up to 2^53, boolean, None, list or object; fractions and everything
else are text (`bridges.render`). A key is the list of the values of the key's columns, in the order of the mapping.

How a mapping is followed: `Feed.open`, then a scan of the table if the mapping asks for one, then `read`, store,
`acknowledge` for ever. What is read may be read again: the caller drops what it has stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Row = Mapping[str, Any]
Key = Sequence[Any]


def key_text(key: Key) -> str:
    """A key as it is stored and compared."""
    return json.dumps(list(key), separators=(",", ":"))


class SourceUnavailable(Exception):
    """The database does not answer, or not as expected; it is tried again."""


class Gap(Exception):
    """The log does not go back to where we were: changes between are lost to it, and a scan has to find them."""


class Refused(Exception):
    """A write that the database refuses, and would again: a constraint, a right that is missing, a bad value."""


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change of one row, or how a row looks now (`seen`)."""

    position: str
    """Names the change for ever: the same when it is read again. Empty for `seen`."""
    op: Literal["insert", "update", "delete", "seen"]
    """`seen` tells how the row is, not what was done: the caller compares with what it saw last."""
    key: Key
    """The key now; of a deleted row, what it was."""
    new: Row | None
    """The mapped columns after it; None if the row is gone, or for `seen` if it does not meet the mapping's filter."""
    old: Row | None = None
    """The mapped columns before it. None for an insert, and where the source does not tell."""
    old_key: Key | None = None
    """The key before, where it was another one."""
    ts: int | None = None
    """Milliseconds since 1970, where the source tells when it was."""
    unchanged: frozenset[str] = frozenset()
    """Columns that `new` lacks because they did not change and the log left them out."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read found, oldest first."""

    changes: Sequence[Change]
    position: str
    """Where to read on; it is stored together with the changes."""
    more: bool = False
    """Whether there is more to be read at once."""
    rescan: bool = False
    """Rows may have gone without a change of their own (TRUNCATE): the table has to be scanned."""


class Feed(Protocol):
    """Changes of one mapping, those of a row in the order of their commits."""

    async def open(self, position: str | None) -> str:
        """Make or find what is followed (slot, stream, time), before anything is scanned, and say where it begins.

        `position` is what was stored last, None the first time. Raises SourceUnavailable; Gap if `position` cannot be
        read on from: `open(None)` begins anew then.
        """

    async def read(self, position: str, limit: int) -> Batch:
        """About `limit` changes after a position. Raises SourceUnavailable, Gap."""

    async def acknowledge(self, batch: Batch) -> None:
        """The batch is stored, the source may forget it. May be called again for the same. Raises SourceUnavailable."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """A row met by a scan."""

    key: Key
    row: Row | None
    """None if it does not meet the mapping's filter."""
    chosen: bool = True
    """Whether it meets the scan's own filter."""
    ts: int | None = None
    """Milliseconds since 1970, of the column asked for."""


@dataclass(frozen=True, slots=True)
class Write:
    """One statement of the configuration with its values. Names come from the configuration, values are bound."""

    event_id: str
    """Names it for ever: applied once. (`bridge_applied`, or a comparison that cannot succeed twice.)"""
    kind: Literal["update", "insert", "push", "mark"]
    """`push` appends `values` to the array `array` of the row; `mark` sets `values` in that of its elements whose
    `mx_event_id` is `target`."""
    table: str
    key: Key = ()
    values: Mapping[str, Any] | None = None
    require: Mapping[str, Sequence[Any]] | None = None
    """Column → values of which it must have one, or nothing is written."""
    array: str = ""
    bump: str = ""
    """A column that counts up with it."""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """How a write ended."""

    verdict: Literal["applied", "already", "conflict", "gone"]
    """`already`: it was applied before, or the row is as wanted. `conflict`: `require` was not met."""
    row: Row | None = None
    """The row now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What `check` and `doctor` say: whether it is good, and a sentence."""

    good: bool
    text: str


class Source(Protocol):
    """One database with its connections. Connects when it is needed, and again after every failure."""

    async def columns(self, table: str) -> dict[str, str]:
        """Column → type of a table; empty if there is none. Raises SourceUnavailable."""

    def feed(self, name: str) -> Feed:
        """The changes of a mapping. Raises ConfigError for a way of capture that it does not have."""

    async def scan(self, name: str, after: Key | None, limit: int, chosen: Any = None, ts: str = "") -> list[Scanned]:
        """The rows of a mapping's table in the order of the key, after a key: fewer than `limit` are the last.

        `chosen` is a condition as in `filter`; `ts` a column. Raises SourceUnavailable.
        """

    async def count(self, name: str) -> int:
        """About how many rows `scan` will meet: for a progress bar. Raises SourceUnavailable."""

    async def nth_last(self, name: str, n: int) -> Key | None:
        """The key of the n-th row from the end; None if there are fewer. Raises SourceUnavailable."""

    async def fetch(self, name: str, keys: Sequence[Key]) -> list[Row | None]:
        """Rows as they are now, in the order of the keys; None if one is gone or does not meet the filter.

        Raises SourceUnavailable.
        """

    async def write(self, name: str, write: Write, intent: Callable[[Row | None], None]) -> Written:
        """Write in one transaction. `intent` is told how the row will be, before the commit.

        `name` is the mapping whose columns are read back. Raises SourceUnavailable, Refused.
        """

    async def query(self, name: str, values: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
        """A named query: columns and at most its `limit` of rows, read only. Raises SourceUnavailable, Refused."""

    async def examine(self, name: str, *, deep: bool) -> list[Finding]:
        """Whether a mapping can be captured from here; `deep` looks at rights, settings and indexes too."""

    async def close(self) -> None:
        """Close the connections."""


@runtime_checkable
class Keeping(Protocol):
    """A feed whose database keeps something until it was read, and can cheaply tell how much."""

    async def retained(self) -> int | None:
        """Bytes; None if it cannot be told (yet, or by this role). Raises SourceUnavailable."""


@runtime_checkable
class Watched(Protocol):
    """A source that can tell cheaply whether anything at all was written."""

    def mark(self) -> int:
        """How often it was seen that something was. Taken before one looks."""

    async def idle(self, mark: int, poll: float) -> None:
        """Wait until something was written since the mark; `poll` seconds at least, a second or so at most."""
