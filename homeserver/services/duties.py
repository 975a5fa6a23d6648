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
from typing import Protocol, TypeVar

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


OneDuty = TypeVar("OneDuty", bound=Duty)


class Duties(Protocol[OneDuty]):
    """Counts on the duties that a process may have."""

    def of(self, name: str) -> OneDuty:
        """The duty of a name."""
        ...

    async def run(self, *duties: OneDuty) -> None:
        """Count them on, or look whether somebody has to be followed, until cancelled."""
        ...

    async def close(self, *duties: OneDuty) -> None:
        """Give back what is ours, so that another process need not wait. What was to be written has been written."""
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


class OwnDuties:
    """Of a process that has its database to itself. Implements `Duties`."""

    def of(self, name: str) -> OwnDuty:
        """See `Duties`."""
        return OwnDuty()

    async def run(self, *duties: OwnDuty) -> None:
        """Nothing is to be counted."""

    async def close(self, *duties: OwnDuty) -> None:
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
    """Of one among several processes. Implements `Duty`; the `SharedDuties` it is of keep it."""

    is_shared = True

    def __init__(self, name: str, clock: Clock, settings: DutySettings) -> None:
        self.name = name
        self.term: int | None = None
        """The number of our holding it; None while somebody else does."""
        self._clock = clock
        self._settings = settings
        self._trusted_until = 0.0
        self._seen: DutyRow | None = None
        self._seen_at = 0.0
        self._moved = asyncio.Condition()

    @property
    def is_ours(self) -> bool:
        """See `Duty`."""
        return self.term is not None

    def may_be_taken(self, row: DutyRow | None, now: float) -> bool:
        """Whether nobody holds it, or one who was silent for too long; `now` is when the row was asked for."""
        if row is None or row.holder is None:
            return True
        if row == self._seen:
            return now - self._seen_at > self._settings.silence_s
        self._seen, self._seen_at = row, self._clock.monotonic()
        return False

    async def become(self, term: int | None, now: float) -> None:
        """It is ours by this term, or (None) somebody else's, as of `now`, when the database had yet to be asked."""
        if term != self.term:
            _log.info("duty_lost" if term is None else "duty_taken", duty=self.name, term=term or self.term)
        self.term, self._trusted_until, self._seen = term, now + self._settings.trust_s, None
        async with self._moved:
            self._moved.notify_all()

    async def perform(self, work: Work) -> None:
        """See `Duty`."""
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: self.term is not None)
            term = self.term
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
            await self._moved.wait_for(lambda: self.term != term)

    async def allowed(self) -> None:
        """See `Duty`."""
        if self.term is not None and self._clock.monotonic() < self._trusted_until:
            return
        async with self._moved:
            await self._moved.wait_for(lambda: self.term is not None and self._clock.monotonic() < self._trusted_until)

    async def require(self, tx: Transaction) -> None:
        """See `Duty`."""
        if self.term is None or not await tx.duties.require(self.name, self.term):
            raise NotOurs(self.name)


class SharedDuties:
    """Of one among several processes. Implements `Duties`.

    One transaction counts on all that the process has: each costs the database a write to its disk, also while
    nothing else happens.
    """

    def __init__(self, store: Store, clock: Clock, holder: str, settings: DutySettings | None = None) -> None:
        """`holder` is for people who look into the table; nobody compares it."""
        self._store = store
        self._clock = clock
        self._holder = holder
        self._settings = settings or DutySettings()

    def of(self, name: str) -> SharedDuty:
        """See `Duties`."""
        return SharedDuty(name, self._clock, self._settings)

    async def run(self, *duties: SharedDuty) -> None:
        """See `Duties`."""
        while True:
            with suppress(StoreUnavailable):
                await self.look(*duties)
            await asyncio.sleep(self._settings.beat_s)

    async def look(self, *duties: SharedDuty) -> None:
        """One turn of `run`. Raises StoreUnavailable."""
        # By name, so that no two processes wait for each other's rows.
        ours = sorted((duty for duty in duties if duty.is_ours), key=lambda duty: duty.name)
        others = [duty for duty in duties if not duty.is_ours]
        if ours:
            now = self._clock.monotonic()
            async with self._store.write() as tx:
                terms = [duty.term if await tx.duties.beat(duty.name, duty.term or 0) else None for duty in ours]
            for duty, term in zip(ours, terms, strict=True):
                await duty.become(term, now)
        for duty in others:
            await self._look_at_others(duty)

    async def _look_at_others(self, duty: SharedDuty) -> None:
        now = self._clock.monotonic()
        async with self._store.read_committed() as tx:
            row = await tx.duties.get(duty.name)
        if not duty.may_be_taken(row, now):
            return
        now = self._clock.monotonic()
        async with self._store.write() as tx:
            term = await tx.duties.take(duty.name, self._holder, row)
        if term is not None:
            await duty.become(term, now)

    async def close(self, *duties: SharedDuty) -> None:
        """See `Duties`."""
        ours = {duty: duty.term for duty in duties if duty.term is not None}
        if not ours:
            return
        with suppress(StoreUnavailable):
            async with self._store.write() as tx:
                for duty, term in ours.items():
                    await tx.duties.give_back(duty.name, term)
        for duty in ours:
            duty.term = None
