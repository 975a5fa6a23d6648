"""Canonical JSON: the specification's examples, and equality with the reference encoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from hypothesis import example, given

from homeserver.core.canonical import MAX_INTEGER, check_strict, encode, encode_lenient
from homeserver.core.errors import BadEvent, ErrCode
from tests.core.support import json_values, nested

AWKWARD = "".join(map(chr, range(0x21))) + '"\\/\x7f\x80\u2028\u2029\ufeff\uffff\U00010000\U0010ffff'


@given(json_values)
@example({character: character for character in AWKWARD})
@example({"\U00010000": 1, "\uffff": 2, "\ue000": 3, "z": 4, "": 5})
def test_bytes_equal_the_reference_encoder(value: Any) -> None:
    assert encode(value) == encode_lenient(value) == encode_canonical_json(value)
    check_strict(value)
    assert json.loads(encode(value)) == value


# spec: appendices#examples
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{}", "{}"),
        ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
        ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
        (
            '{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",'
            ' "three_pids": [{"medium": "email", "address": "john.doe@example.org"},'
            ' {"medium": "msisdn", "address": "123456789"}]}}}',
            '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
            '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
            '"success":true}}',
        ),
        ('{"a": "日本語"}', '{"a":"日本語"}'),
        ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
        ('{"a": "\\u65E5"}', '{"a":"日"}'),
        ('{"a": null}', '{"a":null}'),
        ('{"a": -0}', '{"a":0}'),
    ],
)
def test_examples_of_the_specification(source: str, expected: str) -> None:
    assert encode(json.loads(source)).decode() == expected


@pytest.mark.parametrize(
    "value",
    [1.0, 1.5, -0.0, float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, 2**70, "\ud800", "a\udfff", nested(129)],
    ids=repr,
)
def test_refused_values(value: Any) -> None:
    for holder in (value, {"content": {"key": [value]}}):
        with pytest.raises(BadEvent) as caught:
            check_strict(holder)
        assert caught.value.code is ErrCode.BAD_JSON


def test_refused_keys_and_types() -> None:
    for value in ({"\ud800": 1}, {1: 2}, {"a": object()}, {"a": b"x"}):
        with pytest.raises(BadEvent):
            check_strict(value)


def test_allowed_limits() -> None:
    check_strict({"a": [MAX_INTEGER, -MAX_INTEGER, True, None, "\x00"]})
    check_strict(nested(128))


def test_a_hundred_thousand_levels_are_refused_without_recursion() -> None:
    value: Any = nested(100_000)
    with pytest.raises(BadEvent):
        check_strict(value)
    while value:  # taking it apart here keeps the destructor shallow
        value = value[0]


def test_old_rooms_encode_floats_and_large_integers() -> None:
    assert encode_lenient({"b": 50.57, "a": 2**70}) == b'{"a":1180591620717411303424,"b":50.57}'
    assert encode_lenient(1e16) == encode_canonical_json(1e16)
    for value in (float("nan"), float("inf"), "\ud800", object()):
        with pytest.raises(BadEvent):
            encode_lenient(value)
