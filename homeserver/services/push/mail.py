"""E-mail pushers: one letter about everything unread after a quiet time, to those who have agreed.

Nothing of a letter is stored before it is sent: whoever waits for one is remembered, and what it says is read when it
goes out, through the list of notifications and so through the history filter. A pusher's position says up to where its
letters have told; a restarted server looks behind it. See docs/subsystems/push.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from homeserver.ports.clock import Clock
from homeserver.ports.events import order_of
from homeserver.ports.mail import Letter, Mailer, MailFailed
from homeserver.ports.pushers import Pusher, PusherName
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.duties import Duty, NotOurs
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.push.letters import Digest, Letters, RoomDigest
from homeserver.services.push.links import MailLinks, Purpose
from homeserver.services.push.notifications import Notification, Notifications
from homeserver.services.push.rooms import PushRoom, push_rooms
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.rooms.present import Recipient

_log = structlog.get_logger(__name__)

EMAIL = "email"
_MOST_MESSAGES = 50
_MOST_LINES = 10  # of one room
_LATEST = 6  # times the quiet time: then a letter goes though people still talk
_LONGEST_GAP_MS = 24 * 3600 * 1000
_LONGEST_WAIT_MS = 3600 * 1000
_FIRST_WAIT_MS = 1000


@dataclass(frozen=True, slots=True)
class MailSettings:
    """When letters go and what they show."""

    quiet_ms: int
    show_text: bool = False
    """Show what was said where it was not encrypted."""
    at_once: int = 4


@dataclass(frozen=True, slots=True)
class Post:
    """What letters are made with. The first two are made when the first one is written: their libraries cost memory."""

    mailer: Callable[[], Mailer]
    letters: Callable[[], Letters]
    links: MailLinks


@dataclass(slots=True, eq=False)
class _Waiting:
    """A pusher that a letter is due for."""

    name: PusherName
    since_ms: int
    due_ms: int
    failures: int = 0
    task: asyncio.Task[None] | None = None
    again: bool = False  # something happened while the letter was written


class MailPushes:
    """Owns letters. `run` must be running; `close` ends it."""

    def __init__(
        self, store: Store, log: Log, clock: Clock, reading: Reading, post: Post, settings: MailSettings, duty: Duty
    ) -> None:
        self._store = store
        self._log = log
        self._clock = clock
        self._reading = reading
        self._mailer = post.mailer
        self._letters = post.letters
        self._links = post.links
        self._settings = settings
        self._duty = duty
        self._waiting: dict[PusherName, _Waiting] = {}
        self._readers: set[PusherName] = set()
        self._wake = asyncio.Event()
        self._sending = asyncio.Semaphore(settings.at_once)

    # What happens

    def noticed(self, pusher: Pusher) -> None:
        """The pusher's owner was to be told of something."""
        if not pusher.confirmed or not pusher.enabled:
            return
        now, quiet = self._clock.now_ms(), self._settings.quiet_ms
        waiting = self._waiting.get(pusher.name)
        if waiting is None:
            waiting = self._waiting[pusher.name] = _Waiting(pusher.name, now, now)
        elif waiting.task is not None:
            waiting.again = True
            return
        if waiting.failures:
            return
        # Whoever does not come gets fewer letters: twice as long between them each time.
        gap = min(quiet << min(pusher.mails, 20), _LONGEST_GAP_MS) if pusher.mails else 0
        waiting.due_ms = max(min(now + quiet, waiting.since_ms + _LATEST * quiet), (pusher.mailed_ms or 0) + gap)
        self._wake.set()

    def read(self, pusher: Pusher) -> None:
        """The pusher's owner has read or said something."""
        if pusher.mails:
            self._readers.add(pusher.name)
            self._wake.set()

    def were_set(self, pushers: Iterable[Pusher]) -> None:
        """Of those that are new, the addresses are to be asked whether they want letters."""
        now = self._clock.now_ms()
        for pusher in pushers:
            if pusher.kind == EMAIL and not pusher.confirmed and pusher.mailed_ms is None:
                self._waiting.setdefault(pusher.name, _Waiting(pusher.name, now, now))
                self._wake.set()

    # What is behind links

    async def page(self, purpose: Purpose, token: str) -> str | None:
        """The page of a link, which asks; None if the link is not one."""
        async with self._store.read() as tx:
            pusher = await self._links.find(tx, purpose, token)
        if pusher is None:
            return None
        return self._letters().page(purpose, pusher.lang, pusher.user_id, "ask")

    async def act(self, purpose: Purpose, token: str) -> str | None:
        """Do what the link is for; the page that says so, or None if the link is not one."""
        async with self._store.write() as tx:
            pusher = await self._links.find(tx, purpose, token)
            if pusher is None:
                return None
            if purpose == "unsubscribe":
                await tx.pushers.delete(pusher.name)
            elif not pusher.confirmed:
                await tx.pushers.confirm(pusher.name, await tx.log.position())
        return self._letters().page(purpose, pusher.lang, pusher.user_id, "done")

    # Sending

    async def run(self) -> None:
        """Send what is due, while this process is the one that does, until cancelled."""
        await self._duty.perform(self._serve)

    async def _serve(self) -> None:
        self._waiting.clear()
        self._readers.clear()
        try:
            await self._begin()
            await self._send_due()
        finally:
            await self.close()

    async def _send_due(self) -> None:
        while True:
            self._wake.clear()
            await self._reset_readers()
            now = self._clock.now_ms()
            idle = [waiting for waiting in self._waiting.values() if waiting.task is None]
            for waiting in idle:
                if waiting.due_ms <= now:
                    waiting.task = asyncio.create_task(self._write(waiting))
            later = [waiting.due_ms - now for waiting in idle if waiting.task is None]
            try:
                async with asyncio.timeout(min(later) / 1000 if later else None):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def close(self) -> None:
        """Stop sending."""
        tasks = [waiting.task for waiting in self._waiting.values() if waiting.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """What happened before the start and was not told, nobody knows: everybody is looked at once."""
        while True:
            try:
                async with self._store.read() as tx:
                    pushers = await tx.pushers.of_kind(EMAIL)
            except StoreUnavailable:
                await asyncio.sleep(1.0)
                continue
            for pusher in pushers:
                self.noticed(pusher)
            self.were_set(pushers)
            return

    async def _reset_readers(self) -> None:
        readers, self._readers = self._readers, set()
        if not readers:
            return
        try:
            async with self._store.write() as tx:
                for name in sorted(readers):
                    await tx.pushers.mailed(name, mails=0)
        except StoreUnavailable:
            self._readers |= readers

    async def _write(self, waiting: _Waiting) -> None:
        """Write and send the letter of one pusher, or find that there is nothing to say."""
        try:
            async with self._sending:
                pusher = await self._send(waiting.name)
        except Exception as error:
            waiting.failures += 1
            wait_ms = min(_FIRST_WAIT_MS << min(waiting.failures - 1, 20), _LONGEST_WAIT_MS)
            waiting.due_ms = self._clock.now_ms() + wait_ms
            if not isinstance(error, MailFailed | StoreUnavailable | NotOurs):
                _log.error("mail_crashed", user=waiting.name[0], exc_info=error)
            elif waiting.failures == 1:
                _log.warning("mail_failed", user=waiting.name[0], error=str(error))
        else:
            del self._waiting[waiting.name]
            if waiting.again and pusher is not None:
                self.noticed(pusher)
        finally:
            waiting.task = None
            self._wake.set()

    async def _send(self, name: PusherName) -> Pusher | None:
        """The pusher as it is afterwards; None if there is none any more. Raises MailFailed, StoreUnavailable."""
        position = self._log.position
        async with self._store.read() as tx:
            pusher = await tx.pushers.get(name)
        if pusher is None or not pusher.enabled:
            return None
        letter = await self._letter(pusher)
        if letter is not None:
            await self._duty.allowed()
            await self._mailer().send(letter)
        elif not pusher.confirmed:
            return None
        mails = pusher.mails + 1 if pusher.confirmed and letter is not None else pusher.mails
        async with self._store.write() as tx:
            await self._duty.require(tx)
            if letter is not None:
                await tx.pushers.mailed(name, mails=mails, at_ms=self._clock.now_ms())
            if pusher.confirmed:
                await tx.pushers.advance([(name, position, None)])
            return await tx.pushers.get(name)

    async def _letter(self, pusher: Pusher) -> Letter | None:
        letters, to = self._letters(), pusher.pushkey
        if not pusher.confirmed:
            return letters.confirmation(to, pusher.lang, pusher.user_id, self._links.link("confirm", pusher.name))
        digest = await self._reading.digest(pusher, show_text=self._settings.show_text)
        if digest is None:
            return None
        unsubscribe = self._links.link("unsubscribe", pusher.name)
        return letters.digest(to, pusher.lang, pusher.user_id, digest, unsubscribe)


class Reading:
    """What a letter tells, read when it is written."""

    def __init__(self, store: Store, lists: RoomLists, ignored: IgnoredUsers, notifications: Notifications) -> None:
        self._store = store
        self._lists = lists
        self._ignored = ignored
        self._notifications = notifications

    async def digest(self, pusher: Pusher, *, show_text: bool) -> Digest | None:
        """What is unread and behind the pusher's position; None if there is nothing."""
        ignored = await self._ignored.of(pusher.user_id)
        reader = Recipient(pusher.user_id, pusher.device_id, ignored)
        page = await self._notifications.page(reader, None, _MOST_MESSAGES, only_highlights=False)
        after = order_of(pusher.position)
        fresh = [one for one in page.notifications if one.order > after and not one.read]
        memberships = await self._lists.of(pusher.user_id)
        invites = [
            one.sender
            for one in memberships.values()
            if one.membership == "invite" and one.position > pusher.position and one.sender not in ignored
        ]
        if not fresh and not invites:
            return None
        by_room: dict[str, list[Notification]] = {}
        for one in reversed(fresh):
            by_room.setdefault(one.room_id, []).append(one)
        events = {room_id: [orjson.loads(one.event) for one in found] for room_id, found in by_room.items()}
        wanted = {
            memberships[room_id].room_nid: {event["sender"] for event in found} for room_id, found in events.items()
        }
        async with self._store.read() as tx:
            rooms = await push_rooms(tx, wanted) if wanted else {}
        told = [
            _room_digest(rooms[memberships[room_id].room_nid], found, show_text) for room_id, found in events.items()
        ]
        more = len(fresh) == len(page.notifications) and page.next_token is not None
        return Digest(told, invites[:_MOST_MESSAGES], more)


def _room_digest(room: PushRoom, events: list[dict[str, Any]], show_text: bool) -> RoomDigest:
    names = {event["sender"]: room.display_name(event["sender"]) or event["sender"] for event in events}
    lines: list[tuple[str, str]] = []
    if show_text and not room.is_encrypted:
        lines = [(names[event["sender"]], text) for event in events if (text := _text(event)) is not None]
    return RoomDigest(room.name or room.alias, len(events), list(names.values()), lines[-_MOST_LINES:])


def _text(event: dict[str, Any]) -> str | None:
    content = event["content"]
    body = content.get("body")
    return body if event["type"] == "m.room.message" and isinstance(body, str) and body.strip() else None
