"""Duties: work that one process does for all that share a database: telling push gateways, services, mail addresses.

The holder counts a row on while it lives. Whoever sees it stand still for longer than a holder trusts its last count
takes it over, under a new term, and what the former holder still writes is refused. A holder that could not count on
does nothing until it has: only then does it know that nobody took its place. See docs/subsystems/log.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from homeserver.ports.clock import Clock
from homeserver.ports.duties import DutyRow
from homeserver.ports.store import Store, StoreUnavailable, Transaction

_log = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[None]]


class NotOurs(Exception):
    """Another process has the duty now: nothing may be written for it."""


class Duty(Protocol):
    """What those see who do the work."""

    @property
    def is_ours(self) -> bool:
        """Whether this process has it, as far as it knows."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether there may be other processes that could have it."""
        ...

    async def perform(self, work: Work) -> None:
        """Run `work` while the duty is ours, from its beginning each time, until cancelled."""
        ...

    async def allowed(self) -> None:
        """Wait until it is certain that the duty is ours. Whoever does what others see asks right before."""
        ...

    async def require(self, tx: Transaction) -> None:
        """The duty is ours until the transaction ends. Raises NotOurs: then nothing must be written."""
        ...


class OwnDuty:
    """Of a process that has its database to itself. Implements `Duty`."""

    is_ours = True
    is_shared = False

    async def perform(self, work: Work) -> None:
        """See `Duty`."""
        await work()

    async def allowed(self) -> None:
        """See `Duty`."""

    async def require(self, tx: Transaction) -> None:
        """See `Duty`."""

    async def run(self) -> None:
        """Nothing is to be counted."""

    async def close(self) -> None:
        """Nothing is to be given back."""


@dataclass(frozen=True, slots=True)
class DutySettings:
    """Times, in seconds."""

    beat_s: float = 1.0
    trust_s: float = 3.0
    """So long a holder takes for granted that it still is one."""
    silence_s: float = 5.0
    """A row that stood still so long may be taken. Longer than `trust_s` by what a request may take to be sent."""


class SharedDuty:
    """Of one among several processes. Implements `Duty`; `run` must be running, `close` gives it back."""

    is_shared = True

    def __init__(
        self, store: Store, clock: Clock, name: str, holder: str, settings: DutySettings | None = None
    ) -> None:
        """`holder` is for people who look into the table; nobody compares it."""
        self._store = store
        self._clock = clock
        self._name = name
        self._holder = holder
        self._settings = settings or DutySettings()
        self._term: int | None = None
        self._trusted_until = 0.0
        self._seen: DutyRow | None = None
        self._seen_at = 0.0
        self._moved = asyncio.Condition()

    @property
    def is_ours(self) -> bool:
        """See `Duty`."""
        return self._term is not None

    async def run(self) -> None:
        """Count on, or look whether somebody has to take over, until cancelled."""
        while True:
            with suppress(StoreUnavailable):
                await self.look()
            await asyncio.sleep(self._settings.beat_s)

    async def look(self) -> None:
        """One turn of `run`. Raises StoreUnavailable."""
        now = self._clock.monotonic()
        if self._term is None:
            await self._look_at_others(now)
            return
        async with self._store.write() as tx:
            goes_on = await tx.duties.beat(self._name, self._term)
        await self._become(self._term if goes_on else None, now)

    async def _look_at_others(self, now: float) -> None:
        async with self._store.read_committed() as tx:
            row = await tx.duties.get(self._name)
        is_free = row is None or row.holder is None
        if not is_free and row == self._seen and now - self._seen_at <= self._settings.silence_s:
            return
        if not is_free and row != self._seen:
            self._seen, self._seen_at = row, self._clock.monotonic()
            return
        now = self._clock.monotonic()
        async with self._store.write() as tx:
            term = await tx.duties.take(self._name, self._holder, row)
        if term is not None:
            await self._become(term, now)

    async def _become(self, term: int | None, now: float) -> None:
        if term != self._term:
            _log.info("duty_lost" if term is None else "duty_taken", duty=self._name, term=term or self._term)
        self._term, self._trusted_until, self._seen = term, now + self._settings.trust_s, None
        async with self._moved:
            self._moved.notify_all()

    async def perform(self, work: Work) -> None:
        """See `Duty`."""
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: self._term is not None)
            term = self._term
            doing = asyncio.ensure_future(work())
            losing = asyncio.ensure_future(self._lost(term))
            try:
                await asyncio.wait((doing, losing), return_when=asyncio.FIRST_COMPLETED)
                if doing.done():
                    return doing.result()
            finally:
                doing.cancel()
                losing.cancel()
                await asyncio.gather(doing, losing, return_exceptions=True)

    async def _lost(self, term: int | None) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._term != term)

    async def allowed(self) -> None:
        """See `Duty`."""
        if self._term is not None and self._clock.monotonic() < self._trusted_until:
            return
        async with self._moved:
            await self._moved.wait_for(lambda: self._term is not None and self._clock.monotonic() < self._trusted_until)

    async def require(self, tx: Transaction) -> None:
        """See `Duty`."""
        if self._term is None or not await tx.duties.require(self._name, self._term):
            raise NotOurs(self._name)

    async def close(self) -> None:
        """Give it back, so that another process need not wait. Whoever still has something to write has written it."""
        if self._term is None:
            return
        with suppress(StoreUnavailable):
            async with self._store.write() as tx:
                await tx.duties.give_back(self._name, self._term)
        self._term = None
