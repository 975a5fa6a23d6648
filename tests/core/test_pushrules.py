"""Push rules: the defaults, changes, and what events do with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from homeserver.core import pushrules
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.pushmatch import PushMatcher, RoomFacts
from homeserver.core.pushrules import RuleSet, default_rules, parse_rule, restore_rules

ME = "@me:hromada.test"
BOB = "@bob:hromada.test"
CROWD = RoomFacts(member_count=10, sender_level=0)
PAIR = RoomFacts(member_count=2, sender_level=0)
SOUND = {"set_tweak": "sound", "value": "default"}
HIGHLIGHT = {"set_tweak": "highlight"}


def event(type_: str = "m.room.message", content: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": type_,
        "content": {"msgtype": "m.text", "body": "hello"} if content is None else content,
        "sender": BOB,
        "room_id": "!room:hromada.test",
        "event_id": "$event",
        **more,
    }


def own(kind: str, rule_id: str, **body: Any) -> RuleSet:
    return default_rules(ME).put(kind, parse_rule(kind, rule_id, {"actions": ["notify"], **body}))


def rule_ids(rules: RuleSet, kind: str) -> list[str]:
    return [rule.rule_id for rule in rules.of(kind)]


@contextmanager
def refused(code: ErrCode, status: int | None = None) -> Iterator[None]:
    with pytest.raises(MatrixError) as caught:
        yield
    assert caught.value.code is code
    assert status in (None, caught.value.status)


# --- defaults ---


def test_defaults_are_those_of_the_specification() -> None:
    rules = default_rules(ME)
    assert rule_ids(rules, "override") == [
        f".m.rule.{name}"
        for name in (
            "master",
            "suppress_notices",
            "invite_for_me",
            "member_event",
            "is_user_mention",
            "is_room_mention",
            "tombstone",
            "reaction",
            "room.server_acl",
            "suppress_edits",
        )
    ]
    assert rule_ids(rules, "underride") == [
        f".m.rule.{name}" for name in ("call", "encrypted_room_one_to_one", "room_one_to_one", "message", "encrypted")
    ]
    assert rules.to_json()["override"][4] == {
        "rule_id": ".m.rule.is_user_mention",
        "default": True,
        "enabled": True,
        "conditions": [
            {"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": ME},
        ],
        "actions": ["notify", SOUND, HIGHLIGHT],
    }
    assert [rule.rule_id for _, rule in rules.all() if not rule.enabled] == [".m.rule.master"]


@pytest.mark.parametrize(
    ("given", "facts", "notify", "tweaks"),
    [
        (event(), CROWD, True, {}),
        (event(), PAIR, True, {"sound": "default"}),
        (event(content={"msgtype": "m.notice", "body": "hello"}), PAIR, False, {}),
        (event("m.room.encrypted", {}), CROWD, True, {}),
        (event("m.room.encrypted", {}), PAIR, True, {"sound": "default"}),
        (event("m.call.invite", {}), CROWD, True, {"sound": "ring"}),
        (event("m.room.member", {"membership": "invite"}, state_key=ME), CROWD, True, {"sound": "default"}),
        (event("m.room.member", {"membership": "invite"}, state_key=BOB), CROWD, False, {}),
        (event("m.room.member", {"membership": "join"}, state_key=ME), CROWD, False, {}),
        (event("m.room.tombstone", {}, state_key=""), CROWD, True, {"highlight": True}),
        (event("m.room.tombstone", {}), CROWD, False, {}),
        (event("m.room.tombstone", {}, state_key="x"), CROWD, False, {}),
        (event("m.reaction", {}), PAIR, False, {}),
        (event("m.room.server_acl", {}, state_key=""), PAIR, False, {}),
        (event(content={"body": "* x", "m.relates_to": {"rel_type": "m.replace"}}), PAIR, False, {}),
        (
            event(content={"body": "x", "m.mentions": {"user_ids": [BOB, ME]}}),
            CROWD,
            True,
            {"sound": "default", "highlight": True},
        ),
        (event(content={"body": "x", "m.mentions": {"user_ids": [BOB]}}), CROWD, True, {}),
        (event(content={"body": "x", "m.mentions": {"user_ids": ME}}), CROWD, True, {}),
        (event(content={"body": ME}), CROWD, True, {}),  # no legacy mentions
        (event(content={"body": "x", "m.mentions": {"room": True}}), CROWD, True, {}),
        (event(content={"m.mentions": {"room": True}}), RoomFacts(9, 50), True, {"highlight": True}),
        (event(content={"m.mentions": {"room": 1}}), RoomFacts(9, 50), True, {}),
        (event(content={"m.mentions": {"room": True}}), RoomFacts(9, 50, {"room": 51}), True, {}),
        (event(content={"m.mentions": {"room": True}}), RoomFacts(9, 0, {"room": 0}), True, {"highlight": True}),
        (event("org.example.other", {}), PAIR, False, {}),
        (event(sender=ME), PAIR, False, {}),
    ],
)
def test_default_outcomes(given: dict[str, Any], facts: RoomFacts, notify: bool, tweaks: dict[str, Any]) -> None:
    outcome = PushMatcher(ME, default_rules(ME)).match(given, facts)
    assert (outcome.notify, outcome.tweaks) == (notify, tweaks)
    assert outcome.highlight is bool(tweaks.get("highlight"))


def test_the_master_rule_silences_everything() -> None:
    rules = own("override", "all").set_enabled("override", ".m.rule.master", True)
    assert not PushMatcher(ME, rules).match(event(), PAIR).notify


# --- conditions ---


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"kind": "event_match", "key": "content.body", "pattern": "hello"}, True),
        ({"kind": "event_match", "key": "content.body", "pattern": "ell"}, False),
        ({"kind": "event_match", "key": "content.topic", "pattern": "the*"}, True),
        ({"kind": "event_match", "key": "content.topic", "pattern": "topic"}, False),
        ({"kind": "event_match", "key": "content.number", "pattern": "*"}, False),
        ({"kind": "event_match", "key": "content.absent", "pattern": "*"}, False),
        ({"kind": "event_match", "key": r"content.dotted\.key", "pattern": "x"}, True),
        ({"kind": "event_match", "key": "content.body"}, False),
        ({"kind": "event_property_is", "key": "content.number", "value": 1}, True),
        ({"kind": "event_property_is", "key": "content.number", "value": True}, False),
        ({"kind": "event_property_is", "key": "content.true", "value": 1}, False),
        ({"kind": "event_property_is", "key": "content.null", "value": None}, True),
        ({"kind": "event_property_is", "key": "content.absent", "value": None}, False),
        ({"kind": "event_property_is", "key": "content.number"}, False),
        ({"kind": "event_property_is", "key": "content.list", "value": [1, "a"]}, False),
        ({"kind": "event_property_contains", "key": "content.list", "value": "a"}, True),
        ({"kind": "event_property_contains", "key": "content.list", "value": True}, False),
        ({"kind": "event_property_contains", "key": "content.body", "value": "h"}, False),
        ({"kind": "contains_display_name"}, True),
        ({"kind": "room_member_count", "is": "3"}, True),
        ({"kind": "room_member_count", "is": "==3"}, True),
        ({"kind": "room_member_count", "is": "<3"}, False),
        ({"kind": "room_member_count", "is": "<=3"}, True),
        ({"kind": "room_member_count", "is": ">2"}, True),
        ({"kind": "room_member_count", "is": ">=4"}, False),
        ({"kind": "room_member_count", "is": "=3"}, False),
        ({"kind": "room_member_count", "is": "٣"}, False),
        ({"kind": "room_member_count", "is": 3}, False),
        ({"kind": "sender_notification_permission", "key": "room"}, True),
        ({"kind": "sender_notification_permission", "key": "other"}, False),
        ({"kind": "sender_notification_permission"}, False),
        ({"kind": "org.example.unknown"}, False),
    ],
)
def test_conditions(condition: dict[str, Any], expected: bool) -> None:
    facts = RoomFacts(3, 20, {"room": 20}, "Hello")
    content = {
        "body": "oh, hello!",
        "topic": "The topic",
        "number": 1,
        "true": True,
        "null": None,
        "list": [1, "a"],
        "dotted.key": "x",
    }
    matcher = PushMatcher(ME, own("override", "test", conditions=[condition]))
    assert matcher.match(event("org.example.test", content), facts).notify is expected


def test_kinds_match_by_pattern_room_and_sender() -> None:
    other = event("org.example.test", {"body": "A piece of cake"})
    for rules in (
        own("content", "any", pattern="c?ke"),
        own("room", "!room:hromada.test"),
        own("sender", BOB),
    ):
        assert PushMatcher(ME, rules).match(other, PAIR).notify
    assert not PushMatcher(ME, own("room", "!other:hromada.test")).match(other, PAIR).notify
    assert not PushMatcher(ME, own("sender", "@*:hromada.test")).match(other, PAIR).notify


@pytest.mark.parametrize("pattern", ["", " ", "*", "**", "* *"])
def test_patterns_without_a_word_match_nothing(pattern: str) -> None:
    """matrix-org/dendrite#2897: an empty pattern matched everything."""
    spoken = event("org.example.test", {"body": "a piece of cake"})
    assert not PushMatcher(ME, own("content", "none", pattern=pattern)).match(spoken, PAIR).notify
    condition = {"kind": "event_match", "key": "content.body", "pattern": pattern}
    assert not PushMatcher(ME, own("override", "none", conditions=[condition])).match(spoken, PAIR).notify


@pytest.mark.parametrize(("name", "expected"), [("", False), (" ", False), ("\t\n", False), (None, False), ("a", True)])
def test_a_blank_display_name_is_in_nothing(name: str | None, expected: bool) -> None:
    rules = own("override", "name", conditions=[{"kind": "contains_display_name"}])
    facts = RoomFacts(2, 0, display_name=name)
    spoken = event("org.example.test", {"body": "a piece \t\n of cake"})
    assert PushMatcher(ME, rules).match(spoken, facts).notify is expected


@pytest.mark.parametrize(
    ("pattern", "body", "expected"),
    [
        ("D'Angelo", "ask D'Angelo!", True),
        ("Angelo", "ask D'Angelo!", True),
        ("name", "see http://x/name", True),
        ("name", "mail name@example.org", True),
        ("c++", "I like c++ a lot", True),
        ("c++", "I like C++", True),
        ("@all", "hello @all!", True),
        ("@all", "hello all", False),
        ("name", "_name_", False),
        ("name", "name_2", False),
        ("name", "names", False),
        ("name", "one\nname\r\ntwo", True),
        ("two words", "here are two words.", True),
    ],
)
def test_words_and_their_boundaries(pattern: str, body: str, expected: bool) -> None:
    """element-hq/synapse#7862, #2500.  spec: client-server-api#push-rules"""
    spoken = event("org.example.test", {"body": body})
    assert PushMatcher(ME, own("content", "word", pattern=pattern)).match(spoken, PAIR).notify is expected


def test_kinds_are_checked_in_order() -> None:
    rules = own("room", "!room:hromada.test", actions=[])
    assert not PushMatcher(ME, rules).match(event(), PAIR).notify
    rules = rules.put("content", parse_rule("content", "hello", {"pattern": "hello", "actions": ["notify"]}))
    assert PushMatcher(ME, rules).match(event(), PAIR).notify


# --- changes ---


def test_new_rules_come_first_and_places_are_kept() -> None:
    rules = default_rules(ME)
    for name in ("a", "b", "c"):
        rules = rules.put("override", parse_rule("override", name, {"actions": []}))
    assert rule_ids(rules, "override")[:5] == [".m.rule.master", "c", "b", "a", ".m.rule.suppress_notices"]
    b = parse_rule("override", "b", {"actions": ["notify"]})
    rules = rules.set_enabled("override", "b", False).put("override", b)
    assert rule_ids(rules, "override")[1:4] == ["c", "b", "a"]
    assert rules.get("override", "b").actions == ("notify",) and not rules.get("override", "b").enabled
    assert rule_ids(rules.put("override", b, before="c"), "override")[1:4] == ["b", "c", "a"]
    assert rule_ids(rules.put("override", b, after="a"), "override")[1:4] == ["c", "a", "b"]
    assert rule_ids(rules.put("override", b, before="a", after="c"), "override")[1:4] == ["c", "b", "a"]
    assert rule_ids(rules.remove("override", "b"), "override")[1:3] == ["c", "a"]


@pytest.mark.parametrize("beside", ["absent", ".m.rule.master", "a"])
def test_a_place_is_beside_another_rule_of_the_user(beside: str) -> None:
    rule = parse_rule("override", "a", {"actions": []})
    with refused(ErrCode.UNKNOWN, 400):
        default_rules(ME).put("override", rule).put("override", rule, after=beside)


def test_default_rules_change_but_stay() -> None:
    rules = default_rules(ME).set_actions("underride", ".m.rule.message", ["notify", HIGHLIGHT])
    assert PushMatcher(ME, rules).match(event(), CROWD).highlight
    with refused(ErrCode.INVALID_PARAM):
        rules.remove("underride", ".m.rule.message")


def test_restoring_gives_the_same_rules() -> None:
    rules = (
        own("content", "cake", pattern="cake")
        .put("override", parse_rule("override", "x", {"actions": [], "conditions": [{"kind": "k", "y": [1]}]}))
        .set_enabled("override", ".m.rule.reaction", False)
        .set_actions("underride", ".m.rule.message", [])
    )
    stored = json.loads(json.dumps(rules.to_json()))
    assert restore_rules(ME, stored).to_json() == rules.to_json()


def test_restoring_brings_new_defaults_and_drops_old_ones() -> None:
    stored = default_rules(ME).to_json()
    stored["override"] = [rule for rule in stored["override"] if rule["rule_id"] != ".m.rule.reaction"]
    stored["content"].append(
        {"rule_id": ".m.rule.old", "default": True, "enabled": True, "actions": [], "pattern": "x"}
    )
    assert restore_rules(ME, stored).to_json() == default_rules(ME).to_json()


@pytest.mark.parametrize(
    ("kind", "rule_id", "body", "code"),
    [
        ("other", "a", {"actions": []}, ErrCode.INVALID_PARAM),
        ("override", ".a", {"actions": []}, ErrCode.INVALID_PARAM),
        ("override", "a/b", {"actions": []}, ErrCode.INVALID_PARAM),
        ("override", "a\\b", {"actions": []}, ErrCode.INVALID_PARAM),
        ("override", "é" * 151, {"actions": []}, ErrCode.INVALID_PARAM),
        ("override", "a", {}, ErrCode.MISSING_PARAM),
        ("override", "a", {"actions": "notify"}, ErrCode.BAD_JSON),
        ("override", "a", {"actions": ["shout"]}, ErrCode.INVALID_PARAM),
        ("override", "a", {"actions": [1]}, ErrCode.INVALID_PARAM),
        ("override", "a", {"actions": [{"set_tweak": 1}]}, ErrCode.INVALID_PARAM),
        ("override", "a", {"actions": [], "conditions": {}}, ErrCode.BAD_JSON),
        ("override", "a", {"actions": [], "conditions": [{}]}, ErrCode.BAD_JSON),
        ("content", "a", {"actions": []}, ErrCode.MISSING_PARAM),
        ("content", "a", {"actions": [], "pattern": 1}, ErrCode.BAD_JSON),
        ("content", "a", {"actions": [], "pattern": "*a" * 600}, ErrCode.TOO_LARGE),
    ],
)
def test_refused_rules(kind: str, rule_id: str, body: dict[str, Any], code: ErrCode) -> None:
    with refused(code):
        parse_rule(kind, rule_id, body)


def test_historical_actions_are_stripped() -> None:
    assert parse_rule("room", "!r", {"actions": ["dont_notify", "coalesce"]}).actions == ()


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushrules, "MAX_RULES", 2)
    rules = own("content", "a", pattern="a").put("room", parse_rule("room", "!b", {"actions": []}))
    rules.put("room", parse_rule("room", "!b", {"actions": ["notify"]}))
    with refused(ErrCode.TOO_LARGE):
        rules.put("sender", parse_rule("sender", "@c", {"actions": []}))
