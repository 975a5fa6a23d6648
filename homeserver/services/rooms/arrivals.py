"""Decides events that were made earlier or elsewhere: they bring their own place in the graph.

An arrival stands on the state after the events that it names as previous. That state is the head's own, the snapshot
of one event, or the resolution of several. The rules on its auth events and on the state before it reject an event;
the rules on the room's current state only hide it (soft-failed). Whoever hands arrivals in has checked format, hashes
and signatures, and has brought the auth events here first. Runs under the room's queue; only the store is waited for.
spec: server-server-api#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from homeserver.core.auth.rules import check, may_redact
from homeserver.core.auth.select import auth_types_of
from homeserver.core.auth.state import CREATE, POWER_LEVELS, MappingState
from homeserver.core.content import MAX_PREV_EVENTS
from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.event import Event, StateKey, membership_value
from homeserver.core.visibility import HISTORY_VISIBILITY, visibility_value
from homeserver.ports.events import HIDDEN, EventFlags, Extremity, NewEvent, Replaced, RoomAppend, RoomHead, StoredEvent
from homeserver.ports.state import RoomState
from homeserver.services.rooms.decide import push_of
from homeserver.services.rooms.memory import RoomMemory
from homeserver.services.rooms.resolution import Resolutions

MAX_EXTREMITIES = 100
"""More ends than this only somebody makes who means to; an event of ours names MAX_PREV_EVENTS of them."""
_MAX_HIDDEN_WALK = 100


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event that exists, to be given its place in a room.

    `outlier` only stores it, for the auth chains and states of others. `told` is the state before it by the word of
    its sender, for an event of whose previous events some are not here: it is resolved with what is known.
    `refused` says that a policy server does not want it. `flags` are those of its receiver's choice (`RELAY`).
    """

    event: Event
    outlier: bool = False
    told: Mapping[StateKey, str] | None = None
    refused: bool = False
    flags: EventFlags = EventFlags.NONE


class ArrivalOutcome(Enum):
    """What became of an arrival."""

    ACCEPTED = "accepted"
    OUTLIER = "outlier"
    SOFT_FAILED = "soft-failed"
    REJECTED = "rejected"

    @classmethod
    def of(cls, flags: EventFlags) -> ArrivalOutcome:
        """The outcome that the flags of a stored event stand for."""
        for flag, outcome in _OUTCOMES.items():
            if flags & flag:
                return outcome
        return cls.ACCEPTED


_OUTCOMES = {
    EventFlags.REJECTED: ArrivalOutcome.REJECTED,
    EventFlags.SOFT_FAILED: ArrivalOutcome.SOFT_FAILED,
    EventFlags.OUTLIER: ArrivalOutcome.OUTLIER,
}


@dataclass(slots=True)
class _Prev:
    """A previous event: the room's state after it, and what it names itself."""

    state: RoomState
    is_hidden: bool
    names: tuple[str, ...]


class ArrivingRoom:
    """A room head that grows as arrivals are decided, in the order in which they are given."""

    def __init__(self, memory: RoomMemory, resolutions: Resolutions, head: RoomHead, server_name: str) -> None:
        """`server_name` is ours: nobody but our users reads here."""
        self._ours = f":{server_name}"
        self._memory = memory
        self._resolutions = resolutions
        self._head = head
        self._state = head.state
        self._extremities = head.extremities
        self._events: list[NewEvent] = []
        self._new: dict[str, NewEvent] = {}
        self._stored: dict[str, StoredEvent] = {}
        self._roots: dict[int, RoomState] = {head.snapshot.nid: head.state}

    async def narrowed(self) -> RoomHead:
        """The head for an event of ours that can name no more of the room's ends: the deepest, and their state.

        The others stay ends until the next events name them.  spec: server-server-api#pdus
        """
        deepest = sorted(self._extremities, key=lambda extremity: (-extremity.depth, extremity.event_id))
        named = tuple(deepest[:MAX_PREV_EVENTS])
        return replace(self._head, extremities=named, state=await self._resolve(await self._states_after(named)))

    async def take(self, arrival: Arrival) -> ArrivalOutcome:
        """Decide one arrival. One that is here already changes nothing and gives its first outcome again.

        Raises MatrixError, which leaves the room unchanged: INVALID_PARAM if it is not of this room or names no
        previous event, NOT_FOUND if an auth event or, without `told`, a previous event is not here.
        """
        event = arrival.event
        if (new := self._new.get(event.event_id)) is not None:
            return ArrivalOutcome.of(new.flags)
        known = (await self._fetch([event.event_id])).get(event.event_id)
        if event.room_id != self._head.room_id or (known is not None and known.room_nid != self._head.room_nid):
            raise MatrixError(ErrCode.INVALID_PARAM, "The event is not of this room")
        if known is not None and (arrival.outlier or not known.flags & EventFlags.OUTLIER):
            return ArrivalOutcome.of(known.flags)
        if not event.prev_events and not arrival.outlier:
            raise MatrixError(ErrCode.INVALID_PARAM, "The event names no previous event")
        known_as = None if known is None else known.nid
        auth, rejected = await self._auth_events(event)
        is_rejected = not await self._passes_auth_events(event, auth, rejected)
        made = NewEvent(
            event,
            self._state,
            arrival.flags,
            auth={event_id: stored.nid for event_id, stored in self._stored.items() if event_id in auth},
            known_as=known_as,
        )
        if arrival.outlier:
            return self._keep(replace(made, flags=EventFlags.OUTLIER | (EventFlags.REJECTED if is_rejected else 0)))
        return await self._place(arrival, made, is_rejected=is_rejected)

    async def _place(self, arrival: Arrival, made: NewEvent, *, is_rejected: bool) -> ArrivalOutcome:
        event, flags = made.event, made.flags
        prevs = await self._previous(event)
        gaps = tuple(event_id for event_id in event.prev_events if event_id not in prevs)
        if gaps and arrival.told is None:
            raise MatrixError(ErrCode.NOT_FOUND, f"The previous event {gaps[0]} is not here")
        if gaps:
            flags |= EventFlags.GAP
        before = await self._state_before(event, prevs, arrival.told if gaps else None)
        is_aside = before is not self._state and before != self._state
        if is_aside:
            flags |= EventFlags.ASIDE
        view = await self._view(before, event)
        if is_rejected or not _allows(event, view):
            return self._keep(replace(made, flags=flags | EventFlags.REJECTED, state_after=before, gaps=()))
        held = view.get(*event.key) if event.is_state else None
        after = before.set(event.key, event.event_id) if event.is_state else before
        fills_gap = bool(await self._gaps([event.event_id]))
        made = replace(made, state_after=after, gaps=gaps, fills_gap=fills_gap, **self._replaced(held))
        if arrival.refused or (is_aside and not _allows(event, await self._view(self._state, event))):
            return self._keep(replace(made, flags=flags | EventFlags.SOFT_FAILED, gaps=(), fills_gap=False))
        if is_aside and (views := await self._views(before)):
            flags |= EventFlags.APART
            made = replace(made, views=views)
        made = await self._with_redactions(made, view)
        self._keep(replace(made, flags=flags, push=push_of(event, held, view)))
        await self._advance(event, prevs, fills_gap=fills_gap)
        await self._settle_state(event, before, after)
        return ArrivalOutcome.ACCEPTED

    def append(self) -> RoomAppend | None:
        """What is to be committed; None if there is nothing new."""
        if not self._events:
            return None
        return RoomAppend(
            self._head, tuple(self._events), self._extremities, state=self._state, corrections=self._corrections()
        )

    def _keep(self, made: NewEvent) -> ArrivalOutcome:
        self._events.append(made)
        self._new[made.event.event_id] = made
        return ArrivalOutcome.of(made.flags)

    def _corrections(self) -> dict[StateKey, str | None]:
        """Where the state is not what the room's visible events, one after the other, make of it."""
        told: dict[StateKey, str | None] = {}
        for made in self._events:
            if made.event.is_state and not made.is_hidden:
                told[made.event.key] = made.event.event_id
        changed = self._state.since(self._head.state) or {}
        before = self._head.state
        return {
            key: self._state.get(key)
            for key in {*told, *changed}
            if self._state.get(key) != (told[key] if key in told else before.get(key))
        }

    def _replaced(self, before: Event | None) -> dict[str, Any]:
        """What a state event says and remembers of the one that it replaces."""
        if before is None:
            return {}
        stored = self._stored.get(before.event_id)
        order = None if stored is None else stored.order
        return {
            "unsigned": {"prev_content": before.content, "prev_sender": before.sender},
            "replaces": Replaced(before.event_id, order, before.membership),
        }

    async def _views(self, before: RoomState) -> dict[str, str]:
        """Of local users' memberships and the history visibility, what the event's state has and the room's has not.

        spec: client-server-api#room-history-visibility
        """
        states = (before, self._state)
        keys = [
            key
            for key in await self._resolutions.differing(states)
            if key == HISTORY_VISIBILITY or (key[0] == "m.room.member" and key[1].endswith(self._ours))
        ]
        of_event, of_room = [
            {key: _view_value(key, event) for key, event in (await self._events_of(state, keys)).items()}
            for state in states
        ]
        views: dict[str, str] = {}
        for key in keys:
            value = of_event.get(key) or _view_value(key, None)
            if value != (of_room.get(key) or _view_value(key, None)):
                views["" if key == HISTORY_VISIBILITY else key[1]] = value
        return views

    async def _fetch(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        missing = [event_id for event_id in event_ids if event_id not in self._stored]
        if missing:
            self._stored |= await self._memory.events.fetch(missing, self._memory.store)
        return {event_id: self._stored[event_id] for event_id in event_ids if event_id in self._stored}

    async def _event_map(self, event_ids: Collection[str]) -> dict[str, Event]:
        """Events that are stored or decided here."""
        found = await self._fetch([event_id for event_id in event_ids if event_id not in self._new])
        events = {event_id: stored.event for event_id, stored in found.items()}
        events.update((event_id, self._new[event_id].event) for event_id in event_ids if event_id in self._new)
        return events

    def _flags(self, event_id: str) -> EventFlags:
        new = self._new.get(event_id)
        return new.flags if new is not None else self._stored[event_id].flags

    async def _auth_events(self, event: Event) -> tuple[dict[str, Event], set[str]]:
        """The event's auth events, and which of them were rejected."""
        auth = await self._event_map(event.auth_events)
        for event_id in event.auth_events:
            if event_id not in auth:
                raise MatrixError(ErrCode.NOT_FOUND, f"The auth event {event_id} is not here")
        return auth, {event_id for event_id in auth if self._flags(event_id) & EventFlags.REJECTED}

    async def _passes_auth_events(self, event: Event, auth: Mapping[str, Event], rejected: set[str]) -> bool:
        state = {auth_event.key: auth_event for auth_event in auth.values() if auth_event.is_state}
        if event.version.auth.room_id_is_create_hash:  # the create event is implied
            state.update(await self._events_of(self._head.state, [CREATE]))
        try:
            check(event, MappingState(state), auth_events=list(auth.values()), rejected=rejected)
        except NotAllowed:
            return False
        return True

    async def _previous(self, event: Event) -> dict[str, _Prev]:
        """Those previous events that have a place in the room."""
        stored = await self._fetch([event_id for event_id in event.prev_events if event_id not in self._new])
        nids = {item.snapshot for item in stored.values()} - self._roots.keys() - {0}
        if nids:
            async with self._memory.store.read_committed() as tx:
                snapshots = await tx.rooms.snapshots(nids)
            self._roots |= {nid: RoomState(snapshot) for nid, snapshot in snapshots.items()}
        found: dict[str, _Prev] = {}
        for event_id in dict.fromkeys(event.prev_events):
            if (new := self._new.get(event_id)) is not None:
                if not new.flags & EventFlags.OUTLIER:
                    found[event_id] = _Prev(new.state_after, new.is_hidden, new.event.prev_events)
            elif (item := stored.get(event_id)) is not None and item.room_nid == self._head.room_nid:
                if not item.flags & EventFlags.OUTLIER:
                    found[event_id] = _Prev(self._roots[item.snapshot], item.order is None, item.event.prev_events)
        return found

    async def _state_before(
        self, event: Event, prevs: Mapping[str, _Prev], told: Mapping[StateKey, str] | None
    ) -> RoomState:
        if told is None and set(event.prev_events) == {extremity.event_id for extremity in self._extremities}:
            return self._state
        states: list[RoomState] = []
        for prev in prevs.values():
            if not any(prev.state is state or prev.state == state for state in states):
                states.append(prev.state)
        if told is not None:
            states.append(RoomState.empty().changed(dict(told)))
        if len(states) == 1 and told is None:
            return states[0]
        return await self._resolve(states)

    async def _resolve(self, states: list[RoomState]) -> RoomState:
        head = self._head
        return await self._resolutions.resolve(head.room_version, head.room_nid, self._state, states, self._new)

    async def _settle_state(self, event: Event, before: RoomState, after: RoomState) -> None:
        """The room's current state: that of its extremities."""
        if [extremity.event_id for extremity in self._extremities] == [event.event_id] and before is self._state:
            self._state = after
            return
        self._state = await self._resolve(await self._states_after(self._extremities))

    async def _states_after(self, extremities: Iterable[Extremity]) -> list[RoomState]:
        states: list[RoomState] = []
        for extremity in extremities:
            new = self._new.get(extremity.event_id)
            state = new.state_after if new is not None else await self._stored_state(extremity.snapshot)
            if not any(state is known for known in states):
                states.append(state)
        return states

    async def _stored_state(self, nid: int) -> RoomState:
        if nid not in self._roots:
            async with self._memory.store.read_committed() as tx:
                self._roots[nid] = RoomState((await tx.rooms.snapshots([nid]))[nid])
        return self._roots[nid]

    async def _advance(self, event: Event, prevs: Mapping[str, _Prev], *, fills_gap: bool) -> None:
        """The event takes the place of those that it names, or that it reaches through rejected or soft-failed ones.

        Not through outliers: they have no place, so nothing has shown that the state behind them holds what is here.
        Else an outlier and a told state together could take the room's state away.
        """
        named: set[str] = set(event.prev_events)
        hidden = [prev.names for prev in prevs.values() if prev.is_hidden]
        for _ in range(_MAX_HIDDEN_WALK):
            if not hidden:
                break
            names = hidden.pop()
            hidden.extend(await self._names_of_hidden([event_id for event_id in names if event_id not in named]))
            named.update(names)
        left = tuple(extremity for extremity in self._extremities if extremity.event_id not in named)
        # An event that somebody named before it came has successors here.
        mine = () if fills_gap and left else (Extremity(event.event_id, event.depth, 0),)
        kept = (*left, *mine)
        if len(kept) > MAX_EXTREMITIES:
            spare = self._spare(kept)
            kept = tuple(extremity for extremity in kept if extremity is not spare)
        self._extremities = kept

    def _spare(self, ends: Collection[Extremity]) -> Extremity:
        """The end to do without, of too many: the lowest, and if possible one whose state others have as well."""
        states = {
            end.event_id: end.snapshot if (new := self._new.get(end.event_id)) is None else id(new.state_after)
            for end in ends
        }
        having = Counter(states.values())
        return min(ends, key=lambda end: (having[states[end.event_id]] == 1, end.depth))

    async def _names_of_hidden(self, event_ids: Collection[str]) -> list[tuple[str, ...]]:
        """The previous events of those that have a place here and are not shown."""
        found = await self._fetch([event_id for event_id in event_ids if event_id not in self._new])
        placed = [(item.event, item.flags) for item in found.values() if item.room_nid == self._head.room_nid]
        placed += [
            (self._new[event_id].event, self._new[event_id].flags) for event_id in event_ids if event_id in self._new
        ]
        return [event.prev_events for event, flags in placed if flags & HIDDEN and not flags & EventFlags.OUTLIER]

    async def _gaps(self, event_ids: Collection[str]) -> set[str]:
        async with self._memory.store.read_committed() as tx:
            found = await tx.rooms.gaps(self._head.room_nid, event_ids)
        found |= {event_id for made in self._events for event_id in made.gaps if event_id in event_ids}
        return found

    async def _view(self, state: RoomState, event: Event) -> MappingState:
        """The state events that the rules may ask for, and what the event replaces."""
        keys = {CREATE, POWER_LEVELS, *auth_types_of(event)}
        if event.is_state:
            keys.add(event.key)
        return MappingState(await self._events_of(state, keys))

    async def _events_of(self, state: RoomState, keys: Iterable[StateKey]) -> dict[StateKey, Event]:
        ids = await self._memory.read(state, list(keys))
        events = await self._event_map(list(ids.values()))
        return {key: events[event_id] for key, event_id in ids.items()}

    async def _with_redactions(self, made: NewEvent, view: MappingState) -> NewEvent:
        """Whether the event is redacted by one that is here, or redacts one that is; either may come first.

        A redaction that was redacted before it came names nothing any more, and does nothing.
        spec: rooms/v12#handling-redactions
        """
        event = made.event
        is_redacted = False
        for number, new in enumerate(self._events):
            if new.awaits_target and new.event.redacts == event.event_id:
                allowed = _may_redact(new.event, event, await self._view(new.state_after, new.event))
                is_redacted = is_redacted or allowed
                found = replace(new, awaits_target=False, redacts_allowed=allowed)
                self._events[number] = self._new[new.event.event_id] = found
        if not is_redacted and (waiting := await self._waiting_redaction(event)) is not None:
            return replace(made, redacted_by=waiting)
        if event.redacts is None or is_redacted:
            return made
        target = (await self._event_map([event.redacts])).get(event.redacts)
        if target is None or self._flags(target.event_id) & EventFlags.OUTLIER:
            return replace(made, awaits_target=True)  # it is decided when that gets its place
        return replace(made, redacts_allowed=_may_redact(event, target, view))

    async def _waiting_redaction(self, event: Event) -> StoredEvent | None:
        """The stored redaction that came before the event and may redact it."""
        async with self._memory.store.read_committed() as tx:
            nids = await tx.rooms.redactions_waiting(self._head.room_nid, event.event_id)
            waiting = await tx.events.by_nids(nids) if nids else []
        for redaction in waiting:
            state = await self._stored_state(redaction.snapshot)
            if _may_redact(redaction.event, event, await self._view(state, redaction.event)):
                return redaction
        return None


def _view_value(key: StateKey, event: Event | None) -> str:
    """The membership or the history visibility that a state event sets; what holds without one."""
    if key == HISTORY_VISIBILITY:
        return "shared" if event is None else visibility_value(event.content)
    return (None if event is None else membership_value(event.content)) or "leave"


def _may_redact(redaction: Event, target: Event, view: MappingState) -> bool:
    """Whether the redaction takes effect, given the state before it."""
    return target.type != "m.room.create" and may_redact(redaction, target, view)


def _allows(event: Event, view: MappingState) -> bool:
    try:
        check(event, view)
    except NotAllowed:
        return False
    return True
