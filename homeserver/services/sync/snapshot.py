"""Whole rooms: for initial syncs, for rooms just joined, and for `full_state`.

The number of statements does not depend on the number of rooms: each step reads all rooms at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

from homeserver.core.event import StateKey
from homeserver.core.filters import RoomEventFilter
from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.events import Membership, StoredEvent, order_of
from homeserver.ports.store import Transaction
from homeserver.services.rooms.filtered import select
from homeserver.services.rooms.visibility import History, Visible, joined_all_along
from homeserver.services.sync.body import RoomSection, Timeline
from homeserver.services.sync.newest import newest
from homeserver.services.sync.request import SyncRequest, wants_account_data, without_ignored

_MEMBER = "m.room.member"
NAME_TYPES = {"m.room.name": "name", "m.room.canonical_alias": "alias"}
_LONG_AGO = -(2**62)  # below every timeline order, fetched history included


async def joined_rooms(
    tx: Transaction,
    histories: Mapping[int, History],
    request: SyncRequest,
    rooms: Sequence[Membership],
    high: int,
    account_data: Iterable[AccountDataChanged],
    timelines: Mapping[int, Timeline] | None = None,
) -> dict[str, RoomSection]:
    """Timeline (the newest events unless given), state, summary and account data of joined rooms as of `high`.

    `histories` are the user's in these rooms, `account_data` is all that they have.
    """
    nids = {membership.room_nid: membership.room_id for membership in rooms}
    timelines = dict(timelines or {})
    if missing := [membership for membership in rooms if membership.room_nid not in timelines]:
        timelines.update(await _timelines(tx, histories, request, missing, high))
    states = {
        nid: {stored.event.key: stored for stored in events}
        for nid, events in (await _current_state(tx, request, nids)).items()
    }
    summaries = await summarise(tx, nids, request.user_id, {nid for nid, state in states.items() if _is_named(state)})
    for nid, members in (await _members(tx, request, nids, timelines, summaries)).items():
        states[nid].update((stored.event.key, stored) for stored in members)
    for nid, timeline in timelines.items():
        if _has_moved_on(timeline, states[nid]):
            begin_after_gaps(timeline, {**_gone(timeline, states[nid], request, nids[nid]), **states[nid]})
    if not request.state_field.is_after:
        await _rewind(tx, states, timelines)
    of_rooms = room_account_data(request, account_data)
    sections: dict[str, RoomSection] = {}
    for nid, room_id in nids.items():
        sections[room_id] = RoomSection(
            timeline=timelines[nid],
            state=request.wanted_state(room_id, histories[nid].known(states[nid].values())),
            account_data=of_rooms.get(room_id, []),
            summary=summaries[nid],
        )
    return sections


async def left_room(
    tx: Transaction, history: History, request: SyncRequest, membership: Membership, events: list[StoredEvent] | None
) -> RoomSection:
    """A room the user has left, as of leaving. `events` are the timeline if known already, else it is read.

    Whoever was never in it (an invite that was taken back, a ban) learns of their own membership and nothing else;
    who was banned after leaving, of the room as they left it and of the ban.
    """
    own = (await tx.events.get_many([membership.event_id])).get(membership.event_id)
    if own is None or own.order is None:
        return RoomSection()
    left, mine = history.left, history.known([own])
    if left is None:
        timeline = _cut(request, membership.room_id, mine, own.order)
        return RoomSection(timeline, mine if request.state_field.is_after else [])
    limit = request.timeline_limit_of(membership.room_id)
    if events is None:
        page = await tx.events.timeline(
            membership.room_nid, start=left.order, stop=None, backwards=True, limit=limit + 1
        )
        events = list(reversed(page.events))
    seen = [stored for stored in events if stored.order is not None and stored.order <= left.order]
    visible, hidden = _since_hidden(history.shown(seen), seen)
    later = mine if own.order > left.order else []
    timeline = _cut(request, membership.room_id, [*visible, *later], own.order, more=hidden)
    state_ids = await tx.rooms.state_at(left.snapshot)
    # Of a room's many members a leaver needs none but themselves.
    is_lazy = request.is_lazy_in(membership.room_id)
    keys = [key for key in state_ids if key[0] != _MEMBER or key[1] == request.user_id or not is_lazy]
    found = await tx.events.get_many([state_ids[key] for key in keys])
    state = {key: found[state_ids[key]] for key in keys if state_ids[key] in found}
    state.update((stored.event.key, stored) for stored in later)
    begin_after_gaps(timeline, state)
    if not request.state_field.is_after:
        await _rewind(tx, {membership.room_nid: state}, {membership.room_nid: timeline})
    return RoomSection(timeline, request.wanted_state(membership.room_id, history.known(state.values())))


def is_name(stored: StoredEvent) -> bool:
    """Whether the state event gives its room a name, so that clients need no heroes.

    spec: client-server-api#calculating-the-display-name-for-a-room
    """
    event = stored.event
    member = NAME_TYPES.get(event.type) if event.state_key == "" else None
    return member is not None and bool(event.content.get(member))


def _is_named(state: Mapping[StateKey, StoredEvent]) -> bool:
    return any((stored := state.get((kind, ""))) is not None and is_name(stored) for kind in NAME_TYPES)


async def summarise(
    tx: Transaction, room_nids: Collection[int], user_id: str, named: Container[int]
) -> dict[int, dict[str, Any]]:
    """Member counts of many rooms, and heroes of those without a name.

    spec: client-server-api#get_matrixclientv3sync
    """
    counts = await tx.rooms.member_counts(room_nids)
    nameless = [nid for nid in room_nids if nid not in named]
    heroes = await tx.rooms.heroes(nameless, user_id) if nameless else {}
    return {
        nid: {
            "m.heroes": heroes.get(nid, []),
            "m.joined_member_count": counts.get(nid, {}).get("join", 0),
            "m.invited_member_count": counts.get(nid, {}).get("invite", 0),
        }
        for nid in room_nids
    }


def room_account_data(request: SyncRequest, items: Iterable[AccountDataChanged]) -> dict[str, list[AccountDataChanged]]:
    """The per-room account data the filter wants, by room."""
    wanted = request.filter.room.account_data
    by_room: dict[str, list[AccountDataChanged]] = {}
    for item in items:
        if item.room_id is not None and wants_account_data(wanted, item):
            by_room.setdefault(item.room_id, []).append(item)
    return by_room


async def _timelines(
    tx: Transaction, histories: Mapping[int, History], request: SyncRequest, rooms: Sequence[Membership], high: int
) -> dict[int, Timeline]:
    """The newest wanted events of each room up to `high`, among as many as may be looked at."""
    ids = {room.room_nid: room.room_id for room in rooms}
    recent = await newest(tx, request, dict.fromkeys(ids, (_LONG_AGO, order_of(high))), ids)
    # What came after the user's own join is theirs to see; only older events need the room's visibility.
    older: dict[int, list[StoredEvent]] = {}
    later: dict[int, list[Visible]] = {}
    for room in rooms:
        events, _ = recent[room.room_nid]
        count = bisect_left(events, order_of(room.position), key=lambda stored: stored.order or 0)
        later[room.room_nid] = histories[room.room_nid].without_apart(joined_all_along(events[count:]))
        if count:
            older[room.room_nid] = events[:count]
    timelines: dict[int, Timeline] = {}
    for room_nid, (events, more) in recent.items():
        shown, hidden = _since_hidden(histories[room_nid].shown(older.get(room_nid, ())), older.get(room_nid, ()))
        room_id = ids[room_nid]
        timeline = _cut(request, room_id, [*shown, *later[room_nid]], order_of(high), more=more or hidden)
        is_full = len(timeline.events) >= request.timeline_limit_of(room_id)
        if more and not hidden and not request.wants_all and not is_full:
            timeline.read_from = events[0].order
        timelines[room_nid] = timeline
    return timelines


def _since_hidden(shown: list[Visible], events: Sequence[StoredEvent]) -> tuple[list[Visible], bool]:
    """What is shown behind the last of the `events` that is not, and whether there is such a one.

    A timeline has no holes: a client would keep the state from before the hole, though it has changed in it.
    """
    seen = {stored.nid for stored in shown}
    hidden = max((stored.order or 0 for stored in events if stored.nid not in seen), default=None)
    if hidden is None:
        return shown, False
    return [stored for stored in shown if (stored.order or 0) > hidden], True


def _has_moved_on(timeline: Timeline, state: Mapping[StateKey, StoredEvent]) -> bool:
    """Whether the timeline has state that is not the one behind it: rarely, and no look at what follows where not."""
    for stored in timeline.events:
        if stored.event.state_key is not None and state.get(stored.event.key) is not stored:
            return True
    return False


def begin_after_gaps(timeline: Timeline, newest: Mapping[StateKey, StoredEvent | None]) -> None:
    """Let the timeline begin behind each state event that was replaced by one which the timeline leaves out.

    `newest` is the state behind it, where known; None: the room has none at the key any more.

    Clients play the timeline upon the state, so they would end with what has been replaced.
    """
    last: dict[StateKey, int] = {}
    for index, stored in enumerate(timeline.events):
        if stored.event.is_state:
            last[stored.event.key] = index
    first = 0
    for key, index in last.items():
        current = newest.get(key)
        if current is None:
            first = max(first, index + 1) if key in newest else first
        elif current is not timeline.events[index]:
            if current.event.event_id != timeline.events[index].event.event_id:
                first = max(first, index + 1)
    if first:
        timeline.before = timeline.events[first - 1].order or 0
        timeline.events = timeline.events[first:]
        timeline.read_from, timeline.limited = None, True


def _cut(request: SyncRequest, room_id: str, events: Sequence[Visible], high: int, *, more: bool = False) -> Timeline:
    """The newest wanted events, up to the limit; `more` if there are others before `events`."""
    wanted = request.filter.room.timeline
    kept = select(wanted, without_ignored(events, request.ignored))
    limit = request.timeline_limit_of(room_id)
    cut = kept[-limit:] if limit else []
    return Timeline(cut, limited=more or len(kept) > len(cut), before=high)


async def _current_state(
    tx: Transaction, request: SyncRequest, rooms: Mapping[int, str]
) -> dict[int, list[StoredEvent]]:
    """Current state of rooms by row id, as far as it may be wanted; members only where all are."""
    if not request.wishes:
        types = _type_names(request.filter.room.state)
        return await tx.rooms.current_state(rooms, types=types, not_types=(_MEMBER,) if request.lazy else ())
    alike: dict[tuple[tuple[str, ...] | None, bool], list[int]] = {}
    for nid, room_id in rooms.items():
        alike.setdefault(_wanted_types(request, room_id), []).append(nid)
    found: dict[int, list[StoredEvent]] = {}
    for (names, with_members), nids in alike.items():
        found |= await tx.rooms.current_state(nids, types=names, not_types=() if with_members else (_MEMBER,))
    return found


def _wanted_types(request: SyncRequest, room_id: str) -> tuple[tuple[str, ...] | None, bool]:
    """Types of state to read of a room (None: all), and whether all members are among them."""
    required = request.required_of(room_id)
    if required is None:
        types = _type_names(request.filter.room.state)
        return None if types is None else tuple(types), not request.lazy
    with_members = required.members is None
    if required.types is None:
        return None, with_members
    # Names decide whether the summary needs heroes.
    return tuple(sorted({*required.types, *NAME_TYPES, *((_MEMBER,) if with_members else ())})), with_members


async def _members(
    tx: Transaction,
    request: SyncRequest,
    rooms: Mapping[int, str],
    timelines: Mapping[int, Timeline],
    summaries: Mapping[int, Mapping[str, Any]],
) -> dict[int, list[StoredEvent]]:
    """Members that are wanted one by one, where not all are read.

    Lazily those that a client needs to show the timelines and, by their heroes, rooms without a name.
    """
    needed: dict[int, set[str]] = {}
    if not (request.lazy or request.wishes):
        return {}
    for nid, room_id in rooms.items():
        required = request.required_of(room_id)
        users = set() if required is None else set(required.members or ())
        if request.is_lazy_in(room_id):
            users.update(stored.event.sender for stored in timelines[nid].events)
            users.update((request.user_id, *summaries[nid]["m.heroes"]))
        if users:
            needed[nid] = users
    return await tx.rooms.member_events(needed) if needed else {}


def _type_names(state_filter: RoomEventFilter) -> list[str] | None:
    """Types to read from the store; None reads all and leaves the choice to the filter."""
    types = state_filter.events.types
    return None if types is None or types.patterns else sorted(types.names)


def _gone(
    timeline: Timeline, state: Mapping[StateKey, StoredEvent], request: SyncRequest, room_id: str
) -> dict[StateKey, StoredEvent | None]:
    """What the timeline sets and the room has no more, because state resolution took it out."""
    types, with_members = _wanted_types(request, room_id)
    return {
        stored.event.key: None
        for stored in timeline.events
        if stored.event.is_state
        and stored.event.key not in state
        and (types is None or stored.event.type in types)
        and (with_members or stored.event.type != _MEMBER)
    }


async def _rewind(
    tx: Transaction, states: Mapping[int, dict[StateKey, StoredEvent]], timelines: Mapping[int, Timeline]
) -> None:
    """Take back, in place, what the timelines' own state events changed: state goes out as of the timeline's start."""
    before: dict[tuple[int, StateKey], str] = {}
    for nid, timeline in timelines.items():
        state = states[nid]
        for stored in timeline.events:
            # A key nobody loaded (a filtered type, a lazy member) needs no rewinding either.
            if stored.event.state_key is None or (key := stored.event.key) not in state or (nid, key) in before:
                continue
            if stored.replaces is None:
                del state[key]
            else:
                before[nid, key] = stored.replaces.event_id
    found = await tx.events.get_many(set(before.values()))
    for (nid, key), event_id in before.items():
        earlier = found.get(event_id)
        if earlier is None:
            del states[nid][key]
        else:
            states[nid][key] = earlier
