"""Group commit: many callers' changes in one durable transaction.

The committer takes whatever is waiting, from all rooms and users, writes it in one transaction and only then
answers: a change is acknowledged after its commit, never before. Room batches whose head has moved are sent back
to be decided again. Nothing here awaits the network. See docs/subsystems/log.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Container, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import structlog

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.events import AppendResult, RoomAppend
from homeserver.ports.log import Change, EventEntry, JointChange, LogEntry, StateEntry
from homeserver.ports.store import Store, StoreUnavailable, Transaction, TransactionConflict, UniqueViolation
from homeserver.services.following import LogFollower
from homeserver.services.log import Log

_log = structlog.get_logger(__name__)

_ATTEMPTS = 5
_CATCH_UP_S = 0.25
"""While it is not known how far the log goes, look this often."""


_Done: TypeAlias = AppendResult | Sequence[LogEntry]
_Result: TypeAlias = AppendResult | Sequence[LogEntry] | MatrixError


@dataclass(slots=True)
class Unit:
    """A transaction under way, and the entries that its end will be told by."""

    tx: Transaction
    told: list[Callable[[int], LogEntry]] = field(default_factory=list)

    def tell(self, make: Callable[[int], LogEntry]) -> None:
        """Add an entry to the log when the transaction is committed; `make` is given its position."""
        self.told.append(make)


@dataclass(slots=True)
class _Waiting:
    change: Change | RoomAppend
    done: asyncio.Future[_Done]


class Committer:
    """Owns the only writing path to the log. `run` must be running for `append` and `commit` to end."""

    def __init__(
        self,
        store: Store,
        log: Log,
        follower: LogFollower | None = None,
        *,
        max_batch: int = 256,
        max_waiting: int = 10_000,
    ) -> None:
        self._store = store
        self._log = log
        self._follower = follower or LogFollower(store, log)
        self._waiting: deque[_Waiting] = deque()
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._ended = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._on_append: list[Callable[[AppendResult], None]] = []
        # Commits that failed, and how many of them have been looked into: whether they got through all the same.
        self._failures = 0
        self._examined = 0
        self._examining = asyncio.Lock()

    def on_append(self, callback: Callable[[AppendResult], None]) -> None:
        """Call `callback` with every stored append after its entries were published, before anyone is answered."""
        self._on_append.append(callback)

    async def append(self, append: RoomAppend) -> AppendResult:
        """Commit one room's decided events. `result.moved` means: decide again, nothing was written.

        Raises StoreUnavailable (unknown outcome, or too many waiting), UniqueViolation.
        """
        result = await self._enqueue(append)
        assert isinstance(result, AppendResult)  # noqa: S101 - narrows the union for the type checker
        return result

    async def commit(self, change: Change) -> Sequence[LogEntry]:
        """Commit any other change; returns its log entries.

        Raises like `append`, and the MatrixError with which the change refuses itself.
        """
        result = await self._enqueue(change)
        assert not isinstance(result, AppendResult)  # noqa: S101 - narrows the union for the type checker
        return result

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Unit]:
        """A transaction of one's own whose end may be told to the log: `unit.tell(...)`.

        For what people wait for anyway and what is rare: logins, devices, accounts. It does not wait for `run`, and
        whatever is raised inside undoes it and nothing else. Raises StoreUnavailable, UniqueViolation.
        """
        await self.outcome_known()
        entries: list[LogEntry] = []
        try:
            async with self._store.write() as tx:
                unit = Unit(tx)
                yield unit
                if unit.told:
                    first = await tx.log.reserve(len(unit.told))
                    entries = [make(first + index) for index, make in enumerate(unit.told)]
                    await tx.log.record(entries)
            if not self._log.publish(entries):
                await self._follower.catch_up()
        except StoreUnavailable:
            self._failures += 1  # it may have been committed all the same
            await self.outcome_known()
            raise

    async def _enqueue(self, change: Change | RoomAppend) -> _Done:
        if self._ended:
            raise StoreUnavailable("The server is shutting down")
        if len(self._waiting) >= self._max_waiting:
            raise StoreUnavailable("Too many changes are waiting to be stored")
        done: asyncio.Future[_Done] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(change, done))
        self._idle.clear()
        self._wake.set()
        # A caller that goes away must not cancel what may already be in the transaction.
        return await asyncio.shield(done)

    async def run(self) -> None:
        """Commit batches until cancelled; then whoever still waits gets StoreUnavailable."""
        batch: list[_Waiting] = []
        try:
            while True:
                await self._woken()
                while self._waiting:
                    size = min(len(self._waiting), self._max_batch)
                    batch = [self._waiting.popleft() for _ in range(size)]
                    if faults.plan is not None:
                        await faults.plan.reach("commit.taken")
                    await self._settle(batch)
                self._idle.set()
        finally:
            # Whoever comes from here on would wait for ever, and hold up the end of the process.
            self._ended = True
            _fail([*batch, *self._waiting], StoreUnavailable("The server is shutting down"))

    async def _woken(self) -> None:
        """Wait for work: changes, or a log whose end is not known."""
        while not self._wake.is_set():
            try:
                async with asyncio.timeout(_CATCH_UP_S if self._examined < self._failures else None):
                    await self._wake.wait()
            except TimeoutError:
                with suppress(StoreUnavailable):
                    await self.outcome_known()
        self._wake.clear()

    async def outcome_known(self) -> None:
        """Let the log reach what is committed, if a commit of unknown outcome may have got there before it.

        Whoever answers a repeated request from the database without committing anything calls this first: what is
        acknowledged must be in the next sync. Costs nothing while all is well. Raises StoreUnavailable.
        """
        if self._examined == self._failures:
            return
        async with self._examining:
            failures = self._failures
            if self._examined == failures:
                return
            async with self._store.write() as tx:
                # Taking no positions takes the counter's lock: a commit that is still under way comes first.
                position = await tx.log.reserve(0) - 1
            self._examined = failures
            if position > self._log.position:
                _log.warning("commit_found", before=self._log.position, position=position)
                await self._follower.catch_up()

    async def drain(self) -> None:
        """Wait until everything handed in is answered (shutdown)."""
        await self._idle.wait()

    async def _settle(self, batch: list[_Waiting]) -> None:
        try:
            await self.outcome_known()
            results, entries = await self._write(batch)
            if faults.plan is not None:
                await faults.plan.reach("commit.publish")
            if not self._log.publish(entries):
                await self._follower.catch_up()
        except Exception as error:
            await self._settle_failed(batch, error)
            return
        if faults.plan is not None:
            await faults.plan.reach("commit.answer")
        for item, result in zip(batch, results, strict=True):
            if isinstance(result, AppendResult):
                self._appended(result)
            if item.done.done():
                continue
            if isinstance(result, MatrixError):
                item.done.set_exception(result)
            else:
                item.done.set_result(result)

    def _appended(self, result: AppendResult) -> None:
        if result.moved:
            return
        for callback in self._on_append:
            callback(result)
        if result.successor is not None:
            self._appended(result.successor)

    async def _settle_failed(self, batch: list[_Waiting], error: Exception) -> None:
        # Whatever failed, a COMMIT may have been made whose answer was lost. Nobody is answered before the log has
        # it, so that a caller who finds their change in the database can be sure to find it in sync.
        self._failures += 1
        try:
            await self.outcome_known()
        except StoreUnavailable as unavailable:
            error = unavailable
        if isinstance(error, StoreUnavailable):
            # Everybody who waits is told now: each further batch might wait as long for the same lock or connection.
            batch = [*batch, *self._waiting]
            self._waiting.clear()
            _log.warning("commit_failed", changes=len(batch), error=str(error))
        elif len(batch) > 1:
            # One of them collides or is faulty; alone, each shows whether it is the one.
            for item in batch:
                await self._settle([item])
            return
        elif not isinstance(error, UniqueViolation | MatrixError):
            _log.error("commit_crashed", exc_info=error)
        _fail(batch, error)

    async def _write(self, batch: list[_Waiting]) -> tuple[list[_Result], list[LogEntry]]:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._write_once(batch)
            except TransactionConflict as error:
                _log.info("commit_conflict", changes=len(batch), error=str(error))
        return await self._write_once(batch)

    async def _write_once(self, batch: list[_Waiting]) -> tuple[list[_Result], list[LogEntry]]:
        appends = [item.change for item in batch if isinstance(item.change, RoomAppend)]
        changes = [item.change for item in batch if not isinstance(item.change, RoomAppend)]
        async with self._store.write() as tx:
            await _check_aliases(tx, appends)
            allowed = await tx.rooms.advance(appends) if appends else set()
            accepted = [append for index, append in enumerate(appends) if index in allowed]
            successors = [append.successor for append in accepted if append.successor is not None]
            if successors and len(await tx.rooms.advance(successors)) < len(successors):
                raise UniqueViolation("The new room's id is taken")
            prepared = [await _prepare(change, tx) for change in changes]
            count = sum(append.positions for append in (*accepted, *successors))
            count += sum(positions for positions in prepared if isinstance(positions, int))
            first = await tx.log.reserve(count) if count else 0
            if faults.plan is not None:
                await faults.plan.reach("commit.reserved")
            stored = await tx.events.append([*accepted, *successors], first) if accepted else []
            entries = [entry for result in stored for entry in _entries_of(result)]
            append_results = _results(appends, allowed, stored)
            change_results = await _write_changes(tx, changes, prepared, first, entries)
        of_appends, of_changes = iter(append_results), iter(change_results)
        results: list[_Result] = [
            next(of_appends) if isinstance(item.change, RoomAppend) else next(of_changes) for item in batch
        ]
        return results, entries


async def _check_aliases(tx: Transaction, appends: Sequence[RoomAppend]) -> None:
    """Raise MatrixError(RESOURCE_LIMIT_EXCEEDED) if somebody would have more aliases than one may make.

    Under the lock of their account, which other processes take as well. A batch that fails is tried piece by piece.
    """
    made: dict[str, int] = {}
    for room in [append.new_room for append in appends if append.new_room is not None and append.new_room.aliases]:
        if room.max_aliases is None:
            continue
        if room.creator not in made:
            owner = await tx.users.lock(room.creator)
            if owner is not None and owner.appservice_id is not None:
                continue  # a bridge names a room for everything that it maps
            made[room.creator] = await tx.aliases.count_of(room.creator)
        made[room.creator] += len(room.aliases)
        if made[room.creator] > room.max_aliases:
            raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You may make {room.max_aliases} aliases at most")


def _entries_of(result: AppendResult) -> Iterator[LogEntry]:
    for event in result.events:
        if event.position is not None:
            yield EventEntry(event.position, event)
    if result.correction is not None:
        yield StateEntry(result.correction.position, result.correction)


def _results(
    appends: Sequence[RoomAppend], allowed: Container[int], stored: Sequence[AppendResult]
) -> list[AppendResult]:
    """For each append its result: `stored` has those of the allowed ones, and behind them those of their successors."""
    count = sum(index in allowed for index in range(len(appends)))
    own, following = iter(stored[:count]), iter(stored[count:])
    results: list[AppendResult] = []
    for index, append in enumerate(appends):
        if index not in allowed:
            results.append(AppendResult(moved=True))
            continue
        result = next(own)
        results.append(result if append.successor is None else replace(result, successor=next(following)))
    return results


async def _prepare(change: Change, tx: Transaction) -> int | MatrixError:
    try:
        return await change.prepare(tx)
    except MatrixError as error:
        return error.with_traceback(None)


async def _write_changes(
    tx: Transaction,
    changes: Sequence[Change],
    prepared: Sequence[int | MatrixError],
    first: int,
    entries: list[LogEntry],
) -> list[Sequence[LogEntry] | MatrixError]:
    """Write the changes that were not refused, behind the `entries` of events, and add theirs."""
    results: list[Sequence[LogEntry] | MatrixError] = []
    position, of_events = first + len(entries), len(entries)
    joint: dict[type[JointChange], list[tuple[int, JointChange, int]]] = {}
    for index, (change, positions) in enumerate(zip(changes, prepared, strict=True)):
        if isinstance(positions, MatrixError):
            results.append(positions)
            continue
        if isinstance(change, JointChange):
            joint.setdefault(type(change), []).append((index, change, position))
            results.append(())
        else:
            results.append(await change.write(tx, position))
        position += positions
    for kind, some in joint.items():
        written = await kind.write_all(tx, [(change, at) for _, change, at in some])
        for (index, _, _), own in zip(some, written, strict=True):
            results[index] = own
    for result in results:
        if not isinstance(result, MatrixError):
            entries.extend(result)
    if len(entries) > of_events:
        await tx.log.record(entries[of_events:])
    return results


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for item in batch:
        if not item.done.done():
            item.done.set_exception(error)
