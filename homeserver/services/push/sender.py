"""Follows the log and tells push gateways: each event once, in order, and the number of what is unread.

The cursor says up to where every pusher has been told; it is stored, and from there a restarted server goes on. A
pusher whose gateway fails is waited for by itself, from 1 s to 1 h, and told the number alone after a long outage.
See docs/subsystems/push.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import orjson
import structlog

from homeserver.core.pushmatch import PushMatcher
from homeserver.ports.clock import Clock
from homeserver.ports.events import HIDDEN, StoredEvent
from homeserver.ports.log import AccountDataEntry, EventEntry, LogEntry, ReceiptEntry
from homeserver.ports.outbound import OutboundSource
from homeserver.ports.pushers import Pusher, PusherName
from homeserver.ports.store import Store, StoreUnavailable, Transaction
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.personal.pushrules import PUSH_RULES, push_rules
from homeserver.services.push.badges import Badges
from homeserver.services.push.gateway import Notice, Unreachable
from homeserver.services.push.mail import EMAIL, MailPushes
from homeserver.services.push.rooms import PushRoom, push_rooms
from homeserver.services.push.webpush import WebPush, tell
from homeserver.services.rooms.render import client_json
from homeserver.services.rooms.visibility import joined_all_along, load_history

_log = structlog.get_logger(__name__)

_MOST_BEHIND = 5_000  # positions; who is further behind is told numbers alone
_PAGE = 500
_FLUSH_S = 0.25
_CURSOR_EVERY = 20  # flushes: what is told anew after a restart is known by each pusher's own position
_LONGEST_WAIT_S = 3_600.0
_AT_ONCE = 10  # requests to one gateway: a gateway that hangs takes no place of another one's
_FRESH_S = 5.0  # so long nobody asks the database again whether a pusher is still there
_MATCHERS = 10_000
_LINES = 50_000
_BREATH = 50  # rule sets asked, or pushers of one user started, before others may run


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How long pushers are waited for."""

    first_wait_s: float = 1.0
    outage_s: float = 300.0
    """After so long only the number is sent."""
    waiting: int = 50
    """Newest events kept for a pusher whose gateway does not take them."""


@dataclass(slots=True, eq=False)
class _Line:
    """What waits for one pusher."""

    name: PusherName
    host: str  # of the gateway
    notices: deque[Notice]
    badge: bool = False  # the number is to be told if it has changed
    shown: int | None = None  # the number it was told last
    failures: int = 0
    failing_ms: int | None = None
    task: asyncio.Task[None] | None = None
    pusher: Pusher | None = None  # as it was read last
    read_at: float = 0.0  # seconds of the monotonic clock

    @property
    def is_idle(self) -> bool:
        """Nothing is to be done."""
        return self.task is None and not self.notices and not self.badge


@dataclass(slots=True)
class _Batch:
    """What is read of the database for some entries of the log."""

    rooms: dict[int, PushRoom] = field(default_factory=dict)
    told: dict[int, set[str]] = field(default_factory=dict)  # by room: members with pushers
    pushers: dict[str, list[Pusher]] = field(default_factory=dict)
    ignored: dict[str, Collection[str]] = field(default_factory=dict)


class PushSender:
    """Owns what is sent to gateways. `run` must be running; `close` ends it."""

    def __init__(  # the parts it stands on
        self,
        store: Store,
        log: Log,
        clock: Clock,
        ignored: IgnoredUsers,
        badges: Badges,
        outbound: OutboundSource,
        settings: SenderSettings,
        web: WebPush | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._clock = clock
        self._ignored = ignored
        self._badges = badges
        self._outbound = outbound
        self._settings = settings
        self._web = web
        self._users: set[str] = set()
        self._matchers: OrderedDict[str, PushMatcher] = OrderedDict()
        self._lines: dict[PusherName, _Line] = {}
        self._told: dict[PusherName, tuple[int, int | None]] = {}
        self._position = log.position
        self._stored_position = -1
        self._flushes = 0
        # By host; whoever waits at one keeps it.
        self._sending: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._wake = asyncio.Event()
        self._mail: MailPushes | None = None
        log.listen(self._follow, self._forget)

    def write_letters(self, mail: MailPushes) -> None:
        """Tell `mail` what is for e-mail addresses; nobody is told otherwise."""
        self._mail = mail

    def set_by(self, user_id: str) -> None:
        """The user has set a pusher."""
        self._users.add(user_id)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if isinstance(entry, AccountDataEntry) and entry.data.type == PUSH_RULES:
                self._matchers.pop(entry.data.user_id, None)
        self._wake.set()

    def _forget(self) -> None:
        self._matchers.clear()
        self._wake.set()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        await self._until_done(self._begin)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush_often())
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._until_done(self._catch_up)

    async def close(self) -> None:
        """Stop sending, and store how far everybody has come."""
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._flush()

    async def _until_done(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A database that is away is waited for: no event is passed over."""
        while True:
            try:
                await work()
            except StoreUnavailable as error:
                _log.warning("pushes_postponed", error=str(error))
                await asyncio.sleep(1.0)
            else:
                return

    async def _begin(self) -> None:
        async with self._store.read() as tx:
            self._users.update(await tx.pushers.users())
            cursor = await tx.pushers.cursor()
            failing = await tx.pushers.failing()
        if cursor is not None:
            self._position = self._stored_position = min(cursor, self._log.position)
        for pusher in failing:
            # What it missed before the restart is not told one by one.
            line = self._line(pusher)
            line.failing_ms = pusher.failing_ms
            self._tell_badge(line)
        self._wake.set()

    # From the log to what is to be told

    async def _catch_up(self) -> None:
        while self._position < (upto := self._log.position):
            if not self._users:
                self._position = upto
                return
            entries = self._log.since(self._position, upto)
            if entries is None and upto - self._position > _MOST_BEHIND:
                _log.warning("pushes_skipped", before=self._position, position=upto)
                await self._take([], everybody=True)
                self._position = upto
            elif entries is None:
                async with self._store.read() as tx:
                    events = await tx.events.after(self._position, _PAGE)
                await self._take_all([EventEntry(event.position or 0, event) for event in events])
                whole = len(events) < _PAGE
                self._position = upto if whole else max(self._position, events[-1].position or 0)
            else:
                for start in range(0, len(entries), _PAGE):
                    page = entries[start : start + _PAGE]
                    await self._take_all(page)
                    self._position = page[-1].position

    async def _take_all(self, entries: Sequence[LogEntry]) -> None:
        """Queue what they mean. A fault in one of them must not keep everybody from being told of later ones."""
        try:
            await self._take(entries)
        except StoreUnavailable:
            raise
        except Exception as error:
            _log.error("pushes_crashed", first=entries[0].position, last=entries[-1].position, exc_info=error)

    async def _take(self, entries: Sequence[LogEntry], *, everybody: bool = False) -> None:
        """Queue what these entries mean for pushers; of `everybody` the number."""
        events = [entry.stored for entry in entries if isinstance(entry, EventEntry) and _is_news(entry.stored)]
        readers = {entry.receipt.user_id for entry in entries if isinstance(entry, ReceiptEntry)} & self._users
        readers.update(stored.event.sender for stored in events if stored.event.sender in self._users)
        if everybody:
            readers = set(self._users)
        for stored in events:
            if stored.event.redacts is not None:
                self._unsay(stored.event.redacts)
        batch = await self._read(events, readers)
        asked = 0
        for stored in events:
            parsed = None
            room = batch.rooms.get(stored.room_nid)
            for user_id in batch.told.get(stored.room_nid, ()) if room is not None else ():
                if stored.event.sender == user_id or stored.event.sender in batch.ignored.get(user_id, ()):
                    continue
                if not await self._may_see(user_id, stored, room):
                    continue
                if parsed is None:
                    parsed = orjson.loads(client_json(joined_all_along([stored])[0]))
                asked += 1
                if asked % _BREATH == 0:
                    await asyncio.sleep(0)
                await self._tell(user_id, stored, parsed, room, batch.pushers[user_id])
        self._tell_readers(batch, readers, everybody)

    def _tell_readers(self, batch: _Batch, readers: Collection[str], everybody: bool) -> None:
        """They have read or said something; or nobody knows what `everybody` has missed."""
        for user_id in readers:
            for pusher in batch.pushers.get(user_id, ()):
                if pusher.kind != EMAIL:
                    self._tell_badge(self._line(pusher))
                elif self._mail is not None:
                    (self._mail.noticed if everybody else self._mail.read)(pusher)

    async def _read(self, events: Sequence[StoredEvent], readers: Collection[str]) -> _Batch:
        batch = _Batch()
        async with self._store.read() as tx:
            for room_nid in {stored.room_nid for stored in events}:
                batch.told[room_nid] = self._users.intersection(await tx.rooms.joined_local_users(room_nid))
            for stored in events:
                invited = _invited(stored)
                if invited is not None and invited in self._users:
                    batch.told[stored.room_nid].add(invited)
            users = {user_id for told in batch.told.values() for user_id in told} | set(readers)
            for pusher in await tx.pushers.of_users(users) if users else ():
                if pusher.enabled:
                    batch.pushers.setdefault(pusher.user_id, []).append(pusher)
            for told in batch.told.values():
                told.intersection_update(batch.pushers)
            wanted = {
                room_nid: told | {stored.event.sender for stored in events if stored.room_nid == room_nid}
                for room_nid, told in batch.told.items()
                if told
            }
            batch.rooms = await push_rooms(tx, wanted) if wanted else {}
            await self._compile(tx, {user_id for told in batch.told.values() for user_id in told})
        for user_id in batch.pushers:
            batch.ignored[user_id] = await self._ignored.of(user_id)
        return batch

    async def _compile(self, tx: Transaction, users: Iterable[str]) -> None:
        for user_id in users:
            if user_id not in self._matchers:
                stored = await tx.account_data.get(user_id, None, PUSH_RULES)
                self._matchers[user_id] = PushMatcher(user_id, push_rules(user_id, stored))
        while len(self._matchers) > max(_MATCHERS, len(self._users)):
            self._matchers.popitem(last=False)

    async def _may_see(self, user_id: str, stored: StoredEvent, room: PushRoom | None) -> bool:
        """Whoever was in the room before the event sees it; of others their history decides."""
        if _invited(stored) == user_id:
            return True
        member = room.members.get(user_id) if room is not None else None
        if member is None or member.event.content.get("membership") != "join":
            return False
        if member.order is not None and stored.order is not None and member.order < stored.order:
            return True
        async with self._store.read() as tx:
            history = await load_history(tx, stored.room_nid, user_id)
        return history.visible(stored)

    async def _tell(
        self,
        user_id: str,
        stored: StoredEvent,
        parsed: dict[str, Any],
        room: PushRoom | None,
        pushers: Sequence[Pusher],
    ) -> None:
        matcher = self._matchers.get(user_id)
        if room is None or matcher is None:
            return
        outcome = matcher.match(parsed, room.facts(user_id, stored.event.sender))
        if not outcome.notify:
            return
        notice = Notice(
            stored.position or 0,
            parsed,
            outcome,
            user_is_target=stored.event.state_key == user_id,
            sender_display_name=room.display_name(stored.event.sender),
            room_name=room.name,
            room_alias=room.alias,
        )
        for number, pusher in enumerate(pushers, 1):
            if number % _BREATH == 0:
                await asyncio.sleep(0)
            if pusher.kind == EMAIL:
                if self._mail is not None:
                    self._mail.noticed(pusher)
            elif pusher.position < notice.position:
                line = self._line(pusher)
                line.notices.append(notice)
                self._start(line)

    def _unsay(self, event_id: str) -> None:
        """What was redacted before it was sent is not sent."""
        for line in self._lines.values():
            if any(notice.event["event_id"] == event_id for notice in line.notices):
                kept = [notice for notice in line.notices if notice.event["event_id"] != event_id]
                line.notices.clear()
                line.notices.extend(kept)

    # From what is to be told to the gateway

    def _line(self, pusher: Pusher) -> _Line:
        name, host = pusher.name, _host(pusher)
        line = self._lines.get(name)
        if line is not None:
            line.host = host
        else:
            if len(self._lines) >= _LINES:
                self._lines = {key: kept for key, kept in self._lines.items() if not kept.is_idle}
            line = self._lines[name] = _Line(name, host, deque(maxlen=self._settings.waiting))
        line.pusher, line.read_at = pusher, self._clock.monotonic()
        return line

    def _tell_badge(self, line: _Line) -> None:
        line.badge = True
        self._start(line)

    def _start(self, line: _Line) -> None:
        if line.task is None:
            line.task = asyncio.create_task(self._drain(line))

    async def _drain(self, line: _Line) -> None:
        """Send what waits for a pusher, one after the other."""
        try:
            while line.notices or line.badge:
                notice, line.badge = line.notices[0] if line.notices else None, False
                try:
                    async with self._gate(line.host):
                        exists = await self._send(line, notice)
                except Exception as error:
                    if not isinstance(error, Unreachable | StoreUnavailable):
                        _log.error("push_crashed", user=line.name[0], app=line.name[1], exc_info=error)
                    line.badge = True
                    await self._wait_for(line, notice, error)
                    continue
                if not exists:
                    line.notices.clear()
                    line.badge = False
                    return
                if notice is not None and line.notices and line.notices[0] is notice:
                    line.notices.popleft()
                if notice is not None or line.failing_ms is not None:
                    position = notice.position if notice is not None else self._position
                    self._told[line.name] = (position, None)
                line.failures, line.failing_ms = 0, None
        finally:
            line.task = None
            if line.notices or line.badge:
                self._start_later(line)
            else:
                line.pusher = None

    def _start_later(self, line: _Line) -> None:
        """Something came while the task ended; nothing if everything ends."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            self._start(line)

    def _gate(self, host: str) -> asyncio.Semaphore:
        gate = self._sending.get(host)
        if gate is None:
            gate = self._sending[host] = asyncio.Semaphore(_AT_ONCE)
        return gate

    async def _send(self, line: _Line, notice: Notice | None) -> bool:
        """Returns False if there is no such pusher any more. Raises Unreachable, StoreUnavailable."""
        user_id = line.name[0]
        pusher = await self._pusher(line)
        if pusher is None or not pusher.enabled:
            return False
        unread = await self._badges.of(user_id)
        if notice is None and unread == line.shown and line.failing_ms is None:
            return True
        if not await tell(await self._outbound(), pusher, notice, unread, self._web):
            _log.info("pusher_rejected", user=user_id, app=line.name[1])
            line.pusher = None
            async with self._store.write() as tx:
                await tx.pushers.delete(line.name)
            return False
        line.shown = unread
        return True

    async def _pusher(self, line: _Line) -> Pusher | None:
        """The pusher as it is, or was a moment ago: a thousand that are told at once were read at once."""
        now = self._clock.monotonic()
        if line.pusher is None or now - line.read_at > _FRESH_S:
            async with self._store.read_committed() as tx:
                line.pusher, line.read_at = await tx.pushers.get(line.name), now
        return line.pusher

    async def _wait_for(self, line: _Line, notice: Notice | None, error: Exception) -> None:
        now_ms = self._clock.now_ms()
        if line.failing_ms is None:
            line.failing_ms = now_ms
            before = notice.position - 1 if notice is not None else self._position
            self._told[line.name] = (before, now_ms)
            _log.info("push_gateway_failed", user=line.name[0], app=line.name[1], error=str(error))
        wait_s = min(self._settings.first_wait_s * 2 ** min(line.failures, 20), _LONGEST_WAIT_S)
        line.failures += 1
        await asyncio.sleep(wait_s)
        if self._clock.now_ms() - line.failing_ms > self._settings.outage_s * 1000:
            line.notices.clear()
            line.badge = True

    # How far everybody has come

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            with suppress(StoreUnavailable):
                await self._flush()

    async def _flush(self) -> None:
        """Store how far pushers have come."""
        held = [line.notices[0].position for line in self._lines.values() if line.notices and line.failing_ms is None]
        position = min([self._position, *(first - 1 for first in held)])
        told, self._told = self._told, {}
        self._flushes += 1
        if not told and (position == self._stored_position or not self._users or (self._flushes % _CURSOR_EVERY)):
            return
        try:
            async with self._store.write() as tx:
                await tx.pushers.advance([(name, *how) for name, how in sorted(told.items())])
                await tx.pushers.set_cursor(position)
        except StoreUnavailable:
            self._told = {**told, **self._told}
            raise
        self._stored_position = position


def _host(pusher: Pusher) -> str:
    """Where its gateway is; empty if it has none."""
    url = orjson.loads(pusher.data).get("url") if pusher.kind != EMAIL else None
    return urlsplit(url).netloc if isinstance(url, str) else ""


def _is_news(stored: StoredEvent) -> bool:
    return stored.order is not None and not (stored.flags and stored.flags & HIDDEN)


def _invited(stored: StoredEvent) -> str | None:
    """Whom the event invites."""
    event = stored.event
    if event.type == "m.room.member" and event.content.get("membership") == "invite":
        return event.state_key
    return None
