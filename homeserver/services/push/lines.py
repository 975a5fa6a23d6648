"""What waits for single pushers, and its sending: one thing after the other, and each gateway at its own pace.

A pusher whose gateway fails is waited for by itself, from 1 s to 1 h, and told the number alone after a long outage.
How far each has come is for `sender` to store. See docs/subsystems/push.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import orjson
import structlog

from homeserver.ports.clock import Clock
from homeserver.ports.outbound import OutboundSource
from homeserver.ports.pushers import Pusher, PusherName
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.duties import Duty
from homeserver.services.push.badges import Badges
from homeserver.services.push.gateway import Notice, Unreachable
from homeserver.services.push.mail import EMAIL
from homeserver.services.push.webpush import WebPush, tell

_log = structlog.get_logger(__name__)

_LONGEST_WAIT_S = 3_600.0
_AT_ONCE = 10  # requests to one gateway: a gateway that hangs takes no place of another one's
_FRESH_S = 5.0  # so long nobody asks the database again whether a pusher is still there
_LINES = 50_000


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How long pushers are waited for."""

    first_wait_s: float = 1.0
    outage_s: float = 300.0
    """After so long only the number is sent."""
    waiting: int = 50
    """Newest events kept for a pusher whose gateway does not take them."""


@dataclass(slots=True, eq=False)
class Line:
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


class PushLines:
    """Owns what is on its way to gateways."""

    def __init__(  # the parts it stands on
        self,
        store: Store,
        clock: Clock,
        badges: Badges,
        outbound: OutboundSource,
        settings: SenderSettings,
        duty: Duty,
        web: WebPush | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._badges = badges
        self._outbound = outbound
        self._settings = settings
        self._duty = duty
        self._web = web
        self._lines: dict[PusherName, Line] = {}
        self.position = 0
        """Up to where the log was read."""
        self.told: dict[PusherName, tuple[int, int | None]] = {}
        """How far pushers have come, and since when they fail, since somebody took it from here."""
        self.news = asyncio.Event()
        """Set while there is something in `told`."""
        # By host; whoever waits at one keeps it.
        self._sending: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def clear(self) -> None:
        """Begin anew: nothing waits. `stop` comes first."""
        self._lines.clear()
        self.told.clear()

    async def stop(self) -> None:
        """Send nothing more; what waits stays."""
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def unsent(self) -> Iterator[int]:
        """The first position that waits, of each pusher whose gateway takes what it is told."""
        return (line.notices[0].position for line in self._lines.values() if line.notices and line.failing_ms is None)

    def add(self, pusher: Pusher, notice: Notice) -> None:
        """Tell a pusher of an event, behind what waits for it."""
        line = self._line(pusher)
        line.notices.append(notice)
        self._start(line)

    def tell_badge(self, pusher: Pusher) -> None:
        """Tell a pusher the number, if it has changed."""
        self._tell_badge(self._line(pusher))

    def begin_failing(self, pusher: Pusher) -> None:
        """What it missed before the start is not told one by one."""
        line = self._line(pusher)
        line.failing_ms = pusher.failing_ms
        self._tell_badge(line)

    def unsay(self, event_id: str) -> None:
        """What was redacted before it was sent is not sent."""
        for line in self._lines.values():
            if any(notice.event["event_id"] == event_id for notice in line.notices):
                kept = [notice for notice in line.notices if notice.event["event_id"] != event_id]
                line.notices.clear()
                line.notices.extend(kept)

    def _line(self, pusher: Pusher) -> Line:
        name, host = pusher.name, _host(pusher)
        line = self._lines.get(name)
        if line is not None:
            line.host = host
        else:
            if len(self._lines) >= _LINES:
                self._lines = {key: kept for key, kept in self._lines.items() if not kept.is_idle}
            line = self._lines[name] = Line(name, host, deque(maxlen=self._settings.waiting))
        line.pusher, line.read_at = pusher, self._clock.monotonic()
        return line

    def _tell_badge(self, line: Line) -> None:
        line.badge = True
        self._start(line)

    def _start(self, line: Line) -> None:
        if line.task is None:
            line.task = asyncio.create_task(self._drain(line))

    async def _drain(self, line: Line) -> None:
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
                    self._note(line.name, notice.position if notice is not None else self.position, None)
                line.failures, line.failing_ms = 0, None
        finally:
            line.task = None
            if line.notices or line.badge:
                self._start_later(line)
            else:
                line.pusher = None

    def _start_later(self, line: Line) -> None:
        """Something came while the task ended; nothing if everything ends."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            self._start(line)

    def _note(self, name: PusherName, position: int, failing_ms: int | None) -> None:
        self.told[name] = (position, failing_ms)
        self.news.set()

    def _gate(self, host: str) -> asyncio.Semaphore:
        gate = self._sending.get(host)
        if gate is None:
            gate = self._sending[host] = asyncio.Semaphore(_AT_ONCE)
        return gate

    async def _send(self, line: Line, notice: Notice | None) -> bool:
        """Returns False if there is no such pusher any more. Raises Unreachable, StoreUnavailable."""
        user_id = line.name[0]
        pusher = await self._pusher(line)
        if pusher is None or not pusher.enabled:
            return False
        unread = await self._badges.of(user_id)
        if notice is None and unread == line.shown and line.failing_ms is None:
            return True
        await self._duty.allowed()
        if not await tell(await self._outbound(), pusher, notice, unread, self._web):
            _log.info("pusher_rejected", user=user_id, app=line.name[1])
            line.pusher = None
            async with self._store.write() as tx:
                await tx.pushers.delete(line.name)
            return False
        line.shown = unread
        return True

    async def _pusher(self, line: Line) -> Pusher | None:
        """The pusher as it is, or was a moment ago: a thousand that are told at once were read at once."""
        now = self._clock.monotonic()
        if line.pusher is None or now - line.read_at > _FRESH_S:
            async with self._store.read_committed() as tx:
                line.pusher, line.read_at = await tx.pushers.get(line.name), now
        return line.pusher

    async def _wait_for(self, line: Line, notice: Notice | None, error: Exception) -> None:
        now_ms = self._clock.now_ms()
        if line.failing_ms is None:
            line.failing_ms = now_ms
            self._note(line.name, notice.position - 1 if notice is not None else self.position, now_ms)
            _log.info("push_gateway_failed", user=line.name[0], app=line.name[1], error=str(error))
        wait_s = min(self._settings.first_wait_s * 2 ** min(line.failures, 20), _LONGEST_WAIT_S)
        line.failures += 1
        await asyncio.sleep(wait_s)
        if self._clock.now_ms() - line.failing_ms > self._settings.outage_s * 1000:
            line.notices.clear()
            line.badge = True


def _host(pusher: Pusher) -> str:
    """Where its gateway is; empty if it has none."""
    url = orjson.loads(pusher.data).get("url") if pusher.kind != EMAIL else None
    return urlsplit(url).netloc if isinstance(url, str) else ""
