"""Client filters: parsed once into frozen values, then asked for every event of a response.

Owns validation and matching. Where events come from, how many are read and which members lazy loading adds is the
business of the services.
spec: client-server-api#filtering
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.core import ids
from homeserver.core.canonical import MAX_DEPTH
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.paths import split_path

MAX_LIMIT = 1_000
"""Larger limits are lowered to this."""

_MAX_WILDCARDS = 100  # per list; each is tried on every event
_MAX_ITEMS = 5_000  # of one list
_MAX_TEXT = 16_384  # characters of one item


@dataclass(frozen=True, slots=True)
class TypeSet:
    """Event types by name and by pattern, where `*` stands for any characters; ask with `in`."""

    names: frozenset[str] = frozenset()
    patterns: tuple[tuple[str, ...], ...] = ()
    """Each pattern cut at its wildcards."""

    def __contains__(self, event_type: str) -> bool:
        return event_type in self.names or any(_matches_pattern(event_type, parts) for parts in self.patterns)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """For events that need no room: presence, account data, ephemeral events."""

    limit: int | None = None
    types: TypeSet | None = None
    not_types: TypeSet = TypeSet()
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()

    def matches(self, event_type: str, sender: str | None) -> bool:
        """Whether an event passes. Account data has no sender, so no list of `senders` includes it."""
        return (
            (self.types is None or event_type in self.types)
            and event_type not in self.not_types
            and (self.senders is None or sender in self.senders)
            and sender not in self.not_senders
        )


@dataclass(frozen=True, slots=True)
class RoomEventFilter:
    """For events of rooms: the timeline and state of /sync, /messages, /context, /search."""

    events: EventFilter = EventFilter()
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    related_by_senders: frozenset[str] | None = None
    related_by_rel_types: frozenset[str] | None = None

    @property
    def limit(self) -> int | None:
        """The largest number of events the client wants; None if it did not say."""
        return self.events.limit

    @property
    def is_open(self) -> bool:
        """Whether every event of the rooms it names passes, so that a page need not look further back to be full."""
        events = self.events
        return (
            events.types is None
            and events.senders is None
            and self.contains_url is None
            and not (events.not_types.names or events.not_types.patterns or events.not_senders)
        )

    def matches(self, event_type: str, sender: str, room_id: str, has_url: bool) -> bool:
        """Whether an event passes; `has_url` says whether its content has a `url`.

        The `related_by_*` filters ask about other events and are left to the caller.
        """
        return (
            self.events.matches(event_type, sender)
            and self.matches_room(room_id)
            and (self.contains_url is None or self.contains_url is has_url)
        )

    def matches_room(self, room_id: str) -> bool:
        """Whether events of the room can pass at all."""
        return (self.rooms is None or room_id in self.rooms) and room_id not in self.not_rooms


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """What /sync says about rooms."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    account_data: RoomEventFilter = RoomEventFilter()
    ephemeral: RoomEventFilter = RoomEventFilter()
    state: RoomEventFilter = RoomEventFilter()
    timeline: RoomEventFilter = RoomEventFilter()

    def matches_room(self, room_id: str) -> bool:
        """Whether the room appears at all; asked before the filters inside."""
        return (self.rooms is None or room_id in self.rooms) and room_id not in self.not_rooms


@dataclass(frozen=True, slots=True)
class EventFields:
    """The parts of an event that a client wants, as a tree of keys; an empty branch wants all below it."""

    tree: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Filter:
    """A whole filter as stored by `POST /user/{userId}/filter`; `Filter()` lets everything pass."""

    account_data: EventFilter = EventFilter()
    presence: EventFilter = EventFilter()
    room: RoomFilter = RoomFilter()
    event_fields: EventFields | None = None
    federation_format: bool = False


def parse_filter(value: Any) -> Filter:
    """The filter in parsed JSON; unknown keys are ignored.

    Raises MatrixError: BAD_JSON for a wrong type, INVALID_PARAM for a value that makes no sense.
    """
    given = _object(value, "filter")
    event_format = given.get("event_format", "client")
    if event_format not in ("client", "federation"):
        raise MatrixError(ErrCode.INVALID_PARAM, "event_format must be client or federation")
    return Filter(
        account_data=_event_filter(given.get("account_data", {}), "account_data"),
        presence=_event_filter(given.get("presence", {}), "presence"),
        room=_room_filter(given.get("room", {})),
        event_fields=_event_fields(given),
        federation_format=event_format == "federation",
    )


def parse_room_event_filter(value: Any) -> RoomEventFilter:
    """The RoomEventFilter in parsed JSON, as /messages, /context and /search take it. Errors as `parse_filter`."""
    return _room_event_filter(value, "filter")


def apply_event_fields(event: Mapping[str, Any], fields: EventFields) -> dict[str, Any]:
    """A copy of a client-format `event` with only the wanted parts; they are shared, not copied.

    spec: appendices#dot-separated-property-paths
    """
    return _pick(event, fields.tree)


def _pick(source: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    picked: dict[str, Any] = {}
    for key, below in tree.items():
        if key not in source:
            continue
        value = source[key]
        if not below:
            picked[key] = value
        elif isinstance(value, dict) and (inner := _pick(value, below)):
            picked[key] = inner
    return picked


def _room_filter(value: Any) -> RoomFilter:
    given = _object(value, "room")
    return RoomFilter(
        rooms=_strings(given, "rooms", ids.parse_room_id),
        not_rooms=_strings(given, "not_rooms", ids.parse_room_id) or frozenset(),
        include_leave=_flag(given, "include_leave") or False,
        account_data=_room_event_filter(given.get("account_data", {}), "account_data"),
        ephemeral=_room_event_filter(given.get("ephemeral", {}), "ephemeral"),
        state=_room_event_filter(given.get("state", {}), "state"),
        timeline=_room_event_filter(given.get("timeline", {}), "timeline"),
    )


def _room_event_filter(value: Any, what: str) -> RoomEventFilter:
    given = _object(value, what)
    return RoomEventFilter(
        events=_event_filter(given, what),
        rooms=_strings(given, "rooms", ids.parse_room_id),
        not_rooms=_strings(given, "not_rooms", ids.parse_room_id) or frozenset(),
        contains_url=_flag(given, "contains_url"),
        lazy_load_members=_flag(given, "lazy_load_members") or False,
        include_redundant_members=_flag(given, "include_redundant_members") or False,
        unread_thread_notifications=_flag(given, "unread_thread_notifications") or False,
        related_by_senders=_strings(given, "related_by_senders", ids.parse_user_id),
        related_by_rel_types=_strings(given, "related_by_rel_types"),
    )


def _event_filter(value: Any, what: str) -> EventFilter:
    given = _object(value, what)
    return EventFilter(
        limit=_limit(given),
        types=_types(given, "types"),
        not_types=_types(given, "not_types") or TypeSet(),
        senders=_strings(given, "senders", ids.parse_user_id),
        not_senders=_strings(given, "not_senders", ids.parse_user_id) or frozenset(),
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MatrixError(ErrCode.BAD_JSON, f"{what} must be an object")
    return value


def _limit(given: dict[str, Any]) -> int | None:
    if "limit" not in given:
        return None
    limit = given["limit"]
    if type(limit) is not int:
        raise MatrixError(ErrCode.BAD_JSON, "limit must be an integer")
    if limit < 0:  # NOTSPEC: 0 is let through; clients ask so for a sync without events
        raise MatrixError(ErrCode.INVALID_PARAM, "limit must not be negative")
    return min(limit, MAX_LIMIT)


def _flag(given: dict[str, Any], key: str) -> bool | None:
    value = given.get(key)
    if key in given and not isinstance(value, bool):
        raise MatrixError(ErrCode.BAD_JSON, f"{key} must be a boolean")
    return value


def _string_list(given: dict[str, Any], key: str) -> list[str] | None:
    if key not in given:
        return None
    value = given[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MatrixError(ErrCode.BAD_JSON, f"{key} must be a list of strings")
    if len(value) > _MAX_ITEMS or any(len(item) > _MAX_TEXT for item in value):
        raise MatrixError(
            ErrCode.INVALID_PARAM, f"{key} may hold at most {_MAX_ITEMS:,} texts of at most {_MAX_TEXT:,} characters"
        )
    return value


def _strings(given: dict[str, Any], key: str, check: Callable[[str], str] | None = None) -> frozenset[str] | None:
    value = _string_list(given, key)
    if value is None:
        return None
    if check is not None:
        for item in value:
            check(item)
    return frozenset(value)


def _types(given: dict[str, Any], key: str) -> TypeSet | None:
    value = _string_list(given, key)
    if value is None:
        return None
    patterns = {tuple(item.split("*")) for item in value if "*" in item}
    if len(patterns) > _MAX_WILDCARDS:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{key} may hold at most {_MAX_WILDCARDS} wildcards")
    return TypeSet(frozenset(item for item in value if "*" not in item), tuple(sorted(patterns)))


def _matches_pattern(text: str, parts: tuple[str, ...]) -> bool:
    """Whether `text` is `parts` with anything between them.

    Taking the first place for each part is enough, so unlike a regular expression this cannot backtrack.
    """
    first, *middle, last = parts
    end = len(text) - len(last)
    if end < len(first) or not text.startswith(first) or not text.endswith(last):
        return False
    position = len(first)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _event_fields(given: dict[str, Any]) -> EventFields | None:
    paths = _string_list(given, "event_fields")
    return None if paths is None else EventFields(_tree(map(_split_path, paths)))


def _tree(paths: Iterable[list[str]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    # Longest first: a short path then empties the branch that longer ones have grown, because it wants all of it.
    for path in sorted(paths, key=len, reverse=True):
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = {}
    return tree


def _split_path(path: str) -> list[str]:
    keys = split_path(path)
    if len(keys) > MAX_DEPTH:
        raise MatrixError(ErrCode.INVALID_PARAM, f"event_fields may be at most {MAX_DEPTH} keys deep")
    return keys
