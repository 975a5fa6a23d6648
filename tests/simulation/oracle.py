"""What a room must look like, worked out the slow and simple way: whole states, the resolver of whole states, no store.

Follows the specification's checks on receipt of an event step by step and shares with the server only the rules and
`core.resolve.resolver`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from homeserver.core.auth.rules import check
from homeserver.core.auth.state import MappingState
from homeserver.core.errors import NotAllowed
from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.graph import AuthGraph, auth_row
from homeserver.core.resolve.resolver import resolve
from homeserver.core.versions import RoomVersion
from homeserver.services.rooms.arrivals import Outcome

State = dict[StateKey, str]


@dataclass
class Oracle:
    """One room as one server ought to see it."""

    version: RoomVersion
    events: dict[str, Event] = field(default_factory=dict)
    after: dict[str, State] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    extremities: list[str] = field(default_factory=list)
    state: State = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    resolutions: int = 0
    graph: AuthGraph[str] = field(default_factory=AuthGraph)

    def copy(self) -> Oracle:
        """The same room, to try something; the graph and the events may grow for both."""
        return replace(
            self,
            after=dict(self.after),
            outcomes=dict(self.outcomes),
            rejected=set(self.rejected),
            extremities=list(self.extremities),
            missing=set(self.missing),
        )

    def resolved(self, states: Sequence[State]) -> State:
        """The resolution of some states."""
        different = [state for number, state in enumerate(states) if state not in states[:number]]
        if len(different) == 1:
            return dict(different[0])
        self.resolutions += 1
        return resolve(self.version, different, self.events, self.graph, self.rejected)

    def before(self, prev_events: Sequence[str], told: State | None = None) -> State:
        """The state before an event with these previous ones."""
        states = [self.after[event_id] for event_id in prev_events if event_id in self.after]
        return self.resolved([*states, told] if told is not None else states)

    def sent(self, event: Event) -> None:
        """The server has made an event."""
        self.know(event)
        assert set(event.prev_events) == set(self.extremities)
        assert self._allows(event, self.state)
        self.state = self._with(self.state, event)
        self.after[event.event_id] = self.state
        self.outcomes[event.event_id] = Outcome.ACCEPTED
        self.extremities = [event.event_id]

    def outlier(self, event: Event) -> None:
        """An event came for the auth chain or state of another."""
        if event.event_id in self.outcomes:
            return
        self.know(event)
        self.outcomes[event.event_id] = Outcome.OUTLIER
        if not self._passes_auth_events(event):
            self.rejected.add(event.event_id)
            self.outcomes[event.event_id] = Outcome.REJECTED

    def arrived(self, event: Event, told: State | None = None) -> None:
        """An event came; `told` if some previous ones are not here."""
        event_id = event.event_id
        if event_id in self.after:
            return
        self.know(event)
        before = self.before(event.prev_events, told)
        if not self._passes_auth_events(event) or not self._allows(event, before):
            self.after[event_id] = before
            self.rejected.add(event_id)
            self.outcomes[event_id] = Outcome.REJECTED
            return
        self.after[event_id] = self._with(before, event)
        if not self._allows(event, self.state):
            self.outcomes[event_id] = Outcome.SOFT_FAILED
            return
        self.outcomes[event_id] = Outcome.ACCEPTED
        named = set(event.prev_events)
        walk = list(named)
        while walk:
            prev = walk.pop()
            if prev in self.after and self.outcomes[prev] in (Outcome.REJECTED, Outcome.SOFT_FAILED):
                behind = set(self.events[prev].prev_events) - named
                named |= behind
                walk.extend(behind)
        left = [extremity for extremity in self.extremities if extremity not in named]
        self.extremities = left if event_id in self.missing and left else [*left, event_id]
        self.missing |= {prev for prev in event.prev_events if prev not in self.after}
        self.missing.discard(event_id)
        self.state = self.resolved([self.after[extremity] for extremity in self.extremities])

    def know(self, event: Event) -> None:
        """Take in the event itself."""
        self.events[event.event_id] = event
        if event.is_state and event.event_id not in self.graph:
            self.graph.add(auth_row(event))

    def _allows(self, event: Event, state: Mapping[StateKey, str]) -> bool:
        view = MappingState({key: self.events[event_id] for key, event_id in state.items()})
        try:
            check(event, view)
        except NotAllowed:
            return False
        return True

    def _passes_auth_events(self, event: Event) -> bool:
        auth = [self.events[event_id] for event_id in event.auth_events]
        implied = [self.events[self.state["m.room.create", ""]]]
        try:
            check(event, MappingState.of([*implied, *auth]), auth_events=auth, rejected=self.rejected)
        except NotAllowed:
            return False
        return True

    @staticmethod
    def _with(state: State, event: Event) -> State:
        return {**state, event.key: event.event_id} if event.is_state else state
