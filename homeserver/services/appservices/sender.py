"""Tells application services what concerns them: each follows the log with a cursor of its own.

A transaction is stored before it is sent for the first time, and sent as it is until it is acknowledged; only then the
next one is made. So there is one transaction in flight, order is that of the log, and a retry is never altered,
whatever dies meanwhile. A service that does not answer is waited for, and holds up nobody but itself.
spec: application-service-api#pushing-events
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import orjson
import structlog

from homeserver import faults
from homeserver.ports.appservices import Delivery
from homeserver.ports.clock import Clock
from homeserver.ports.e2e import DeviceName
from homeserver.ports.log import LogEntry
from homeserver.ports.outbound import OutboundError
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.appservices.link import Link, segment
from homeserver.services.appservices.presence import PresenceNews
from homeserver.services.appservices.transactions import TransactionDraft, TransactionMaker
from homeserver.services.duties import Duty
from homeserver.services.log import Log
from homeserver.services.personal.presence import PresenceTracker
from homeserver.services.personal.typing import TypingTracker

_log = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

_PAGE = 500
_KEEP_CURSOR_S = 30.0
"""What is of no interest need not be looked at again after a restart; storing that costs more than looking."""
_KEEP_TOLD_S = 1.0
"""The next transaction is stored over the last: one that comes soon saves a write."""
_WARN_EVERY_S = 60.0
_NUDGES_S = 1.0


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How long a service is waited for, in seconds."""

    request_s: float = 60.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 512.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How a service is doing."""

    service: str
    behind: int
    """Positions of the log that it has not been told of or that are of no interest to it."""
    failing_s: float
    """For how long it has not taken anything; 0 if it does."""


class Elsewhere(Exception):
    """Another process tells this service: what is stored is not what this one left."""


class AppServiceSender:
    """Tells one application service. `run` must be running; `close` stores how far it came."""

    def __init__(
        self,
        link: Link,
        maker: TransactionMaker,
        store: Store,
        log: Log,
        clock: Clock,
        epoch: str,
        settings: SenderSettings,
        duty: Duty,
    ) -> None:
        """`epoch` makes transaction ids of this process unlike those of any other, even after a restored backup."""
        self._link = link
        self._maker = maker
        self._store = store
        self._log = log
        self._clock = clock
        self._epoch = epoch
        self._settings = settings
        self._duty = duty
        self._id = link.service.id
        self._begin = log.position
        self._kept: Delivery | None = None  # the row as it was left
        self._position = log.position  # everything up to here is acknowledged, of no interest, or in the row
        self._kept_at = clock.monotonic()
        self._delivered: str | None = None
        self._failures = 0
        self._failing_since: float | None = None
        self._warned_at = 0.0
        self._nudged_at = 0.0
        self._wake = asyncio.Event()
        self._retry = asyncio.Event()
        self._typing: TypingTracker | None = None
        self._typing_serial = 0
        self._presence: PresenceNews | None = None

    def hear(self, typing: TypingTracker, presence: PresenceTracker) -> None:
        """From now on, tell of typing and presence as well, if the service wants to know."""
        if not self._link.service.receive_ephemeral:
            return
        self._typing, self._typing_serial = typing, typing.serial
        self._presence = PresenceNews(presence, self._clock, self.wake)
        typing.on_change(lambda _: self.wake())

    def wake(self) -> None:
        """There may be something to tell."""
        self._wake.set()

    def nudge(self) -> None:
        """The service is alive, since it makes requests: it need not be waited for any longer."""
        now = self._clock.monotonic()
        if self._failures and now - self._nudged_at >= _NUDGES_S:
            self._nudged_at = now
            self._retry.set()

    def progress(self) -> Progress:
        """How it is doing now."""
        since = self._failing_since
        kept = self._kept
        waits = kept is not None and kept.body is not None and kept.txn_id != self._delivered
        behind = max(self._log.position - self._position, 0) + waits
        return Progress(self._id, behind, 0.0 if since is None else self._clock.monotonic() - since)

    async def run(self) -> None:
        """Tell the service until cancelled."""
        self._failures, self._failing_since = 0, None
        self._maker.interest.forget_all()  # another process may have told it meanwhile
        while True:
            try:
                await self._patiently(self._load)
                while True:
                    if not await self._patiently(self._advance):
                        await self._woken()
            except Elsewhere:
                _log.warning("appservice_told_elsewhere", id=self._id)
                self._maker.interest.forget_all()

    async def close(self) -> None:
        """Store how far the service has been told."""
        kept = self._kept
        with suppress(StoreUnavailable, Elsewhere):
            if kept is not None and kept.body is not None and kept.txn_id == self._delivered:
                await self._keep(self._position, acknowledged=kept)
            elif kept is not None and kept.body is None and self._position > kept.position:
                await self._keep(self._position)

    async def _patiently(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """A database that is away is waited for, and a fault is no reason to give up."""
        while True:
            try:
                return await work()
            except StoreUnavailable as error:
                _log.warning("appservice_postponed", id=self._id, error=str(error))
            except Elsewhere:
                raise
            except Exception as error:
                _log.error("appservice_crashed", id=self._id, position=self._position, exc_info=error)
            # What was read may be ahead of the cursor.
            self._maker.interest.forget_all()
            await asyncio.sleep(1.0)

    async def _load(self) -> None:
        async with self._store.read() as tx:
            kept = await tx.appservices.delivery(self._id)
        if kept is None:
            self._kept = None
            await self._keep(self._begin)  # what was before its first day is not for it
        else:
            self._kept, self._position = kept, kept.position

    async def _advance(self) -> bool:
        """Send what waits, or else make the next transaction. Returns False when there is nothing to do."""
        kept = self._kept
        if kept is not None and kept.body is not None and kept.txn_id is not None:
            if kept.txn_id != self._delivered:
                await self._deliver(kept.txn_id, kept.body)
                self._delivered = kept.txn_id  # if the database is away now, it is not sent again
            return await self._make_next(acknowledged=kept)
        return await self._make_next()

    async def _woken(self) -> None:
        keep_every_s = self._keep_every
        fades_in_s = None if self._presence is None else self._presence.due_in_s()
        wait_s = keep_every_s if fades_in_s is None else min(keep_every_s, fades_in_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            if wait_s == keep_every_s:
                await self._keep_cursor()
        self._wake.clear()

    @property
    def _keep_every(self) -> float:
        return _KEEP_CURSOR_S if self._kept is None or self._kept.body is None else _KEEP_TOLD_S

    async def _keep_cursor(self) -> None:
        """Nothing waits to be sent: what is in the row is acknowledged."""
        kept = self._kept
        if kept is not None and (kept.body is not None or self._position > kept.position):
            with suppress(StoreUnavailable):
                await self._keep(self._position, acknowledged=None if kept.body is None else kept)

    # Making

    async def _make_next(self, acknowledged: Delivery | None = None) -> bool:
        """Read on until there is a transaction, and store it: over the one that was acknowledged.

        Returns whether there is anything to do now. Where there is no next one, what was acknowledged is forgotten a
        moment later (`_woken`): a process that dies before that sends it again, under the same id and as it was.
        """
        draft = TransactionDraft(self._position, self._position)
        body: bytes | None = None
        while True:
            upto = self._log.position
            while draft.position < upto and not draft.is_full(self._maker.limits):
                await self._read_on(draft, upto)
            if draft.position >= upto:
                await self._add_passing(draft)
            body = await self._maker.finish(draft)
            if body is not None or draft.position >= self._log.position:
                break
            draft = TransactionDraft(draft.position, draft.position)
        if body is not None or (acknowledged is not None and self._done_with(acknowledged)):
            await self._keep(draft.position, body, acknowledged)
        self._position = draft.position
        if self._clock.monotonic() - self._kept_at > self._keep_every:
            await self._keep_cursor()
        return body is not None

    async def _read_on(self, draft: TransactionDraft, upto: int) -> None:
        """Add the next page. What cannot be read must not keep what is behind it from being told."""
        upto = min(draft.position + _PAGE, upto)
        try:
            await self._read(draft, upto)
        except StoreUnavailable:
            raise
        except Exception as error:
            _log.warning("appservice_reading_singly", id=self._id, position=draft.position, exc_info=error)
            await self._read_singly(draft, upto)

    async def _read_singly(self, draft: TransactionDraft, upto: int) -> None:
        while draft.position < upto and not draft.is_full(self._maker.limits):
            self._maker.interest.forget_all()
            try:
                await self._read(draft, draft.position + 1)
            except StoreUnavailable:
                raise
            except Exception as error:
                draft.position += 1
                _log.error("appservice_entry_left_out", id=self._id, position=draft.position, error=repr(error))

    async def _read(self, draft: TransactionDraft, upto: int) -> None:
        entries: Sequence[LogEntry] | None = self._log.since(draft.position, upto)
        if entries is None:
            async with self._store.read() as tx:
                entries = await tx.log.between(draft.position, upto)
        if entries is None:
            await self._maker.extend_from_store(draft, upto)
        else:
            await self._maker.extend(draft, entries)

    async def _add_passing(self, draft: TransactionDraft) -> None:
        """Add typing and presence, which are of the moment and not kept."""
        if self._typing is not None:
            rooms = self._typing.changed_since(self._typing_serial)
            if rooms is None:  # too long ago: those where somebody is typing now
                rooms = self._typing.changed_since(0)
            self._typing_serial = self._typing.serial
            if rooms:
                await self._maker.add_typing(draft, {room_id: self._typing.users(room_id) for room_id in rooms})
        if self._presence is not None and (shown := self._presence.take()):
            await self._maker.add_presence(draft, shown)

    async def _keep(self, position: int, body: bytes | None = None, acknowledged: Delivery | None = None) -> None:
        """Write the row. Raises StoreUnavailable, Elsewhere."""
        version = 1 if self._kept is None else self._kept.version + 1
        txn_id = f"{self._epoch}{version}" if body is not None else None
        kept = Delivery(self._id, version, position, txn_id, body)
        async with self._store.write() as tx:
            if not await tx.appservices.put_delivery(kept):
                raise Elsewhere
            if acknowledged is not None:
                done = {device: acknowledged.position for device in self._done_with(acknowledged)}
                if done:
                    await tx.to_device.delete_acknowledged(done)
        self._kept, self._position, self._kept_at = kept, position, self._clock.monotonic()
        if faults.plan is not None:
            await faults.plan.reach("appservices.stored")

    def _done_with(self, acknowledged: Delivery) -> set[DeviceName]:
        """Devices whose messages the service has now, and which nobody else reads.

        Where its namespace is not exclusive, the user may have a client of their own.
        """
        body = acknowledged.body or b""
        if b'"to_device":[' not in body:
            return set()
        devices = {(item["to_user_id"], item["to_device_id"]) for item in orjson.loads(body)["to_device"]}
        return {device for device in devices if self._link.service.covers_exclusively(device[0])}

    # Sending

    async def _deliver(self, txn_id: str, body: bytes) -> None:
        """Send a transaction until it is acknowledged."""
        while True:
            await self._duty.allowed()
            try:
                answer = await self._link.ask(
                    "PUT", f"/transactions/{segment(txn_id)}", body=body, seconds=self._settings.request_s
                )
                error = None if answer.is_success else f"status {answer.status}"
            except OutboundError as failed:
                error = str(failed)
            if faults.plan is not None:
                await faults.plan.reach("appservices.answered")
            if error is None:
                break
            await self._wait(error, txn_id)
        if self._failing_since is not None:
            _log.info("appservice_back", id=self._id, behind=self._log.position - self._position)
        self._failures, self._failing_since = 0, None

    async def _wait(self, error: str, txn_id: str) -> None:
        now = self._clock.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        wait_s = min(self._settings.first_wait_s * 2 ** min(self._failures, 20), self._settings.longest_wait_s)
        self._failures += 1
        if self._failures == 1 or now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            behind = self._log.position - self._position
            _log.warning(
                "appservice_failing", id=self._id, txn_id=txn_id, error=error, retry_s=wait_s, positions_behind=behind
            )
        self._retry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._retry.wait()


class AppServiceSenders:
    """The senders of all application services that have a URL."""

    def __init__(self, senders: Mapping[str, AppServiceSender], log: Log, duty: Duty) -> None:
        """`senders` by the ids of their services."""
        self._senders = dict(senders)
        self._duty = duty
        if senders:
            log.listen(lambda _: self._wake(), self._wake)

    def _wake(self) -> None:
        for sender in self._senders.values():
            sender.wake()

    def nudge(self, service: str) -> None:
        """An application service makes requests, so it is alive."""
        if (sender := self._senders.get(service)) is not None:
            sender.nudge()

    def hear(self, typing: TypingTracker, presence: PresenceTracker) -> None:
        """Tell of typing and presence those that want to know."""
        for sender in self._senders.values():
            sender.hear(typing, presence)

    def progress(self) -> list[Progress]:
        """How all of them are doing; nothing if another process tells them."""
        if not self._duty.is_ours:
            return []
        return [sender.progress() for sender in self._senders.values()]

    async def run(self) -> None:
        """Tell everybody, while this process is the one that does, until cancelled."""
        await self._duty.perform(self._serve)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            for sender in self._senders.values():
                group.create_task(sender.run())

    async def close(self) -> None:
        """Store how far they have been told."""
        for sender in self._senders.values():
            await sender.close()
