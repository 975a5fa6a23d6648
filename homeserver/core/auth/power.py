"""Power levels: reading them leniently out of state, and the rule for changing them.

A malformed level in a room's state counts as absent (old versions accept such events); a level in a new event is held
to the rules of its version.
spec: client-server-api#mroompower_levels, rooms/v12#authorisation-rules (rule 10)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from homeserver.core.auth.create import creator_of, is_user_id, privileged_creators
from homeserver.core.auth.state import CREATE, POWER_LEVELS, StateView
from homeserver.core.errors import NotAllowed
from homeserver.core.event import Event
from homeserver.core.versions import RoomVersion

Level = float
"""A power level: an int, or INFINITE for the creators of v12."""

INFINITE: Level = math.inf

_DEFAULTS = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "redact": 50,
    "kick": 50,
    "invite": 0,
}
_STRING_LEVEL = re.compile(r"\s*([+-]?)0*([0-9]{1,19})\s*", re.ASCII)
_ABSENT: Mapping[str, Any] = {}


class PowerLevels:
    """The power levels of a room at some point."""

    __slots__ = ("_content", "_creator", "_privileged", "_version")

    def __init__(self, version: RoomVersion, create: Event | None, power_levels: Event | None) -> None:
        """`create` and `power_levels` are the room's state events of these types, None where it has none."""
        self._version = version
        self._content = power_levels.content if power_levels is not None else None
        self._creator = creator_of(create) if create is not None else None
        self._privileged = privileged_creators(create) if create is not None else frozenset()

    @classmethod
    def of(cls, state: StateView, version: RoomVersion) -> PowerLevels:
        """The power levels in `state`."""
        return cls(version, state.get(*CREATE), state.get(*POWER_LEVELS))

    def user(self, user_id: str) -> Level:
        """The level of a user; infinite for the creators of v12."""
        if user_id in self._privileged:
            return INFINITE
        if self._content is None:
            # Without power levels the creator has 100 and all others 0.  spec: client-server-api#mroompower_levels
            return 100 if user_id == self._creator else 0
        level = parse_level(_object(self._content, "users").get(user_id), self._version)
        return self.named("users_default") if level is None else level

    def event(self, event_type: str, *, is_state: bool) -> Level:
        """The level required to send an event of this type (membership and redaction have more rules)."""
        level = parse_level(_object(self._content or _ABSENT, "events").get(event_type), self._version)
        return self.named("state_default" if is_state else "events_default") if level is None else level

    def named(self, name: str) -> Level:
        """One of users_default, events_default, state_default, ban, redact, kick, invite; its default if absent."""
        level = parse_level((self._content or _ABSENT).get(name), self._version)
        return _DEFAULTS[name] if level is None else level

    def notification(self, key: str) -> Level:
        """The level required to trigger a notification such as `room`, 50 by default."""
        level = parse_level(_object(self._content or _ABSENT, "notifications").get(key), self._version)
        return 50 if level is None else level


def parse_level(value: Any, version: RoomVersion) -> int | None:
    """`value` as a power level of this version; None if it is none.

    Versions 1 to 9 accept strings, those before canonical JSON floats as well.
    spec: rooms/v1#mroompower_levels-events-accept-values-as-strings
    """
    if type(value) is int:  # bool is an int to Python, not to JSON
        return value
    if version.auth.integer_power_levels_only:
        return None
    if isinstance(value, str):
        match = _STRING_LEVEL.fullmatch(value)
        return int(match[1] + match[2]) if match else None
    if isinstance(value, float) and math.isfinite(value) and not version.strict_canonical_json:
        return int(value)
    return None


def check_power_levels(event: Event, state: StateView) -> None:
    """Rule 10 (in v6 to v11: 9) for an m.room.power_levels event. Raises NotAllowed.

    Steps are numbered as in v12; to v9 its steps 1, 2 and 4 do not exist.
    """
    version = event.version
    _check_shape(event)
    # 10.4 [from v12] If users contains the sender of the create event or any of its additional_creators, reject.
    create = state.get(*CREATE)
    if create is not None and not privileged_creators(create).isdisjoint(_object(event.content, "users")):
        raise NotAllowed("Creators of the room cannot be given a power level")
    # 10.5 If there is no previous m.room.power_levels event in the room, allow.
    previous = state.get(*POWER_LEVELS)
    if previous is None:
        return
    own = PowerLevels.of(state, version).user(event.sender)
    # 10.6 For users_default, events_default, state_default, ban, redact, kick, invite, if added, changed or removed:
    for name, old, new in _changes(previous.content, event.content, version, frozenset(_DEFAULTS)):
        _check_change(name, old, new, own)
    # 10.7, 10.8 For each entry added, changed or removed in events or [from v6] notifications:
    tables = ("events", "notifications") if version.auth.notification_levels_checked else ("events",)
    for table in tables:
        for name, old, new in _changes(_object(previous.content, table), _entries(event.content, table), version):
            _check_change(name, old, new, own)
    for user, old, new in _changes(_object(previous.content, "users"), _entries(event.content, "users"), version):
        # 10.9 For each entry changed in or removed from users, other than the sender's own:
        #      If the current value is greater than or equal to the sender's current power level, reject.
        if old is not None and user != event.sender and old >= own:
            raise NotAllowed(f"Not enough power to change the level of {user}")
        # 10.10 For each entry added or changed: if the new value is greater than the sender's level, reject.
        if new is not None and new > own:
            raise NotAllowed(f"Not enough power to give {user} the level {new}")
    # 10.11 Otherwise, allow.


def _check_shape(event: Event) -> None:
    """Steps 10.1 to 10.3, and for older versions their only such step, 10.1 (9.1)."""
    if event.version.auth.integer_power_levels_only:
        # 10.1 [from v10] If any of users_default … invite is present and not an integer, reject.
        for name in _DEFAULTS:
            if name in event.content and parse_level(event.content[name], event.version) is None:
                raise NotAllowed(f"{name} must be an integer")
        # 10.2 [from v10] If events or notifications is present and not an object of integers, reject.
        for table in ("events", "notifications"):
            _check_levels(event, table)
    # 10.3 If users is not an object with keys that are valid user IDs with values that are integers
    #      [to v9: or a string that is an integer], reject.
    _check_levels(event, "users")
    for user in _object(event.content, "users"):
        if not is_user_id(user):
            raise NotAllowed("users must be keyed by user ids")


def _check_levels(event: Event, table: str) -> None:
    for name, value in _entries(event.content, table).items():
        if parse_level(value, event.version) is None:
            raise NotAllowed(f"{table}: the level of {name} must be an integer")


def _check_change(name: str, old: int | None, new: int | None, own: Level) -> None:
    # If the current value is greater than the sender's current power level, reject.
    if old is not None and old > own:
        raise NotAllowed(f"Not enough power to change {name}")
    # If the new value is greater than the sender's current power level, reject.
    if new is not None and new > own:
        raise NotAllowed(f"Not enough power to set {name} to {new}")


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], version: RoomVersion, names: frozenset[str] | None = None
) -> Iterator[tuple[str, int | None, int | None]]:
    """What differs between two tables of levels, as (name, old or None, new or None); "50" and 50 do not differ.

    Raises NotAllowed for a new value that is no level: to v9 no earlier step has looked at it.
    """
    for name in (old.keys() | new.keys()) & names if names is not None else old.keys() | new.keys():
        before = parse_level(old.get(name), version)
        after = parse_level(new.get(name), version)
        if after is None and name in new:
            raise NotAllowed(f"{name} must be an integer")
        if before != after:
            yield name, before, after


def _entries(content: Mapping[str, Any], table: str) -> Mapping[str, Any]:
    """A table of a new event. Raises NotAllowed if it is there and not an object."""
    value = content.get(table, _ABSENT)
    if not isinstance(value, dict) and value is not _ABSENT:
        raise NotAllowed(f"{table} must be an object")
    return value


def _object(content: Mapping[str, Any], table: str) -> Mapping[str, Any]:
    """A table of an event in state, empty if it is missing or malformed."""
    value = content.get(table)
    return value if isinstance(value, dict) else _ABSENT
