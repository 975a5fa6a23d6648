"""A site's users as one thing: whether somebody is who they say, and who is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import TypeVar

import structlog

from bridges.users.formats import BadHash
from bridges.users.people import BadTable, Person, Row, Source, SourceAway, Table
from bridges.users.schemes import check

_log = structlog.get_logger(__name__)

T = TypeVar("T")

InThread = Callable[[Callable[[], bool]], Awaitable[bool]]
"""Runs slow work beside the event loop, within bounds."""

LONGEST_LOGIN = 320  # an e-mail address
_AWAY_S = 2.0
_WAITING = 64
_SAMPLE = 20
# Of nobody's password, for a table that has none; else one of the table's own kind and cost is computed.
_DUMMY = "$2y$10$udCNaHDU0Mq3BK6bMB2NzOJa9wMbEOuMCfvqUI80N7Wz6/QUd6bQO"


class Verdict(Enum):
    """What a site says of a name and a password."""

    UNKNOWN = auto()
    WRONG = auto()
    DISABLED = auto()
    """The password is right, but the person may not log in."""
    RIGHT = auto()


class Directory:
    """The users of one table. Databases that are away fail at once for a moment, so that logins do not queue up."""

    def __init__(self, table: Table, source: Source, in_thread: InThread, *, seconds: float) -> None:
        """`seconds` bounds each question to the database."""
        self._table = table
        self._source = source
        self._in_thread = in_thread
        self._seconds = seconds
        self._dummy: tuple[tuple[str, ...], str] | None = None
        self._away_until = 0.0
        self._away_because = ""
        self._waiting = 0

    async def check(self, login: str, key: str | None, password: str) -> tuple[Verdict, Person | None]:
        """Whether `password` is that of whoever logs in as `login` or, if given, has the row `key`.

        Raises SourceAway, BadTable.
        """
        row = await self._row(login, key)
        if row is None:
            return Verdict.UNKNOWN, None
        person, stored = self._table.person(row), self._table.hash_of(row)
        if not password or not stored:
            await self.pretend(password)
            return Verdict.WRONG, person
        try:
            is_right = await self._in_thread(lambda: check(self._table.schemes, stored, password))
        except BadHash as error:
            # A password nobody can have, or one that the configuration has no scheme for: the operator should know.
            _log.warning("site_password_unusable", table=self._table.name, key=person.key, error=str(error))
            await self.pretend(password)
            return Verdict.WRONG, person
        self._dummy = (self._table.schemes, stored)
        if not is_right:
            return Verdict.WRONG, person
        return (Verdict.RIGHT if person.is_enabled else Verdict.DISABLED), person

    async def pretend(self, password: str) -> None:
        """Take as long as for somebody who is known."""
        tried = [(self._table.schemes, stored) for stored in await self._sample()] if self._dummy is None else []
        for schemes, stored in [*tried, self._dummy or (("bcrypt",), _DUMMY)]:
            # What has no scheme of the table's costs nothing: one of these is computed.
            with suppress(BadHash):
                await self._in_thread(partial(check, schemes, stored, password))
                self._dummy = self._dummy or (schemes, stored)
                return

    async def _sample(self) -> list[str]:
        """Some passwords of the table as they are stored: before anybody has logged in, nobody knows of what kind."""
        try:
            rows = await self._ask(self._source.page(None, _SAMPLE))
        except (SourceAway, BadTable):
            return []
        return [stored for stored in map(self._table.hash_of, rows) if stored]

    async def _row(self, login: str, key: str | None) -> Row | None:
        if key is not None:
            rows = await self._ask(self._source.by_keys([key]))
            return rows[0] if len(rows) == 1 else None
        if not login or len(login) > LONGEST_LOGIN or "\0" in login or not login.isprintable():
            return None
        rows = await self._ask(self._source.find(login, 3))
        if len(rows) > 1:  # as typed goes before what only the database holds for the same
            exact = [row for row in rows if login in self._table.person(row).logins]
            if len(exact) != 1:
                _log.warning("site_login_ambiguous", table=self._table.name, rows=len(rows))
            rows = exact
        return rows[0] if len(rows) == 1 else None

    async def people(self, keys: Iterable[str]) -> dict[str, Person]:
        """Who of these is still there. Raises SourceAway, BadTable."""
        rows = await self._ask(self._source.by_keys(list(keys)))
        return {person.key: person for person in map(self._table.person, rows)}

    async def pages(self, size: int) -> AsyncIterator[Sequence[Person]]:
        """Everybody, in pages. Raises SourceAway, BadTable."""
        after: Row | None = None
        while rows := await self._ask(self._source.page(after, size)):
            yield [self._table.person(row) for row in rows]
            after = rows[-1]

    async def examine(self) -> str:
        """What there is, for people. Raises SourceAway, BadTable."""
        return await self._ask(self._source.check())

    async def close(self) -> None:
        """End all connections."""
        await self._source.close()

    async def _ask(self, question: Awaitable[T]) -> T:
        """The answer of the database, in bounded time and by a bounded number."""
        if time.monotonic() < self._away_until or self._waiting >= _WAITING:
            close = getattr(question, "close", None)
            if close is not None:
                close()
            raise SourceAway(self._away_because or "too many wait for it")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                return await question
        except TimeoutError:
            self._is_away(f"no answer within {self._seconds:g} s")
            raise SourceAway(self._away_because) from None
        except SourceAway as error:
            self._is_away(str(error))
            raise
        finally:
            self._waiting -= 1

    def _is_away(self, reason: str) -> None:
        self._away_because = reason
        self._away_until = time.monotonic() + _AWAY_S


__all__ = ["BadTable", "Directory", "InThread", "Person", "SourceAway", "Verdict"]
