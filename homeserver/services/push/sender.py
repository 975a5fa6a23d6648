"""Follows the log and tells push gateways: each event once, in order, and the number of what is unread.

One process does it for all that share a database. The cursor says up to where every pusher has been told; it is
stored, and from there a restarted server or another process goes on. See docs/subsystems/push.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from homeserver.core.pushmatch import PushMatcher
from homeserver.ports.events import HIDDEN, StoredEvent
from homeserver.ports.log import AccountDataEntry, EventEntry, LogEntry, PushersEntry, ReceiptEntry
from homeserver.ports.pushers import Pusher
from homeserver.ports.store import Store, StoreUnavailable, Transaction
from homeserver.services.duties import Duty, NotOurs
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.personal.pushrules import PUSH_RULES, push_rules
from homeserver.services.push.gateway import Notice
from homeserver.services.push.lines import PushLines
from homeserver.services.push.mail import EMAIL, MailPushes
from homeserver.services.push.rooms import PushRoom, push_rooms
from homeserver.services.rooms.render import client_json
from homeserver.services.rooms.visibility import joined_all_along, load_history

_log = structlog.get_logger(__name__)

_MOST_BEHIND = 5_000  # positions; who is further behind is told numbers alone
_PAGE = 500
_FLUSH_S = 0.05  # between writes of how far pushers have come
_RETRY_S = 1.0
_KEEP_CURSOR_S = 5.0  # what is told anew after a restart is known by each pusher's own position
_MATCHERS = 10_000
_BREATH = 50  # rule sets asked, or pushers of one user started, before others may run


@dataclass(slots=True)
class _Batch:
    """What is read of the database for some entries of the log."""

    rooms: dict[int, PushRoom] = field(default_factory=dict)
    told: dict[int, set[str]] = field(default_factory=dict)  # by room: members with pushers
    pushers: dict[str, list[Pusher]] = field(default_factory=dict)
    ignored: dict[str, Collection[str]] = field(default_factory=dict)


class PushSender:
    """Owns what is sent to gateways. `run` must be running; `close` ends it."""

    def __init__(self, store: Store, log: Log, ignored: IgnoredUsers, lines: PushLines, duty: Duty) -> None:
        self._store = store
        self._log = log
        self._ignored = ignored
        self._lines = lines
        self._duty = duty
        self._users: set[str] = set()  # with a pusher, or who had one
        self._users_known = False
        self._matchers: OrderedDict[str, PushMatcher] = OrderedDict()
        self._position = log.position
        self._stored_position: int | None = None  # None until this process was the one that sends
        self._wake = asyncio.Event()
        self._mail: MailPushes | None = None
        log.listen(self._follow, self._forget)

    def write_letters(self, mail: MailPushes) -> None:
        """Tell `mail` what is for e-mail addresses; nobody is told otherwise."""
        self._mail = mail

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if isinstance(entry, AccountDataEntry) and entry.data.type == PUSH_RULES:
                self._matchers.pop(entry.data.user_id, None)
            elif isinstance(entry, PushersEntry):
                self._users.add(entry.user_id)
        self._wake.set()

    def _forget(self) -> None:
        self._matchers.clear()
        self._users_known = False
        self._wake.set()

    async def run(self) -> None:
        """Follow the log, while this process is the one that does, until cancelled."""
        await self._duty.perform(self._serve)

    async def _serve(self) -> None:
        self._lines.clear()
        try:
            await self._until_done(self._begin)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._flush_often())
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._until_done(self._catch_up)
        finally:
            await self._lines.stop()

    async def close(self) -> None:
        """Stop sending, and store how far everybody has come."""
        await self._lines.stop()
        with suppress(StoreUnavailable, NotOurs):
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
        await self._know_users()
        async with self._store.read() as tx:
            cursor = await tx.pushers.cursor()
            first = await tx.pushers.first_position()
            failing = await tx.pushers.failing()
        # The cursor stands still while nobody has a pusher, and every pusher knows where it began.
        told = [position for position in (cursor, first) if position is not None]
        self._position = min(max(told), self._log.position) if told else self._log.position
        self._stored_position = -1 if cursor is None else cursor
        self._lines.position = self._position
        for pusher in failing:
            self._lines.begin_failing(pusher)
        self._wake.set()

    async def _know_users(self) -> None:
        """At the beginning, and where entries were left out: pushers may have been among them."""
        self._users_known = True  # as long as nothing is left out meanwhile
        try:
            async with self._store.read_committed() as tx:
                self._users.update(await tx.pushers.users())
        except StoreUnavailable:
            self._users_known = False
            raise

    # From the log to what is to be told

    async def _catch_up(self) -> None:
        while self._position < (upto := self._log.position):
            if not self._users_known:
                await self._know_users()
            if not self._users:
                self._pass(upto)
                return
            entries = self._log.since(self._position, upto)
            if entries is None and upto - self._position > _MOST_BEHIND:
                _log.warning("pushes_skipped", before=self._position, position=upto)
                await self._take([], everybody=True)
                self._pass(upto)
            elif entries is None:
                page = await self._read_back(min(self._position + _PAGE, upto))
                await self._take_all(page)
                self._pass(min(self._position + _PAGE, upto))
            else:
                for start in range(0, len(entries), _PAGE):
                    page = entries[start : start + _PAGE]
                    await self._take_all(page)
                    self._pass(page[-1].position)

    async def _read_back(self, upto: int) -> Sequence[LogEntry]:
        """What is not in memory any more; of what the database has forgotten, the events."""
        async with self._store.read() as tx:
            entries = await tx.log.between(self._position, upto)
            if entries is not None:
                return entries
            events = await tx.events.after(self._position, _PAGE, upto)
        return [EventEntry(event.position or 0, event) for event in events]

    def _pass(self, position: int) -> None:
        self._position = self._lines.position = position

    async def _take_all(self, entries: Sequence[LogEntry]) -> None:
        """Queue what they mean. A fault in one of them must not keep everybody from being told of later ones."""
        try:
            await self._take(entries)
        except StoreUnavailable:
            raise
        except Exception as error:
            _log.error("pushes_crashed", positions=[entry.position for entry in entries][:1], exc_info=error)

    async def _take(self, entries: Sequence[LogEntry], *, everybody: bool = False) -> None:
        """Queue what these entries mean for pushers; of `everybody` the number."""
        events = [entry.stored for entry in entries if isinstance(entry, EventEntry) and _is_news(entry.stored)]
        readers = {entry.receipt.user_id for entry in entries if isinstance(entry, ReceiptEntry)} & self._users
        readers.update(stored.event.sender for stored in events if stored.event.sender in self._users)
        setters = {entry.user_id for entry in entries if isinstance(entry, PushersEntry)}
        if everybody:
            readers, setters = set(self._users), set(self._users)
        for stored in events:
            if stored.event.redacts is not None:
                self._lines.unsay(stored.event.redacts)
        batch = await self._read(events, readers | setters)
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
        if self._mail is not None:
            for user_id in setters:
                self._mail.were_set(batch.pushers.get(user_id, ()))

    def _tell_readers(self, batch: _Batch, readers: Collection[str], everybody: bool) -> None:
        """They have read or said something; or nobody knows what `everybody` has missed."""
        for user_id in readers:
            for pusher in batch.pushers.get(user_id, ()):
                if pusher.kind != EMAIL:
                    self._lines.tell_badge(pusher)
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
                self._lines.add(pusher, notice)

    async def _flush_often(self) -> None:
        """As soon as anybody was told: what is not stored when the process is killed is told once more."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_KEEP_CURSOR_S):
                    await self._lines.news.wait()
            try:
                await self._flush()
            except (StoreUnavailable, NotOurs):
                self._lines.news.set()  # it is tried again
                await asyncio.sleep(_RETRY_S)
            await asyncio.sleep(_FLUSH_S)

    async def _flush(self) -> None:
        """Store how far pushers have come. Raises StoreUnavailable, NotOurs."""
        if self._stored_position is None:
            return
        lines = self._lines
        position = min([self._position, *(first - 1 for first in lines.unsent())])
        lines.news.clear()
        told, lines.told = lines.told, {}
        if not told and (position == self._stored_position or not self._users):
            return
        try:
            async with self._store.write() as tx:
                await self._duty.require(tx)
                await tx.pushers.advance([(name, *how) for name, how in sorted(told.items())])
                await tx.pushers.set_cursor(position)
        except BaseException:
            lines.told = {**told, **lines.told}
            raise
        self._stored_position = position


def _is_news(stored: StoredEvent) -> bool:
    return stored.order is not None and not (stored.flags and stored.flags & HIDDEN)


def _invited(stored: StoredEvent) -> str | None:
    """Whom the event invites."""
    event = stored.event
    if event.type == "m.room.member" and event.content.get("membership") == "invite":
        return event.state_key
    return None
