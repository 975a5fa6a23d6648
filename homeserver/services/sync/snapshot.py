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
from homeserver.services.rooms.visibility import load_history
from homeserver.services.sync.body import RoomSection, Timeline
from homeserver.services.sync.request import RoomReads, SyncRequest, wants_account_data, without_ignored

_MEMBER = "m.room.member"
NAME_TYPES = {"m.room.name": "name", "m.room.canonical_alias": "alias"}
_LONG_AGO = -(2**62)  # below every timeline order, fetched history included


async def joined_rooms(
    tx: Transaction,
    reads: RoomReads,
    request: SyncRequest,
    rooms: Sequence[Membership],
    high: int,
    account_data: Iterable[AccountDataChanged],
    timelines: dict[int, Timeline] | None = None,
) -> dict[str, RoomSection]:
    """Timeline (the newest events unless given), state, summary and account data of joined rooms as of `high`.

    `account_data` is all that the user has.
    """
    nids = {membership.room_nid: membership.room_id for membership in rooms}
    if timelines is None:
        timelines = await _timelines(tx, reads, request, rooms, high)
    state_filter = request.filter.room.state
    current = await tx.rooms.current_state(
        nids, types=_type_names(state_filter), not_types=(_MEMBER,) if request.lazy else ()
    )
    named = {nid for nid, events in current.items() if any(is_name(stored) for stored in events)}
    summaries = await summarise(tx, nids, request.user_id, named)
    members = await _lazy_members(tx, request, timelines, summaries) if request.lazy else {}
    states: dict[int, dict[StateKey, StoredEvent]] = {
        nid: {stored.event.key: stored for stored in (*current.get(nid, ()), *members.get(nid, ()))} for nid in nids
    }
    if not request.state_field.is_after:
        await _rewind(tx, states, timelines)
    of_rooms = room_account_data(request, account_data)
    sections: dict[str, RoomSection] = {}
    for nid, room_id in nids.items():
        sections[room_id] = RoomSection(
            timeline=timelines[nid],
            state=select(state_filter, states[nid].values()),
            account_data=of_rooms.get(room_id, []),
            summary=summaries[nid],
        )
    return sections


async def left_room(
    tx: Transaction, reads: RoomReads, request: SyncRequest, membership: Membership, events: list[StoredEvent] | None
) -> RoomSection:
    """A room the user has left, as of leaving. `events` are the timeline if known already, else it is read.

    Whoever was never in it (an invite that was taken back, a ban) learns of their own membership and nothing else;
    who was banned after leaving, of the room as they left it and of the ban.
    """
    own = (await tx.events.get_many([membership.event_id])).get(membership.event_id)
    if own is None or own.order is None:
        return RoomSection()
    left = (await load_history(tx, membership.room_nid, request.user_id)).left
    if left is None:
        return RoomSection(_cut(request, [own], own.order), [own] if request.state_field.is_after else [])
    limit = request.timeline_limit
    if events is None:
        page = await tx.events.timeline(
            membership.room_nid, start=left.order, stop=None, backwards=True, limit=limit + 1
        )
        events = list(reversed(page.events))
    seen = [stored for stored in events if stored.order is not None and stored.order <= left.order]
    visible = (await reads.visible(tx, request.user_id, {membership.room_nid: seen}))[membership.room_nid]
    later = [own] if own.order > left.order else []
    timeline = _cut(request, [*visible, *later], own.order)
    state_ids = await tx.rooms.state_at(left.snapshot)
    # Of a room's many members a leaver needs none but themselves.
    keys = [key for key in state_ids if key[0] != _MEMBER or key[1] == request.user_id or not request.lazy]
    found = await tx.events.get_many([state_ids[key] for key in keys])
    state = {key: found[state_ids[key]] for key in keys if state_ids[key] in found}
    state.update((stored.event.key, stored) for stored in later)
    if not request.state_field.is_after:
        await _rewind(tx, {membership.room_nid: state}, {membership.room_nid: timeline})
    wanted = request.filter.room.state
    return RoomSection(timeline, select(wanted, state.values()))


def is_name(stored: StoredEvent) -> bool:
    """Whether the state event gives its room a name, so that clients need no heroes.

    spec: client-server-api#calculating-the-display-name-for-a-room
    """
    event = stored.event
    member = NAME_TYPES.get(event.type) if event.state_key == "" else None
    return member is not None and bool(event.content.get(member))


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
    tx: Transaction, reads: RoomReads, request: SyncRequest, rooms: Sequence[Membership], high: int
) -> dict[int, Timeline]:
    limit = request.timeline_limit
    # A filter that leaves out types would leave the page short: look back further, within bounds.
    depth = limit if request.filter.room.timeline.is_open else min(limit * 10, 500)
    recent = await tx.events.recent({room.room_nid: (_LONG_AGO, order_of(high)) for room in rooms}, depth + 1)
    # What came after the user's own join is theirs to see; only older events need the room's visibility.
    older: dict[int, list[StoredEvent]] = {}
    for room in rooms:
        events = recent.get(room.room_nid)
        joined = order_of(room.position)
        if events and (events[0].order or 0) < joined:
            count = bisect_left(events, joined, key=lambda stored: stored.order or 0)
            older[room.room_nid], recent[room.room_nid] = events[:count], events[count:]
    if older:
        for nid, visible in (await reads.visible(tx, request.user_id, older)).items():
            recent[nid] = visible + recent[nid]
    return {room.room_nid: _cut(request, recent.get(room.room_nid, []), order_of(high)) for room in rooms}


def _cut(request: SyncRequest, events: Sequence[StoredEvent], high: int) -> Timeline:
    """The newest wanted events, up to the limit."""
    wanted = request.filter.room.timeline
    kept = select(wanted, without_ignored(events, request.ignored))
    limit = request.timeline_limit
    cut = kept[-limit:] if limit else []
    return Timeline(cut, limited=len(kept) > len(cut), before=high)


async def _lazy_members(
    tx: Transaction,
    request: SyncRequest,
    timelines: Mapping[int, Timeline],
    summaries: Mapping[int, Mapping[str, Any]],
) -> dict[int, list[StoredEvent]]:
    """Members a client needs to show the timelines and, by their heroes, rooms without a name."""
    needed = {
        nid: {stored.event.sender for stored in timeline.events} | {request.user_id, *summaries[nid]["m.heroes"]}
        for nid, timeline in timelines.items()
    }
    return await tx.rooms.member_events(needed)


def _type_names(state_filter: RoomEventFilter) -> list[str] | None:
    """Types to read from the store; None reads all and leaves the choice to the filter."""
    types = state_filter.events.types
    return None if types is None or types.patterns else sorted(types.names)


async def _rewind(
    tx: Transaction, states: Mapping[int, dict[StateKey, StoredEvent]], timelines: Mapping[int, Timeline]
) -> None:
    """Take back, in place, what the timelines' own state events changed: state goes out as of the timeline's start."""
    before: dict[tuple[int, StateKey], str | None] = {}
    for nid, timeline in timelines.items():
        state = states[nid]
        for stored in timeline.events:
            event = stored.event
            # A key nobody loaded (a filtered type, a lazy member) needs no rewinding either.
            if event.state_key is not None and (event.type, event.state_key) in state:
                before.setdefault((nid, event.key), (stored.unsigned or {}).get("replaces_state"))
    found = await tx.events.get_many({event_id for event_id in before.values() if event_id is not None})
    for (nid, key), event_id in before.items():
        earlier = found.get(event_id) if event_id is not None else None
        if earlier is None:
            del states[nid][key]
        else:
            states[nid][key] = earlier
