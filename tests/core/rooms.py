"""Small rooms for tests of authorisation and resolution: events with readable ids, auth events chosen by the rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from homeserver.core.auth.rules import check
from homeserver.core.auth.select import auth_types_for
from homeserver.core.auth.state import MappingState
from homeserver.core.canonical import encode_lenient
from homeserver.core.errors import NotAllowed
from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.graph import AuthGraph, auth_row
from homeserver.core.versions import RoomVersion

ALICE, BOB, CAROL, DAVE, ELLA = "@alice:a.org", "@bob:b.org", "@carol:c.org", "@dave:a.org", "@ella:e.org"

State = dict[StateKey, Event]


class Room:
    """Makes events of one room; keeps them all, but no state: that is passed from event to event."""

    def __init__(self, version: RoomVersion, creator: str = ALICE, **content: Any) -> None:
        self.version = version
        self.events: dict[str, Event] = {}
        self.room_id = "!create" if version.auth.room_id_is_create_hash else "!create:a.org"
        if not version.auth.creator_from_sender:
            content = {"creator": creator, **content}
        self.create = self.event({}, "m.room.create", creator, content, "", name="create")

    def event(
        self,
        state: State,
        event_type: str,
        sender: str,
        content: dict[str, Any],
        state_key: str | None = None,
        *,
        name: str | None = None,
        **pdu: Any,
    ) -> Event:
        """An event sent in `state`; `pdu` overrides its top level."""
        event_id = "$" + (name or f"{len(self.events):04}")
        if self.version.id in ("1", "2") and ":" not in event_id:
            event_id += ":" + sender.partition(":")[2]
        keys = auth_types_for(event_type, sender, state_key, content, self.version)
        whole: dict[str, Any] = {
            "type": event_type,
            "sender": sender,
            "content": content,
            "depth": len(self.events),
            "origin_server_ts": len(self.events),
            "prev_events": list(self.events)[-1:],
            "auth_events": [state[key].event_id for key in keys if key in state],
        } | pdu
        if state_key is not None:
            whole["state_key"] = state_key
        if event_type != "m.room.create" or not self.version.auth.room_id_is_create_hash:
            whole.setdefault("room_id", self.room_id)
        event = Event(whole, encode_lenient(whole), self.version, event_id, whole.get("room_id", self.room_id))
        assert event_id not in self.events
        self.events[event_id] = event
        return event

    def send(
        self, state: State, event_type: str, sender: str, content: dict[str, Any], key: str = "", **pdu: Any
    ) -> State:
        """The state after a state event, which the rules must allow in `state`."""
        event = self.event(state, event_type, sender, content, key, **pdu)
        check(event, MappingState(state), auth_events=[self.events[auth] for auth in event.auth_events])
        return {**state, event.key: event}

    def member(self, state: State, sender: str, membership: str, target: str | None = None, **pdu: Any) -> State:
        """The state after a membership event."""
        return self.send(state, "m.room.member", sender, {"membership": membership}, target or sender, **pdu)

    def start(self, *members: str, power: dict[str, Any] | None = None, join_rule: str = "public") -> State:
        """A room with its creator, power levels, join rule, and members who have joined."""
        creator = self.create.sender
        state: State = {self.create.key: self.create}
        state = self.member(state, creator, "join", name="join@creator")
        state = self.send(state, "m.room.power_levels", creator, self.levels(power or {}), name="power")
        state = self.send(state, "m.room.join_rules", creator, {"join_rule": "public"}, name="rules")
        for member in members:
            state = self.member(state, member, "join", name=f"join{member.partition(':')[0]}")
        if join_rule != "public":
            state = self.send(state, "m.room.join_rules", creator, {"join_rule": join_rule}, name=f"rules-{join_rule}")
        return state

    def start_members(self, *members: str) -> State:
        """A room with a creator and other members, but without power levels and join rule."""
        state: State = {self.create.key: self.create}
        for user in (self.create.sender, *members):
            join = self.event(state, "m.room.member", user, {"membership": "join"}, user)
            state = {**state, join.key: join}
        return state

    def levels(self, content: dict[str, Any]) -> dict[str, Any]:
        """Power levels content in which the creator keeps 100 where the version does not imply more."""
        own = {} if self.version.auth.privileged_creators else {self.create.sender: 100}
        return {**content, "users": {**own, **content.get("users", {})}}

    def graph(self) -> AuthGraph[str]:
        """The auth graph of all events."""
        return AuthGraph(auth_row(event) for event in self.events.values())


def verdict(event: Event, state: State | Iterable[Event], **options: Any) -> bool:
    """Whether the rules allow `event` in `state`."""
    view = MappingState(state) if isinstance(state, dict) else MappingState.of(state)
    try:
        check(event, view, **options)
    except NotAllowed:
        return False
    return True


def ids(state: State) -> dict[StateKey, str]:
    """A state as resolution takes it."""
    return {key: event.event_id for key, event in state.items()}
