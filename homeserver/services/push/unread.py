"""Unread counts per user, room and thread: recounted from the store when somebody asks, moved on in memory after that.

What is remembered is only a memory: it follows the log, and whatever it cannot follow exactly (a receipt, a redaction)
is forgotten and counted again. A count taken in a sync is that of the moment it is answered. For users with rules of
their own what happens is noted, and their rules are asked about it when somebody asks for the count.
spec: client-server-api#receiving-notifications; see docs/subsystems/push.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.core.auth.power import PowerLevels
from homeserver.core.pushbits import HIGHLIGHTS, NOTIFIES, mentioned_users
from homeserver.core.pushmatch import PushMatcher, RoomFacts
from homeserver.core.pushrules import default_rules
from homeserver.core.relations import relation_of
from homeserver.ports.events import HIDDEN, StoredEvent
from homeserver.ports.log import AccountDataEntry, EventEntry, LogEntry, ReceiptEntry, StateEntry
from homeserver.ports.store import Store, Transaction
from homeserver.ports.unread import MAIN, NOTHING, Unread
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IGNORED_USER_LIST, IgnoredUsers
from homeserver.services.personal.pushrules import PUSH_RULES, push_rules
from homeserver.services.rooms.render import client_json
from homeserver.services.rooms.visibility import joined_all_along

MOVES_COUNTS = frozenset({PUSH_RULES, IGNORED_USER_LIST})
"""Global account data that make unread counts other numbers."""

_MAX_WITH_RULES = 1_000
"""Newest events of a room that are looked at for a user with rules of their own."""
_MOST_WAITING = 100
_FACTS = frozenset({"m.room.member", "m.room.power_levels", "m.room.create"})
"""State that rules ask about."""


@dataclass(frozen=True, slots=True)
class RoomUnread:
    """The counts of a room by thread; MAIN is what is in none."""

    threads: Mapping[str, Unread] = field(default_factory=dict)

    @property
    def total(self) -> Unread:
        """Of the room with all its threads."""
        counts = self.threads.values()
        return Unread(sum(one.notify for one in counts), sum(one.highlight for one in counts))

    @property
    def main(self) -> Unread:
        """Of what is in no thread."""
        return self.threads.get(MAIN, NOTHING)


EMPTY = RoomUnread()


class UnreadCounts:
    """Counts of the users who sync. Bounded: those asked for longest ago are forgotten."""

    def __init__(
        self, store: Store, log: Log, ignored: IgnoredUsers, *, most: int = 10_000, max_known: int = 200_000
    ) -> None:
        """`most` newest events of a room are looked at when it is counted anew."""
        self._store = store
        self._log = log
        self._ignored = ignored
        self.most = most
        self._max_known = max_known
        self._known: OrderedDict[tuple[str, str], RoomUnread] = OrderedDict()  # (user, room)
        self._own: dict[tuple[str, str], _OwnRules] = {}  # of those of them whose owners have rules of their own
        self._users: dict[str, set[str]] = {}  # room → users of whom there is a count
        self._rooms: dict[str, set[str]] = {}  # user → rooms
        self._matchers: OrderedDict[str, PushMatcher | None] = OrderedDict()  # None: the default rules
        self._rules_changed = 0
        self._changes: dict[str, int] = {}  # room or user → number of what has happened while somebody counts
        self._counting = 0
        log.listen(self._follow, self._forget_all)

    def peek(self, user_id: str, room_id: str) -> RoomUnread | None:
        """The count, if it is in memory."""
        known = self._known.get((user_id, room_id))
        own = self._own.get((user_id, room_id))
        if known is not None and own is not None and own.waiting:
            known = self._known[user_id, room_id] = own.move_on(known)
        return known

    async def of(self, user_id: str, rooms: Mapping[str, int]) -> dict[str, RoomUnread]:
        """The counts of rooms (room id → internal id) as of now; one statement for all that are not in memory."""
        found: dict[str, RoomUnread] = {}
        missing: dict[str, int] = {}
        for room_id, room_nid in rooms.items():
            known = self.peek(user_id, room_id)
            if known is None:
                missing[room_id] = room_nid
            else:
                found[room_id] = known
        if missing:
            found.update(await self._count(user_id, missing))
        return found

    async def _count(self, user_id: str, rooms: Mapping[str, int]) -> dict[str, RoomUnread]:
        self._counting += 1
        before = {key: self._changes.get(key, 0) for key in (user_id, *rooms)}
        try:
            ignored = await self._ignored.of(user_id)
            facts: dict[int, _RoomFacts] = {}
            async with self._store.read() as tx:
                matcher = await self.matcher(tx, user_id)
                if matcher is None:
                    counted, position = await tx.unread.counts(user_id, rooms.values(), ignored, self.most)
                else:
                    counted, facts = await self._by_rules(tx, user_id, matcher, rooms, ignored)
                    position = await tx.log.position()
            # What is committed, and the log does not know of yet, would be counted once more when it does.
            is_ahead = position > self._log.position
            found = {room_id: _room_unread(counted[room_nid]) for room_id, room_nid in rooms.items()}
            for room_id, counts in found.items():
                # What has happened meanwhile may be in it or not: then it is good for this answer only.
                if not is_ahead and all(self._changes.get(key, 0) == before[key] for key in (user_id, room_id)):
                    self._keep(user_id, room_id, counts)
                    if matcher is not None and (asked := facts.get(rooms[room_id])) is not None:
                        self._own[user_id, room_id] = _OwnRules(user_id, matcher, ignored, asked)
        finally:
            self._counting -= 1
            if not self._counting:
                self._changes.clear()
        return found

    async def matcher(self, tx: Transaction, user_id: str) -> PushMatcher | None:
        """The user's compiled rules; None if they mean the same as the default ones."""
        if user_id in self._matchers:
            self._matchers.move_to_end(user_id)
            return self._matchers[user_id]
        changed = self._rules_changed
        rules = push_rules(user_id, await tx.account_data.get(user_id, None, PUSH_RULES))
        matcher = None if rules == default_rules(user_id) else PushMatcher(user_id, rules)
        if changed == self._rules_changed:  # else they may be older than the ones that have just been forgotten
            self._matchers[user_id] = matcher
            if len(self._matchers) > self._max_known:
                self._matchers.popitem(last=False)
        return matcher

    async def _by_rules(
        self, tx: Transaction, user_id: str, matcher: PushMatcher, rooms: Mapping[str, int], ignored: Collection[str]
    ) -> tuple[dict[int, dict[str, Unread]], dict[int, _RoomFacts]]:
        """Ask a user's own rules about every unread event; also what they asked about rooms that have any."""
        unread = await tx.unread.events(user_id, rooms.values(), ignored, min(self.most, _MAX_WITH_RULES))
        threads = {event.nid: event.thread for events in unread.values() for event in events}
        facts = await _facts(tx, user_id, [nid for nid, events in unread.items() if events])
        counts: dict[int, dict[str, Unread]] = {room_nid: {} for room_nid in rooms.values()}
        # Only counts leave this place, of what came while the user was in the room.
        for stored in joined_all_along(await tx.events.by_nids(list(threads))):
            room = facts[stored.room_nid]
            outcome = matcher.match(orjson.loads(client_json(stored)), room.at(stored.event.sender))
            if outcome.notify:
                _add(counts[stored.room_nid], threads[stored.nid], outcome.highlight)
        return counts, facts

    def _keep(self, user_id: str, room_id: str, counts: RoomUnread) -> None:
        self._known[user_id, room_id] = counts
        self._known.move_to_end((user_id, room_id))
        self._users.setdefault(room_id, set()).add(user_id)
        self._rooms.setdefault(user_id, set()).add(room_id)
        while len(self._known) > self._max_known:
            self._forget(*next(iter(self._known)))

    # Following the log

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if isinstance(entry, EventEntry):
                self._note(entry.room_id)
                if users := self._users.get(entry.room_id):
                    self._happened(entry.stored, users)
            elif isinstance(entry, StateEntry):
                self._note(entry.room_id)
                for user_id in (*entry.subjects, *self._with_own_rules(entry.room_id)):
                    self._forget(user_id, entry.room_id)
            elif isinstance(entry, ReceiptEntry):
                self._note(entry.receipt.user_id)
                self._forget(entry.receipt.user_id, entry.receipt.room_id)
            elif isinstance(entry, AccountDataEntry) and entry.data.type in MOVES_COUNTS:
                self._note(entry.data.user_id)
                self._rules_changed += 1
                self._matchers.pop(entry.data.user_id, None)
                for room_id in tuple(self._rooms.get(entry.data.user_id, ())):
                    self._forget(entry.data.user_id, room_id)

    def _note(self, key: str) -> None:
        if self._counting:
            self._changes[key] = self._changes.get(key, 0) + 1

    def _happened(self, stored: StoredEvent, users: set[str]) -> None:
        """Move the counts of a room on by one event."""
        event = stored.event
        if event.redacts is not None:
            for user_id in tuple(users):
                self._forget(user_id, event.room_id)
            return
        if stored.order is None or stored.redacted_by is not None or (stored.flags and stored.flags & HIDDEN):
            return
        if event.type == "m.room.member" and event.state_key in users:
            self._forget(event.state_key, event.room_id)
        mentioned = mentioned_users(event) if b'"m.mentions"' in event.canonical else ()
        thread = _thread_of(event.content) if not event.is_state and b'"m.thread"' in event.canonical else MAIN
        apart = self._told_apart(stored, thread, users)
        notifies = bool(stored.push & NOTIFIES)
        changed = users if notifies else [*mentioned, event.sender]
        # Most people of a room have the same count, and go on to have the same: one object, so that what is made of it
        # is made once (`sync.holes`). Each stays referenced here while its id stands for it.
        moved: dict[tuple[int, bool], tuple[RoomUnread, RoomUnread]] = {}
        for user_id in tuple(changed):
            known = self._known.get((user_id, event.room_id))
            if known is None or user_id in apart:
                continue
            if user_id == event.sender:
                if not event.is_state:
                    self._known[user_id, event.room_id] = _without(known, thread)
                continue
            highlight = user_id in mentioned or bool(stored.push & HIGHLIGHTS)
            step = moved.get((id(known), highlight))
            if step is None:
                threads = dict(known.threads)
                _add(threads, thread, highlight)
                step = moved[id(known), highlight] = known, RoomUnread(threads)
            self._known[user_id, event.room_id] = step[1]

    def _told_apart(self, stored: StoredEvent, thread: str, users: Collection[str]) -> set[str]:
        """Those to whom the event's bits do not say what it is worth: noted, passed over, or else forgotten."""
        event, apart = stored.event, set()
        for user_id in [user_id for user_id in users if not self._counts_alike(user_id)]:
            own = self._own.get((user_id, event.room_id))
            if own is None and self._matchers.get(user_id) is None:
                if event.sender in self._ignored.peek(user_id):
                    apart.add(user_id)
            elif own is not None and own.note(stored, thread):
                apart.add(user_id)
            else:
                self._forget(user_id, event.room_id)
        return apart

    def _with_own_rules(self, room_id: str) -> list[str]:
        return [user_id for user_id in self._users.get(room_id, ()) if (user_id, room_id) in self._own]

    def _counts_alike(self, user_id: str) -> bool:
        """Whether the event's bits say what it is worth to the user."""
        return self._matchers.get(user_id) is None and not self._ignored.peek(user_id)

    def _forget(self, user_id: str, room_id: str) -> None:
        self._own.pop((user_id, room_id), None)
        if self._known.pop((user_id, room_id), None) is None:
            return
        for index, key, value in ((self._users, room_id, user_id), (self._rooms, user_id, room_id)):
            index[key].discard(value)
            if not index[key]:
                del index[key]

    def _forget_all(self) -> None:
        for key in (*self._users, *self._rooms):
            self._note(key)
        self._known.clear()
        self._own.clear()
        self._users.clear()
        self._rooms.clear()
        self._rules_changed += 1
        self._matchers.clear()


@dataclass(slots=True, eq=False)
class _OwnRules:
    """What moves the count of a user with rules of their own on: the rules, and the room as it was when they counted.

    As long as nothing of what rules ask about the room has changed, a recount would say the same of each event.
    """

    user_id: str
    matcher: PushMatcher
    ignored: Collection[str]
    facts: _RoomFacts
    waiting: list[tuple[StoredEvent, str]] = field(default_factory=list)  # each with its thread

    def note(self, stored: StoredEvent, thread: str) -> bool:
        """The event happened. False if it is easier to count anew."""
        if (stored.event.is_state and stored.event.type in _FACTS) or len(self.waiting) >= _MOST_WAITING:
            return False
        if stored.event.sender not in self.ignored:
            self.waiting.append((stored, thread))
        return True

    def move_on(self, known: RoomUnread) -> RoomUnread:
        """The count with what has happened since it was taken."""
        for stored, thread in self.waiting:
            event = stored.event
            if event.sender == self.user_id:
                known = known if event.is_state else _without(known, thread)
                continue
            parsed = orjson.loads(client_json(joined_all_along([stored])[0]))
            outcome = self.matcher.match(parsed, self.facts.at(event.sender))
            if outcome.notify:
                threads = dict(known.threads)
                _add(threads, thread, outcome.highlight)
                known = RoomUnread(threads)
        self.waiting.clear()
        return known


@dataclass(frozen=True, slots=True)
class _RoomFacts:
    """What rules ask about a room, for one of its members."""

    member_count: int
    levels: PowerLevels
    notifications: Mapping[str, Any]
    display_name: str | None

    def at(self, sender: str) -> RoomFacts:
        """The facts for an event of this sender."""
        return RoomFacts(self.member_count, self.levels.user(sender), self.notifications, self.display_name)


async def _facts(tx: Transaction, user_id: str, room_nids: Collection[int]) -> dict[int, _RoomFacts]:
    """The rooms as they are now: rules are asked about what is unread, not about what was."""
    counts = await tx.rooms.member_counts(room_nids)
    members = await tx.rooms.member_events({room_nid: [user_id] for room_nid in room_nids})
    state = await tx.rooms.current_state(room_nids, types=("m.room.create", "m.room.power_levels"))
    found: dict[int, _RoomFacts] = {}
    for room_nid in room_nids:
        events = {stored.event.key: stored.event for stored in state[room_nid]}
        levels = PowerLevels.of(_State(events), events["m.room.create", ""].version)
        power = events.get(("m.room.power_levels", ""))
        notifications = power.content.get("notifications") if power is not None else None
        name = members[room_nid][0].event.content.get("displayname") if members[room_nid] else None
        found[room_nid] = _RoomFacts(
            counts[room_nid].get("join", 0),
            levels,
            notifications if isinstance(notifications, dict) else {},
            name if isinstance(name, str) else None,
        )
    return found


class _State:
    """A few state events, as the rules of authorisation look at them."""

    def __init__(self, events: Mapping[tuple[str, str], Any]) -> None:
        self._events = events

    def get(self, event_type: str, state_key: str, /) -> Any:
        return self._events.get((event_type, state_key))


def _room_unread(threads: Mapping[str, Unread]) -> RoomUnread:
    return RoomUnread(threads) if threads else EMPTY


def _without(known: RoomUnread, thread: str) -> RoomUnread:
    if thread not in known.threads:
        return known
    return _room_unread({name: counts for name, counts in known.threads.items() if name != thread})


def _add(threads: dict[str, Unread], thread: str, highlight: bool) -> None:
    counts = threads.get(thread, NOTHING)
    threads[thread] = Unread(counts.notify + 1, counts.highlight + highlight)


def _thread_of(content: Mapping[str, Any]) -> str:
    relation = relation_of(content)
    return relation.event_id if relation is not None and relation.rel_type == "m.thread" else MAIN
