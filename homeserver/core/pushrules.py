"""Push rules of one user: the server's defaults, the user's own, and every change a client can make to them.

Rule sets are immutable; a change gives a new one. What an event does with them is `pushmatch`.
spec: client-server-api#push-rules, client-server-api#predefined-rules
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError

KINDS = ("override", "content", "room", "sender", "underride")
"""Kinds of rules in the order they are checked."""

MAX_RULES = 10_000
MAX_ID_BYTES = 300
MAX_BODY_BYTES = 1_024

MASTER = ".m.rule.master"

_WITH_CONDITIONS = frozenset({"override", "underride"})
_HISTORICAL_ACTIONS = frozenset({"coalesce", "dont_notify"})

_NOTIFY_SOUND = ("notify", {"set_tweak": "sound", "value": "default"})
_NOTIFY_HIGHLIGHT = ("notify", {"set_tweak": "highlight"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `conditions` are those of override and underride rules, `pattern` that of a content rule."""

    rule_id: str
    actions: tuple[Any, ...]
    conditions: tuple[Mapping[str, Any], ...] = ()
    pattern: str | None = None
    enabled: bool = True
    default: bool = False

    def to_json(self, kind: str) -> dict[str, Any]:
        """The rule as clients see it."""
        shown: dict[str, Any] = {
            "rule_id": self.rule_id,
            "default": self.default,
            "enabled": self.enabled,
            "actions": list(self.actions),
        }
        if kind in _WITH_CONDITIONS:
            shown["conditions"] = list(self.conditions)
        if self.pattern is not None:
            shown["pattern"] = self.pattern
        return shown


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a user. Per kind, the most important rule comes first."""

    defaults: Mapping[str, tuple[Rule, ...]]
    own: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)

    def of(self, kind: str) -> list[Rule]:
        """The rules of one kind in order: the user's own before the defaults, but none before the master rule."""
        defaults = self.defaults.get(kind, ())
        own = self.own.get(kind, ())
        first = [rule for rule in defaults if rule.rule_id == MASTER]
        return [*first, *own, *defaults[len(first) :]]

    def all(self) -> Iterator[tuple[str, Rule]]:
        """(kind, rule) in the order in which rules are checked."""
        for kind in KINDS:
            for rule in self.of(kind):
                yield kind, rule

    def to_json(self) -> dict[str, Any]:
        """Kind → rules, as clients see them."""
        return {kind: [rule.to_json(kind) for rule in self.of(kind)] for kind in KINDS}

    def get(self, kind: str, rule_id: str) -> Rule:
        """One rule. Raises MatrixError: NOT_FOUND, or INVALID_PARAM for an unknown kind."""
        _check_kind(kind)
        for rule in self.of(kind):
            if rule.rule_id == rule_id:
                return rule
        raise MatrixError(ErrCode.NOT_FOUND, "The push rule was not found")

    def put(self, kind: str, rule: Rule, *, before: str | None = None, after: str | None = None) -> RuleSet:
        """With a rule of the user added or replaced; `before` counts if both places are given.

        A replaced rule stays enabled or disabled, and in its place unless another is given.
        Raises MatrixError: UNKNOWN if the rule to be placed by is none of the user's, TOO_LARGE for too many rules.
        spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleid
        """
        own = list(self.own.get(kind, ()))
        place = _index(own, rule.rule_id)
        if place is None:
            if sum(map(len, self.own.values())) >= MAX_RULES:
                raise MatrixError(ErrCode.TOO_LARGE, f"A user can have at most {MAX_RULES} push rules")
            place = 0
        else:
            rule = replace(rule, enabled=own.pop(place).enabled)
        beside = before if before is not None else after
        if beside is not None:
            found = _index(own, beside)
            if found is None:
                raise MatrixError(ErrCode.UNKNOWN, f"before/after rule not found: {beside}")
            place = found if before is not None else found + 1
        own.insert(place, rule)
        return self._with_own(kind, own)

    def remove(self, kind: str, rule_id: str) -> RuleSet:
        """Without a rule of the user. Raises MatrixError: NOT_FOUND, or INVALID_PARAM for a default rule."""
        if self.get(kind, rule_id).default:
            raise MatrixError(ErrCode.INVALID_PARAM, "Server-default rules cannot be deleted")
        return self._with_own(kind, [rule for rule in self.own[kind] if rule.rule_id != rule_id])

    def set_enabled(self, kind: str, rule_id: str, enabled: bool) -> RuleSet:
        """With a rule, default ones included, enabled or disabled. Raises as `get`."""
        return self._replacing(kind, replace(self.get(kind, rule_id), enabled=enabled))

    def set_actions(self, kind: str, rule_id: str, actions: Any) -> RuleSet:
        """With other actions of a rule, default ones included. Raises as `get` and `parse_rule`."""
        rule = replace(self.get(kind, rule_id), actions=_actions(actions))
        _check_size(rule)
        return self._replacing(kind, rule)

    def _replacing(self, kind: str, rule: Rule) -> RuleSet:
        rules = self.defaults if rule.default else self.own
        changed = {
            **rules,
            kind: tuple(rule if known.rule_id == rule.rule_id else known for known in rules[kind]),
        }
        return replace(self, defaults=changed) if rule.default else replace(self, own=changed)

    def _with_own(self, kind: str, rules: Sequence[Rule]) -> RuleSet:
        return replace(self, own={**self.own, kind: tuple(rules)})


def default_rules(user_id: str) -> RuleSet:
    """What a user has who never changed a rule.  spec: client-server-api#predefined-rules"""
    return RuleSet({"override": _default_overrides(user_id), "underride": _default_underrides()})


def restore_rules(user_id: str, stored: Mapping[str, Any]) -> RuleSet:
    """The rules in what `RuleSet.to_json` gave earlier, perhaps under an older version of the server.

    Of a default rule only what a user can change is taken from there: so new defaults appear and old ones go.
    """
    rules = default_rules(user_id)
    defaults: dict[str, tuple[Rule, ...]] = {}
    own: dict[str, tuple[Rule, ...]] = {}
    for kind in KINDS:
        saved = {rule["rule_id"]: rule for rule in stored.get(kind, ())}
        defaults[kind] = tuple(_changed_by(rule, saved.get(rule.rule_id)) for rule in rules.defaults.get(kind, ()))
        own[kind] = tuple(_own_rule(rule) for rule in saved.values() if not rule["default"])
    return RuleSet(defaults, own)


def parse_rule(kind: str, rule_id: str, body: Mapping[str, Any]) -> Rule:
    """A rule as a client wants it, enabled.

    Raises MatrixError: INVALID_PARAM, MISSING_PARAM, BAD_JSON, TOO_LARGE.
    spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleid
    """
    _check_kind(kind)
    _check_id(rule_id)
    rule = Rule(
        rule_id,
        actions=_actions(body.get("actions")),
        conditions=_conditions(body.get("conditions", [])) if kind in _WITH_CONDITIONS else (),
        pattern=_pattern(body.get("pattern")) if kind == "content" else None,
    )
    _check_size(rule)
    return rule


def _index(rules: Sequence[Rule], rule_id: str) -> int | None:
    return next((index for index, rule in enumerate(rules) if rule.rule_id == rule_id), None)


def _changed_by(rule: Rule, saved: Mapping[str, Any] | None) -> Rule:
    if saved is None:
        return rule
    return replace(rule, enabled=saved["enabled"], actions=tuple(saved["actions"]))


def _own_rule(saved: Mapping[str, Any]) -> Rule:
    return Rule(
        saved["rule_id"],
        actions=tuple(saved["actions"]),
        conditions=tuple(saved.get("conditions", ())),
        pattern=saved.get("pattern"),
        enabled=saved["enabled"],
    )


# --- checks of what clients send ---


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise MatrixError(ErrCode.INVALID_PARAM, f"The kind of a push rule is one of {', '.join(KINDS)}")


def _check_id(rule_id: str) -> None:
    if not rule_id or len(rule_id.encode()) > MAX_ID_BYTES:
        raise MatrixError(ErrCode.INVALID_PARAM, f"The id of a push rule has between 1 and {MAX_ID_BYTES} bytes")
    if rule_id.startswith("."):
        raise MatrixError(ErrCode.INVALID_PARAM, "Ids with a dot at the start are the server's own")
    if not {"/", "\\"}.isdisjoint(rule_id):
        raise MatrixError(ErrCode.INVALID_PARAM, "The id of a push rule must not hold a slash or backslash")


def _actions(value: Any) -> tuple[Any, ...]:
    if value is None:
        raise MatrixError(ErrCode.MISSING_PARAM, "actions is missing")
    if not isinstance(value, list):
        raise MatrixError(ErrCode.BAD_JSON, "actions must be a list")
    actions = []
    for action in value:
        if isinstance(action, str) and action in _HISTORICAL_ACTIONS:
            continue  # spec: client-server-api#historical-actions
        if action != "notify" and not (isinstance(action, dict) and isinstance(action.get("set_tweak"), str)):
            raise MatrixError(ErrCode.INVALID_PARAM, "An action is either notify or an object with set_tweak")
        actions.append(action)
    return tuple(actions)


def _conditions(value: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list):
        raise MatrixError(ErrCode.BAD_JSON, "conditions must be a list")
    for condition in value:
        if not isinstance(condition, dict) or not isinstance(condition.get("kind"), str):
            raise MatrixError(ErrCode.BAD_JSON, "A condition is an object with a kind")
    return tuple(value)


def _pattern(value: Any) -> str:
    if value is None:
        raise MatrixError(ErrCode.MISSING_PARAM, "A content rule needs a pattern")
    if not isinstance(value, str):
        raise MatrixError(ErrCode.BAD_JSON, "pattern must be a string")
    return value


def _check_size(rule: Rule) -> None:
    body = [rule.actions, rule.conditions, rule.pattern]
    if len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_BODY_BYTES:
        raise MatrixError(ErrCode.TOO_LARGE, f"A push rule has at most {MAX_BODY_BYTES} bytes")


# --- the defaults, in the specification's order ---


def _matches(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _default(name: str, actions: tuple[Any, ...], *conditions: dict[str, Any], enabled: bool = True) -> Rule:
    return Rule(f".m.rule.{name}", actions, conditions, enabled=enabled, default=True)


def _default_overrides(user_id: str) -> tuple[Rule, ...]:  # spec: client-server-api#default-override-rules
    mentions_me = {"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": user_id}
    mentions_room = {"kind": "event_property_is", "key": r"content.m\.mentions.room", "value": True}
    may_notify_room = {"kind": "sender_notification_permission", "key": "room"}
    replaces = {"kind": "event_property_is", "key": r"content.m\.relates_to.rel_type", "value": "m.replace"}
    member = _matches("type", "m.room.member")
    invite = (_matches("content.membership", "invite"), _matches("state_key", user_id))
    of_room = _matches("state_key", "")
    return (
        _default("master", (), enabled=False),
        _default("suppress_notices", (), _matches("content.msgtype", "m.notice")),
        _default("invite_for_me", _NOTIFY_SOUND, member, *invite),
        _default("member_event", (), member),
        _default("is_user_mention", (*_NOTIFY_SOUND, {"set_tweak": "highlight"}), mentions_me),
        _default("is_room_mention", _NOTIFY_HIGHLIGHT, mentions_room, may_notify_room),
        _default("tombstone", _NOTIFY_HIGHLIGHT, _matches("type", "m.room.tombstone"), of_room),
        _default("reaction", (), _matches("type", "m.reaction")),
        _default("room.server_acl", (), _matches("type", "m.room.server_acl"), of_room),
        _default("suppress_edits", (), replaces),
    )


def _default_underrides() -> tuple[Rule, ...]:  # spec: client-server-api#default-underride-rules
    ring = ("notify", {"set_tweak": "sound", "value": "ring"})
    two_members = {"kind": "room_member_count", "is": "2"}
    encrypted, message = _matches("type", "m.room.encrypted"), _matches("type", "m.room.message")
    return (
        _default("call", ring, _matches("type", "m.call.invite")),
        _default("encrypted_room_one_to_one", _NOTIFY_SOUND, two_members, encrypted),
        _default("room_one_to_one", _NOTIFY_SOUND, two_members, message),
        _default("message", ("notify",), message),
        _default("encrypted", ("notify",), encrypted),
    )
