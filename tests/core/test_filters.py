"""Filters: validation, matching, wildcards and event fields."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.filters import (
    MAX_LIMIT,
    EventFilter,
    Filter,
    RoomEventFilter,
    apply_event_fields,
    parse_filter,
    parse_room_event_filter,
)
from tests.core.support import json_values

ALICE, BOB = "@alice:example.org", "@bob:example.org"
ROOM, OTHER = "!a:example.org", "!Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"


def error(value: Any) -> ErrCode:
    with pytest.raises(MatrixError) as caught:
        parse_filter(value)
    assert caught.value.status == 400
    return caught.value.code


def test_an_empty_filter_lets_everything_pass() -> None:
    assert parse_filter({}) == parse_filter({"unknown": 1, "room": {"timeline": {"x": []}}}) == Filter()
    assert Filter().room.timeline.matches("any", ALICE, ROOM, False)
    assert Filter().account_data.matches("m.direct", None)
    assert Filter().room.matches_room(ROOM)


def test_a_whole_filter() -> None:
    parsed = parse_filter(
        {
            "event_fields": ["content.body"],
            "event_format": "federation",
            "presence": {"not_senders": [ALICE]},
            "account_data": {"types": ["m.direct"], "limit": 5},
            "room": {
                "rooms": [ROOM],
                "not_rooms": [OTHER],
                "include_leave": True,
                "state": {"lazy_load_members": True, "include_redundant_members": True},
                "timeline": {
                    "limit": 10**9,
                    "contains_url": False,
                    "unread_thread_notifications": True,
                    "related_by_rel_types": ["m.thread"],
                    "related_by_senders": [BOB],
                },
            },
        }
    )
    assert parsed.federation_format and parsed.room.include_leave
    assert (parsed.account_data.limit, parsed.room.timeline.limit) == (5, MAX_LIMIT)
    assert parsed.room.state.lazy_load_members and parsed.room.state.include_redundant_members
    assert not parsed.room.timeline.lazy_load_members and parsed.room.timeline.unread_thread_notifications
    assert parsed.room.timeline.related_by_rel_types == frozenset({"m.thread"})
    assert parsed.room.timeline.related_by_senders == frozenset({BOB})
    assert parsed.room.matches_room(ROOM) and not parsed.room.matches_room(OTHER)
    assert not parsed.presence.matches("m.presence", ALICE) and parsed.presence.matches("m.presence", BOB)


def test_exclusion_wins_and_empty_lists_include_nothing() -> None:
    both = parse_room_event_filter({"types": ["a"], "not_types": ["a"], "senders": [ALICE], "rooms": [ROOM]})
    assert not both.matches("a", ALICE, ROOM, False)
    for key in ("types", "senders", "rooms"):
        assert not parse_room_event_filter({key: []}).matches("a", ALICE, ROOM, False)
        assert parse_room_event_filter({"not_" + key: []}).matches("a", ALICE, ROOM, False)
    for key, value in (("senders", ALICE), ("rooms", ROOM), ("types", "a")):
        for name, expected in ((key, True), ("not_" + key, False)):
            chosen = parse_room_event_filter({name: [value]})
            assert chosen.matches("a", ALICE, ROOM, False) is expected
            assert chosen.matches("b", BOB, OTHER, False) is not expected


def test_contains_url() -> None:
    for value in (True, False):
        chosen = parse_room_event_filter({"contains_url": value})
        assert chosen.matches("a", ALICE, ROOM, value)
        assert not chosen.matches("a", ALICE, ROOM, not value)


SMALL = st.text(alphabet="ab.*", max_size=8)


@given(st.lists(SMALL, max_size=3), st.text(alphabet="ab.\n", max_size=10))
def test_wildcards_agree_with_regular_expressions(patterns: list[str], event_type: str) -> None:
    def expected(pattern: str) -> bool:
        expression = ".*".join(map(re.escape, pattern.split("*")))
        return re.fullmatch(expression, event_type, re.DOTALL) is not None

    included = parse_room_event_filter({"types": patterns}).matches(event_type, ALICE, ROOM, False)
    excluded = not parse_room_event_filter({"not_types": patterns}).matches(event_type, ALICE, ROOM, False)
    assert included == excluded == any(map(expected, patterns))


def test_a_hostile_pattern_is_decided_at_once() -> None:
    chosen = parse_room_event_filter({"types": ["*a" * 5_000 + "*b"]})
    assert not chosen.matches("a" * 20_000, ALICE, ROOM, False)
    assert error({"presence": {"types": [f"*{n}" for n in range(101)]}}) is ErrCode.INVALID_PARAM


LISTS = ["types", "not_types", "senders", "not_senders"]
ROOM_LISTS = [*LISTS, "rooms", "not_rooms", "related_by_senders", "related_by_rel_types"]
FLAGS = ["contains_url", "lazy_load_members", "include_redundant_members", "unread_thread_notifications"]


@pytest.mark.parametrize("wrong", [None, 5, "x", {}, [5], [None], [[]]], ids=repr)
def test_wrong_types(wrong: Any) -> None:
    for part in ("account_data", "ephemeral", "state", "timeline"):
        for key in [*ROOM_LISTS, *FLAGS]:
            assert error({"room": {part: {key: wrong}}}) is ErrCode.BAD_JSON
    for part in ("account_data", "presence"):
        for key in LISTS:
            assert error({part: {key: wrong}}) is ErrCode.BAD_JSON
    assert error({"event_fields": wrong}) is ErrCode.BAD_JSON
    assert error({"room": {"include_leave": wrong}}) is ErrCode.BAD_JSON
    if wrong != {}:
        assert error({"presence": wrong}) is error({"room": wrong}) is error({"room": {"state": wrong}}) is error(wrong)
        assert error(wrong) is ErrCode.BAD_JSON


def test_wrong_values() -> None:
    assert error({"event_format": "xml"}) is error({"event_format": ["client"]}) is ErrCode.INVALID_PARAM
    for limit in (-1, -5, -(2**53)):
        assert error({"room": {"timeline": {"limit": limit}}}) is ErrCode.INVALID_PARAM
    limit_: Any
    for limit_ in (True, 1.0, "5", None, []):
        assert error({"room": {"timeline": {"limit": limit_}}}) is ErrCode.BAD_JSON
    assert parse_room_event_filter({"limit": 0}).limit == 0
    for key in ("senders", "not_senders"):
        assert error({"presence": {key: ["alice"]}}) is ErrCode.INVALID_PARAM
        assert error({"presence": {key: ["@a\x00:b"]}}) is ErrCode.INVALID_PARAM
    for key in ("rooms", "not_rooms"):
        assert error({"room": {key: ["#a:b"]}}) is error({"room": {"state": {key: [""]}}}) is ErrCode.INVALID_PARAM
    assert error({"event_fields": ["." * 200]}) is ErrCode.INVALID_PARAM


EVENT = {
    "type": "m.room.message",
    "sender": ALICE,
    "content": {"body": "hi", "m.relates_to": {"rel_type": "m.thread", "event_id": "$e"}, "m\\foo": 1, "n": None},
    "unsigned": {"age": 5},
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], {}),
        (["type"], {"type": "m.room.message"}),
        (["content.body"], {"content": {"body": "hi"}}),
        (["content.n"], {"content": {"n": None}}),
        (["content.m\\.relates_to.rel_type"], {"content": {"m.relates_to": {"rel_type": "m.thread"}}}),
        (["content.m\\\\foo"], {"content": {"m\\foo": 1}}),
        (["content.m\\foo"], {"content": {"m\\foo": 1}}),  # other escapes are left as they are
        (["content", "content.body"], {"content": EVENT["content"]}),
        (["content.body", "content"], {"content": EVENT["content"]}),
        (["missing", "content.missing", "sender.x", "type.", "", "content.m.relates_to"], {}),
        (["unsigned.age", "sender"], {"unsigned": {"age": 5}, "sender": ALICE}),
        (["content.body\\"], {}),
    ],
)
def test_event_fields(fields: list[str], expected: dict[str, Any]) -> None:
    parsed = parse_filter({"event_fields": fields}).event_fields
    assert parsed is not None
    assert apply_event_fields(EVENT, parsed) == expected


def test_without_event_fields_there_is_nothing_to_apply() -> None:
    assert parse_filter({}).event_fields is None


shapes = st.recursive(
    json_values | st.sampled_from([[ALICE], [ROOM], ["*"], 5, True]),
    lambda inner: st.dictionaries(
        st.sampled_from(["room", "timeline", "state", "presence", "event_fields", "limit", *ROOM_LISTS, *FLAGS]), inner
    ),
    max_leaves=10,
)


@given(shapes)
def test_any_json_is_a_filter_or_refused(value: Any) -> None:
    try:
        parsed = parse_filter(value)
    except MatrixError as caught:
        assert caught.code in (ErrCode.BAD_JSON, ErrCode.INVALID_PARAM)
        return
    assert isinstance(parsed.room.timeline, RoomEventFilter) and isinstance(parsed.presence, EventFilter)
    parsed.room.timeline.matches("m.room.message", ALICE, ROOM, True)
    if parsed.event_fields is not None:
        apply_event_fields(EVENT, parsed.event_fields)


def test_lists_and_their_texts_are_bounded() -> None:
    assert error({"event_fields": ["a" * 16_385]}) is ErrCode.INVALID_PARAM
    assert error({"room": {"timeline": {"types": ["x"] * 5_001}}}) is ErrCode.INVALID_PARAM
    assert parse_filter({"event_fields": ["a." * 30]}).event_fields is not None
