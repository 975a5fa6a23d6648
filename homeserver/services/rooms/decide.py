"""Decides drafts: fills in their place in the graph, builds, signs and authorises them on the room's working head.

Pure but for the injected clock and entropy: whatever event a decision needs and memory does not hold is asked for by
raising `MissingEventsError`, and the writer loads it and starts again. Drafts of one batch build on one another.
spec: server-server-api#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core import build
from homeserver.core.auth.power import PowerLevels
from homeserver.core.auth.rules import check
from homeserver.core.auth.select import auth_types_for
from homeserver.core.auth.state import StateView
from homeserver.core.content import check_client_content, check_size
from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.event import Event, StateKey
from homeserver.core.pushbits import ENTERS, default_push
from homeserver.core.relations import relation_of
from homeserver.core.signatures import encode_base64, reference_hash
from homeserver.core.versions import EventIdForm
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.events import Extremity, NewEvent, Replaced, RoomAppend, RoomHead, StoredEvent, depth_on
from homeserver.ports.relations import Annotation
from homeserver.services.rooms.drafts import Draft, Existing

_OPAQUE_BYTES = 18
_DEFAULT_NOTIFICATION_LEVEL = 50  # spec: client-server-api#mroompower_levels
_FROM_OUTSIDE = frozenset({"m.room.create", "m.room.member"})
"""Types whose sender need not be in the room yet; the rules of every version say when."""


class MissingEventsError(Exception):
    """A decision needs these events, which are not in memory."""

    def __init__(self, event_ids: Iterable[str]) -> None:
        super().__init__("Events must be loaded")
        self.event_ids = set(event_ids)


class MissingAnnotationsError(Exception):
    """A decision needs to know whether these annotations have been made, which only the store does."""

    def __init__(self, annotations: Iterable[Annotation]) -> None:
        super().__init__("Annotations must be looked up")
        self.annotations = set(annotations)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every decision needs besides the room: who signs, the time, randomness."""

    signer: build.Signer
    clock: Clock
    entropy: Entropy


class EventsAtHand:
    """Events that memory holds: the cache, and beside it what was loaded for this decision."""

    def __init__(self, cached: Callable[[str], StoredEvent | None]) -> None:
        self._cached = cached
        self._loaded: dict[str, StoredEvent | None] = {}
        self._annotated: dict[Annotation, bool] = {}

    def holds(self, event_id: str) -> bool:
        """Whether `get` would not raise."""
        return event_id in self._loaded or self._cached(event_id) is not None

    def get(self, event_id: str) -> Event | None:
        """The event; None if there is none of that id. Raises MissingEventsError if that is not known here."""
        stored = self.stored(event_id)
        return None if stored is None else stored.event

    def stored(self, event_id: str) -> StoredEvent | None:
        """As `get`, with what the store adds."""
        stored = self._cached(event_id)
        if stored is not None:
            return stored
        if event_id not in self._loaded:
            raise MissingEventsError([event_id])
        return self._loaded[event_id]

    def order(self, event_id: str) -> int | None:
        """The event's place in the timeline; None if it has none, or is not stored yet."""
        stored = self._cached(event_id) or self._loaded.get(event_id)
        return None if stored is None else stored.order

    def is_annotated(self, annotation: Annotation) -> bool:
        """Whether the annotation has been made. Raises MissingAnnotationsError if that is not known here."""
        if annotation not in self._annotated:
            raise MissingAnnotationsError([annotation])
        return self._annotated[annotation]

    def knows(self, annotation: Annotation) -> bool:
        """Whether `is_annotated` would not raise."""
        return annotation in self._annotated

    def add_annotations(self, asked: Iterable[Annotation], made: Collection[Annotation]) -> None:
        """Take in what the store said about annotations."""
        self._annotated.update((annotation, annotation in made) for annotation in asked)

    def add(self, event_id: str, stored: StoredEvent | None) -> None:
        """Take in what the store said."""
        self._loaded[event_id] = stored


class WorkingRoom:
    """A room head that grows as drafts are decided; implements `drafts.RoomView` and the rules' view of the state."""

    def __init__(self, workshop: Workshop, head: RoomHead, at_hand: EventsAtHand) -> None:
        """A room that is being created has a `head` without events, and no id yet if the version derives it."""
        self._is_blocked = head.is_blocked
        self._workshop = workshop
        self._at_hand = at_hand
        self.version = head.room_version
        self.room_id = head.room_id or None
        self.state = head.state
        self.extremities = head.extremities
        self.events: list[NewEvent] = []
        self.successor: RoomAppend | None = None
        self._new: dict[str, Event] = {}
        self._annotated: set[Annotation] = set()

    def event(self, event_id: str) -> Event | None:
        """An event by id; None if there is none. Raises MissingEventsError if it must be loaded first."""
        return self._new.get(event_id) or self._at_hand.get(event_id)

    def get(self, event_type: str, state_key: str, /) -> Event | None:
        """The state event at (type, state_key)."""
        event_id = self.state.get((event_type, state_key))
        return None if event_id is None else self.event(event_id)

    def is_new(self, event_id: str) -> bool:
        """Whether the event was decided here and is not committed yet."""
        return event_id in self._new

    def membership(self, user_id: str) -> str | None:
        """The user's membership; None if they never had one."""
        member = self.get("m.room.member", user_id)
        return None if member is None else member.membership

    def require(self, drafts: Iterable[Draft]) -> None:
        """Raise MissingStateError with all state, then MissingEventsError with all events, that is surely needed, then
        MissingAnnotationsError.

        So what memory lacks for a batch is loaded in one go.
        """
        drafts = list(drafts)
        self.state.require(key for draft in drafts for key in _keys_for(draft))
        if missing := {event_id for draft in drafts for event_id in self._needs(draft)}:
            raise MissingEventsError(missing)
        annotations = {one for draft in drafts if (one := _annotation(draft, draft.content)) is not None}
        if unknown := {annotation for annotation in annotations if not self._at_hand.knows(annotation)}:
            raise MissingAnnotationsError(unknown)

    def _needs(self, draft: Draft) -> set[str]:
        needed = {event_id for key in _keys_for(draft) if (event_id := self.state.get(key)) is not None}
        if draft.redacts is not None:
            needed.add(draft.redacts)
        if (root := _thread_root(draft, draft.content)) is not None:
            needed.add(root)
        if self.version.event_id is EventIdForm.GIVEN:
            needed.update(extremity.event_id for extremity in self.extremities)
        return {event_id for event_id in needed if event_id not in self._new and not self._at_hand.holds(event_id)}

    def _check_block(self, draft: Draft, content: dict[str, Any]) -> None:
        comes = content.get("membership") in ("join", "invite", "knock")
        if comes and self.membership(draft.state_key or "") != "join":
            raise NotAllowed("The administrators of this server have blocked this room")

    def add(self, draft: Draft) -> str:
        """Decide `draft` and make it the new head; returns the id of the event, or of one that already serves.

        Raises MatrixError if it is refused, which leaves the room unchanged; MissingEventsError,
        MissingAnnotationsError.
        """
        content = draft.content
        if draft.decide is not None:
            decided = draft.decide(self)
            if isinstance(decided, Existing):
                return decided.event_id
            content = decided
        if self._is_blocked and draft.type == "m.room.member":
            self._check_block(draft, content)
        before = self.get(draft.type, draft.state_key) if draft.state_key is not None else None
        if before is not None and self._says_nothing_new(draft, content, before):
            return before.event_id
        # Whatever the version's rules say: those of 1 to 5 let anyone write m.room.aliases.
        if draft.type not in _FROM_OUTSIDE and self.membership(draft.sender) != "join":
            raise NotAllowed("You are not in this room")
        redacts_allowed = draft.redacts is not None and self._check_redaction(draft, draft.redacts)
        self._check_thread(draft, content)
        annotation = _annotation(draft, content)
        if annotation is not None and (annotation in self._annotated or self._at_hand.is_annotated(annotation)):
            # spec: client-server-api#avoiding-duplicate-annotations
            raise MatrixError(ErrCode.DUPLICATE_ANNOTATION, "You have annotated the event with this already")
        check_client_content(draft.type, draft.state_key, content, self.version)
        event = self._build(draft, content)
        check_size(event.canonical)
        check(event, self)
        self._accept(draft, event, before, redacts_allowed)
        if annotation is not None:
            self._annotated.add(annotation)
        return event.event_id

    def _says_nothing_new(self, draft: Draft, content: dict[str, Any], before: Event) -> bool:
        """The same person sets the same state again: no event, as every other server answers."""
        return (
            before.sender == draft.sender
            and before.content == content
            and self.membership(draft.sender) == "join"
            # 1 == True in Python, but not in JSON.
            and orjson.dumps(before.content, option=orjson.OPT_SORT_KEYS)
            == orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        )

    def _check_redaction(self, draft: Draft, event_id: str) -> bool:
        """Whether the sender may redact the event.  spec: client-server-api#redactions"""
        target = self.event(event_id)
        if target is None or target.room_id != self.room_id:
            raise MatrixError(ErrCode.NOT_FOUND, "The event to redact is not in this room")
        if target.type == "m.room.create":
            raise NotAllowed("The create event cannot be redacted")
        if target.sender != draft.sender:
            levels = PowerLevels.of(self, self.version)
            if levels.user(draft.sender) < levels.named("redact"):
                raise NotAllowed("You may not redact events of others here")
        return True

    def _check_thread(self, draft: Draft, content: dict[str, Any]) -> None:
        """Refuse to start a thread upon an event that relates to another one itself.

        NOTSPEC: the specification names any `m.relates_to` here, and says elsewhere that any event without a
        `rel_type` can become a root; clients start threads upon rich replies, which have none.
        spec: client-server-api#validation-of-mthread-relationships
        """
        root_id = _thread_root(draft, content)
        root = None if root_id is None else self.event(root_id)
        if root is not None and root.room_id == self.room_id and relation_of(root.content) is not None:
            raise MatrixError(ErrCode.UNKNOWN, "The event relates to another one, so no thread can start from it")

    def _build(self, draft: Draft, content: dict[str, Any]) -> Event:
        version = self.version
        auth_types = auth_types_for(draft.type, draft.sender, draft.state_key, content, version)
        auth_events = [event_id for key in auth_types if (event_id := self.state.get(key)) is not None]
        prev_events = [extremity.event_id for extremity in self.extremities]
        hashes: dict[str, str] = {}
        opaque_id = None
        if version.event_id is EventIdForm.GIVEN:
            hashes = {
                event_id: encode_base64(reference_hash(event.pdu, version))
                for event_id in {*auth_events, *prev_events}
                if (event := self.event(event_id)) is not None
            }
            opaque_id = self._workshop.entropy.token(_OPAQUE_BYTES)
        depth = depth_on(self.extremities)
        ts = draft.origin_server_ts if draft.origin_server_ts is not None else self._workshop.clock.now_ms()
        return build.build_event(
            version,
            build.ProtoEvent(self.room_id, draft.sender, draft.type, content, draft.state_key, draft.redacts),
            build.Place(prev_events, auth_events, depth, hashes),
            self._workshop.signer,
            origin_server_ts=ts,
            opaque_id=opaque_id,
        )

    def _accept(self, draft: Draft, event: Event, before: Event | None, redacts_allowed: bool) -> None:
        if draft.successor is not None:
            if self.successor is not None:
                raise NotAllowed("Somebody else is replacing this room")
            self.successor = draft.successor(event.event_id)
        unsigned, replaces = None, None
        if event.is_state:
            self.state = self.state.set(event.key, event.event_id)
            if before is not None:
                unsigned = {"prev_content": before.content, "prev_sender": before.sender}
                order = self._at_hand.order(before.event_id)
                replaces = Replaced(before.event_id, order, before.membership)
        self.room_id = event.room_id
        self.extremities = (Extremity(event.event_id, event.depth, 0),)
        self._new[event.event_id] = event
        self.events.append(
            NewEvent(
                event,
                self.state,
                unsigned=unsigned,
                replaces=replaces,
                txn=draft.txn,
                redacts_allowed=redacts_allowed,
                push=push_of(event, before, self),
                auth=self._auth_of(event) if event.is_state else {},
            )
        )

    def _auth_of(self, event: Event) -> dict[str, int]:
        """Row ids of the auth events that are stored."""
        stored = (self._at_hand.stored(event_id) for event_id in event.auth_events if event_id not in self._new)
        return {item.event.event_id: item.nid for item in stored if item is not None}


def push_of(event: Event, before: Event | None, state: StateView) -> int:
    """What the event is worth (`core.pushbits`), in the `state` around it; `before` is what it replaces."""
    if event.membership == "join" and event.state_key == event.sender:
        return 0 if before is not None and before.membership == "join" else ENTERS
    return default_push(event, lambda: _may_notify_room(event, state))


def _may_notify_room(event: Event, state: StateView) -> bool:
    """Whether the sender's power suffices to call for everybody.  spec: client-server-api#mroompower_levels"""
    levels = state.get("m.room.power_levels", "")
    wanted = levels.content.get("notifications") if levels is not None else None
    needed = wanted.get("room") if isinstance(wanted, dict) else None
    power = PowerLevels.of(state, event.version).user(event.sender)
    return power >= (needed if type(needed) is int else _DEFAULT_NOTIFICATION_LEVEL)


def _thread_root(draft: Draft, content: dict[str, Any]) -> str | None:
    """The event upon whose thread a message is to go."""
    relation = None if draft.state_key is not None else relation_of(content)
    return relation.event_id if relation is not None and relation.rel_type == "m.thread" else None


def _annotation(draft: Draft, content: dict[str, Any]) -> Annotation | None:
    """What a message says of another one, if that can be said but once."""
    relation = None if draft.state_key is not None else relation_of(content)
    if relation is None or relation.rel_type != "m.annotation" or relation.key is None:
        return None
    return Annotation(relation.event_id, draft.type, draft.sender, relation.key)


def _keys_for(draft: Draft) -> list[StateKey]:
    """The state that deciding a draft asks for in any case."""
    keys: list[StateKey] = [
        ("m.room.create", ""),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
        ("m.room.member", draft.sender),
    ]
    if draft.state_key is not None:
        keys.append((draft.type, draft.state_key))
    return keys
