"""What a room must look like, worked out the slow and simple way: whole states, the resolver of whole states, no store.

Follows the specification's checks on receipt of an event step by step and shares with the server only the rules and
`core.resolve.resolver`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from homeserver.core.auth.rules import check, may_redact
from homeserver.core.auth.state import MappingState
from homeserver.core.canonical import encode_lenient
from homeserver.core.content import MAX_PREV_EVENTS
from homeserver.core.errors import NotAllowed
from homeserver.core.event import Event, StateKey
from homeserver.core.redact import redact
from homeserver.core.resolve.graph import AuthGraph, auth_row
from homeserver.core.resolve.resolver import resolve
from homeserver.core.versions import RoomVersion
from homeserver.core.visibility import HISTORY_VISIBILITY, Before, may_see, visibility_in
from homeserver.services.rooms.arrivals import ArrivalOutcome

State = dict[StateKey, str]


@dataclass
class Oracle:
    """One room as one server ought to see it."""

    version: RoomVersion
    events: dict[str, Event] = field(default_factory=dict)
    kept: dict[str, Event] = field(default_factory=dict)
    """The events as they are authorised by: what was redacted has nothing but its redacted form any more."""
    after: dict[str, State] = field(default_factory=dict)
    befores: dict[str, State] = field(default_factory=dict)
    outcomes: dict[str, ArrivalOutcome] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    extremities: list[str] = field(default_factory=list)
    state: State = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    placed: list[str] = field(default_factory=list)
    """What was accepted from elsewhere, in order."""
    held: list[str] = field(default_factory=list)
    """Events that are known elsewhere and come later."""
    resolutions: int = 0
    _by: dict[str, str] = field(default_factory=dict)
    graph: AuthGraph[str] = field(default_factory=AuthGraph)

    def copy(self) -> Oracle:
        """The same room, to try something; the graph and the events may grow for both."""
        return replace(
            self,
            kept=dict(self.kept),
            after=dict(self.after),
            befores=dict(self.befores),
            outcomes=dict(self.outcomes),
            rejected=set(self.rejected),
            extremities=list(self.extremities),
            missing=set(self.missing),
            placed=list(self.placed),
        )

    def resolved(self, states: Sequence[State]) -> State:
        """The resolution of some states."""
        different = [state for number, state in enumerate(states) if state not in states[:number]]
        if len(different) == 1:
            return dict(different[0])
        self.resolutions += 1
        return resolve(self.version, different, self.kept, self.graph, self.rejected)

    def before(self, prev_events: Sequence[str], told: State | None = None) -> State:
        """The state before an event with these previous ones."""
        states = [self.after[event_id] for event_id in prev_events if event_id in self.after]
        return self.resolved([*states, told] if told is not None else states)

    def sent(self, event: Event) -> None:
        """The server has made an event."""
        if len(self.extremities) > MAX_PREV_EVENTS:
            ends = sorted(self.extremities, key=lambda event_id: (-self.events[event_id].depth, event_id))
            assert set(event.prev_events) == set(ends[:MAX_PREV_EVENTS])
            self.arrived(event)
            assert self.outcomes[event.event_id] is ArrivalOutcome.ACCEPTED
            return
        self.know(event)
        assert set(event.prev_events) == set(self.extremities)
        assert self._allows(event, self.state)
        self.befores[event.event_id] = self.state
        self.state = self._with(self.state, event)
        self.after[event.event_id] = self.state
        self.outcomes[event.event_id] = ArrivalOutcome.ACCEPTED
        self.extremities = [event.event_id]

    def outlier(self, event: Event) -> None:
        """An event came for the auth chain or state of another."""
        if event.event_id in self.outcomes:
            return
        self.know(event)
        self.outcomes[event.event_id] = ArrivalOutcome.OUTLIER
        if not self._passes_auth_events(event):
            self.rejected.add(event.event_id)
            self.outcomes[event.event_id] = ArrivalOutcome.REJECTED

    def arrived(self, event: Event, told: State | None = None) -> None:
        """An event came; `told` if some previous ones are not here."""
        event_id = event.event_id
        if event_id in self.after:
            return
        self.know(event)
        before = self.befores[event_id] = self.before(event.prev_events, told)
        if not self._passes_auth_events(event) or not self._allows(event, before):
            self.after[event_id] = before
            self.rejected.add(event_id)
            self.outcomes[event_id] = ArrivalOutcome.REJECTED
            return
        self.after[event_id] = self._with(before, event)
        if not self._allows(event, self.state):
            self.outcomes[event_id] = ArrivalOutcome.SOFT_FAILED
            return
        self.outcomes[event_id] = ArrivalOutcome.ACCEPTED
        self.placed.append(event_id)
        named = set(event.prev_events)
        walk = list(named)
        while walk:
            prev = walk.pop()
            if prev in self.after and self.outcomes[prev] in (ArrivalOutcome.REJECTED, ArrivalOutcome.SOFT_FAILED):
                behind = set(self.events[prev].prev_events) - named
                named |= behind
                walk.extend(behind)
        left = [extremity for extremity in self.extremities if extremity not in named]
        self.extremities = left if event_id in self.missing and left else [*left, event_id]
        self.missing |= {prev for prev in event.prev_events if prev not in self.after}
        self.missing.discard(event_id)
        for redacted in self.redacted():
            self.kept[redacted] = self._pruned(redacted)
        self.state = self.resolved([self.after[extremity] for extremity in self.extremities])

    def redacted(self) -> set[str]:
        """The accepted events that are redacted, whichever came first."""
        found: set[str] = set()
        came = {event_id: number for number, event_id in enumerate(self.placed)}
        for redaction in (self.events[event_id] for event_id in self.placed):
            target = self.events.get(redaction.redacts or "")
            if target is None or target.type == "m.room.create":
                continue
            if redaction.event_id in found and came[self._by[redaction.event_id]] < came[redaction.event_id]:
                continue  # it names nothing any more
            state = self.after[redaction.event_id]
            view = MappingState({key: self.events[event_id] for key, event_id in state.items()})
            if self.outcomes.get(target.event_id) is ArrivalOutcome.ACCEPTED and may_redact(redaction, target, view):
                self._by.setdefault(target.event_id, redaction.event_id)
                found.add(target.event_id)
        return found

    def joined(self) -> set[str]:
        """Who is in the room."""
        return {
            user_id
            for (kind, user_id), event_id in self.state.items()
            if kind == "m.room.member" and self.events[event_id].membership == "join"
        }

    def may_see(self, event_id: str, user_id: str) -> bool:
        """Whether a user who is in the room now may see an accepted event: the state before it decides.

        spec: client-server-api#room-history-visibility
        """
        before = self.befores.get(event_id)
        if before is None:
            return True  # from before the story begins
        visibility = before.get(HISTORY_VISIBILITY)
        member = before.get(("m.room.member", user_id))
        membership = (self.events[member].membership if member is not None else None) or "leave"
        held = Before(visibility_in(self.events[visibility] if visibility is not None else None), membership)
        return may_see(self.events[event_id], user_id, held, joined_later=True)

    def know(self, event: Event) -> None:
        """Take in the event itself."""
        self.events[event.event_id] = event
        self.kept.setdefault(event.event_id, event)
        if event.is_state and event.event_id not in self.graph:
            self.graph.add(auth_row(event))

    def _allows(self, event: Event, state: Mapping[StateKey, str]) -> bool:
        view = MappingState({key: self.kept[event_id] for key, event_id in state.items()})
        try:
            check(event, view)
        except NotAllowed:
            return False
        return True

    def _passes_auth_events(self, event: Event) -> bool:
        auth = [self.kept[event_id] for event_id in event.auth_events]
        implied = [self.kept[self.state["m.room.create", ""]]]
        try:
            check(event, MappingState.of([*implied, *auth]), auth_events=auth, rejected=self.rejected)
        except NotAllowed:
            return False
        return True

    def _pruned(self, event_id: str) -> Event:
        event = self.events[event_id]
        pdu = redact(event.pdu, self.version)
        return Event(pdu, encode_lenient(pdu), self.version, event_id, event.room_id)

    @staticmethod
    def _with(state: State, event: Event) -> State:
        return {**state, event.key: event.event_id} if event.is_state else state
