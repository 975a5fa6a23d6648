"""Which push rule an event meets, and what follows from it.

A user's rules are compiled once and then asked for every event. Rules themselves, their defaults and their changes
are `pushrules`; who is told about the outcome is the business of the services.
spec: client-server-api#push-rules
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.core.globs import compile_glob, compile_literal
from homeserver.core.paths import look_up, split_path
from homeserver.core.pushrules import Rule, RuleSet

_ABSENT: Any = object()
_BODY = ["content", "body"]
_DEFAULT_NOTIFICATION_LEVEL = 50  # spec: client-server-api#mroompower_levels
_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,16})", re.ASCII)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """What conditions ask about the room at the event, and about the owner of the rules in it."""

    member_count: int
    sender_level: float
    """Power level of the event's sender; infinite for creators of rooms of version 12."""
    notification_levels: Mapping[str, Any] = field(default_factory=dict)
    """`notifications` of m.room.power_levels."""
    display_name: str | None = None
    """The owner's display name in the room."""


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """What the owner of the rules is told about an event."""

    notify: bool = False
    tweaks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def highlight(self) -> bool:
        """Whether the event is to stand out."""
        return self.notify and self.tweaks.get("highlight") is True


NOTHING = PushOutcome()

_Test = Callable[[Mapping[str, Any], RoomFacts], bool]


@dataclass(frozen=True, slots=True)
class _Compiled:
    tests: tuple[_Test, ...]
    outcome: PushOutcome


class PushMatcher:
    """The enabled rules of one user, in the order they are checked."""

    def __init__(self, user_id: str, rules: RuleSet) -> None:
        self._user_id = user_id
        self._rules = [
            _Compiled(tuple(_tests(kind, rule)), _outcome(rule.actions)) for kind, rule in rules.all() if rule.enabled
        ]

    def match(self, event: Mapping[str, Any], facts: RoomFacts) -> PushOutcome:
        """The outcome of the first rule that `event`, in client format, meets; nothing for the user's own events."""
        if event.get("sender") == self._user_id:
            return NOTHING
        for rule in self._rules:
            if all(test(event, facts) for test in rule.tests):
                return rule.outcome
        return NOTHING


def _outcome(actions: tuple[Any, ...]) -> PushOutcome:
    tweaks: dict[str, Any] = {}
    for action in actions:
        if isinstance(action, dict) and isinstance(name := action.get("set_tweak"), str):
            tweaks[name] = action.get("value", True if name == "highlight" else None)
    return PushOutcome("notify" in actions, tweaks)


def _tests(kind: str, rule: Rule) -> list[_Test]:
    if kind == "content":
        return [_matches_text(_BODY, rule.pattern or "")]
    if kind == "room":
        return [_is_value(["room_id"], rule.rule_id)]
    if kind == "sender":
        return [_is_value(["sender"], rule.rule_id)]
    return [_condition(condition) for condition in rule.conditions]


def _condition(condition: Mapping[str, Any]) -> _Test:
    """The test of a condition. One that is unknown or makes no sense matches nothing."""
    compile_test = _CONDITIONS.get(condition.get("kind", ""))
    return _never if compile_test is None else compile_test(condition) or _never


def _never(_event: Mapping[str, Any], _facts: RoomFacts) -> bool:
    return False


def _event_match(condition: Mapping[str, Any]) -> _Test | None:
    key, pattern = condition.get("key"), condition.get("pattern")
    if not isinstance(key, str) or not isinstance(pattern, str):
        return None
    return _matches_text(split_path(key), pattern)


def _matches_text(path: list[str], pattern: str) -> _Test:
    if path == _BODY and not pattern.strip("*").strip():
        return _never  # no word at all: it would be found in everything that anybody says
    glob = compile_glob(pattern)
    matches = glob.matches_words if path == _BODY else glob.matches

    def test(event: Mapping[str, Any], _facts: RoomFacts) -> bool:
        value = look_up(event, path, _ABSENT)
        return isinstance(value, str) and matches(value)

    return test


def _event_property_is(condition: Mapping[str, Any]) -> _Test | None:
    key, value = condition.get("key"), condition.get("value", _ABSENT)
    if not isinstance(key, str) or not _is_simple(value):
        return None
    return _is_value(split_path(key), value)


def _is_value(path: list[str], wanted: Any) -> _Test:
    def test(event: Mapping[str, Any], _facts: RoomFacts) -> bool:
        return _same(look_up(event, path, _ABSENT), wanted)

    return test


def _event_property_contains(condition: Mapping[str, Any]) -> _Test | None:
    key, wanted = condition.get("key"), condition.get("value", _ABSENT)
    if not isinstance(key, str) or not _is_simple(wanted):
        return None
    path = split_path(key)

    def test(event: Mapping[str, Any], _facts: RoomFacts) -> bool:
        values = look_up(event, path, _ABSENT)
        return isinstance(values, list) and any(_same(value, wanted) for value in values)

    return test


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, str | int)  # booleans are integers to Python


def _same(value: Any, wanted: Any) -> bool:
    """Equal without casts: 1 is not true."""
    return type(value) is type(wanted) and bool(value == wanted)


def _contains_display_name(_condition: Mapping[str, Any]) -> _Test:
    def test(event: Mapping[str, Any], facts: RoomFacts) -> bool:
        body = look_up(event, _BODY, _ABSENT)
        if not facts.display_name or not facts.display_name.strip() or not isinstance(body, str):
            return False
        return compile_literal(facts.display_name).matches_words(body)

    return test


def _room_member_count(condition: Mapping[str, Any]) -> _Test | None:
    wanted = condition.get("is")
    match = _COUNT.fullmatch(wanted) if isinstance(wanted, str) else None
    if match is None:
        return None
    compare, count = _COMPARE[match[1] or "=="], int(match[2])
    return lambda _event, facts: compare(facts.member_count, count)


def _sender_notification_permission(condition: Mapping[str, Any]) -> _Test | None:
    key = condition.get("key")
    if not isinstance(key, str):
        return None

    def test(_event: Mapping[str, Any], facts: RoomFacts) -> bool:
        level = facts.notification_levels.get(key)
        return facts.sender_level >= (level if type(level) is int else _DEFAULT_NOTIFICATION_LEVEL)

    return test


_CONDITIONS: dict[Any, Callable[[Mapping[str, Any]], _Test | None]] = {
    "contains_display_name": _contains_display_name,
    "event_match": _event_match,
    "event_property_contains": _event_property_contains,
    "event_property_is": _event_property_is,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}
