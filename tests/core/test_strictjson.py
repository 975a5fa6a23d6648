"""The strict parser: every leniency of other parsers, refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.canonical import MAX_INTEGER, encode
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.strictjson import parse, parse_object
from tests.core.support import json_values

NOT_JSON = [
    b"",
    b" ",
    b"{",
    b'{"a":1,}',
    b"{'a':1}",
    b"NaN",
    b"[Infinity]",
    b"-Infinity",
    b"01",
    b"+1",
    b"1.",
    b".5",
    b"{}{}",
    b'"\x00"',
    b'"\n"',
    b'"\xff"',
    b'"\xed\xa0\x80"',  # a surrogate as raw bytes is not UTF-8
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    "{}".encode("utf-32-le"),
    b"// c\n{}",
    b"\x0b{}",
    b"\xc2\xa0{}",
    b'"\\x"',
    b'"\\u12"',
]

BAD_VALUES = [
    b'"\\ud800"',
    b'"\\udc00"',
    b'"\\ud800x"',
    b'"\\ud800\\u0041"',
    b'"\\udc00\\ud800"',
    b'{"\\ud83d":1}',
    b"1e400",
    b"-1e400",
    b"9007199254740992",
    b"-9007199254740992",
    b"18446744073709551616",
    b"1180591620717411303424",
    b"9" * 300,
    b"-" + b"9" * 5000,
    b"[" * 129 + b"]" * 129,
    b'{"a":' * 129 + b"1" + b"}" * 129,
    b"[" * 130 + b"]" * 130,
    b"[" * 5_000 + b"]" * 5_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
]


@pytest.mark.parametrize("allow_floats", [True, False])
@pytest.mark.parametrize(
    ("data", "code"),
    [(data, ErrCode.NOT_JSON) for data in NOT_JSON] + [(data, ErrCode.BAD_JSON) for data in BAD_VALUES],
    ids=lambda value: repr(value)[:24],
)
def test_refused(data: bytes, code: ErrCode, allow_floats: bool) -> None:
    with pytest.raises(MatrixError) as caught:
        parse(data, allow_floats=allow_floats)
    assert (caught.value.code, caught.value.status) == (code, 400)
    if code is ErrCode.BAD_JSON and data[:1] not in b"[{":
        with pytest.raises(MatrixError) as caught:
            parse(b'{"a":[' + data + b"]}", allow_floats=allow_floats)
        assert caught.value.code is ErrCode.BAD_JSON
        with pytest.raises(MatrixError) as caught:  # large content is looked at in another way
            parse(b'{"a":[' + data + b',"' + b"x" * 8_192 + b'"]}', allow_floats=allow_floats)
        assert caught.value.code is ErrCode.BAD_JSON


@pytest.mark.parametrize("number", [b"1.5", b"1.0", b"1e5", b"1E-2", b"-0.0", b"1.1e1", b"-1e-400"])
def test_floats_only_where_allowed(number: bytes) -> None:
    assert parse(b"[" + number + b"]") == [float(number)]
    with pytest.raises(MatrixError) as caught:
        parse(b"[" + number + b"]", allow_floats=False)
    assert caught.value.code is ErrCode.BAD_JSON


def test_accepted() -> None:
    assert parse(b"[9007199254740991,-9007199254740991]") == [MAX_INTEGER, -MAX_INTEGER]
    assert parse(b'["1180591620717411303424",0.12345678901234567890]') == [
        "1180591620717411303424",
        0.12345678901234568,
    ]
    assert encode(parse(b"[-0]", allow_floats=False)) == encode(parse(b"[-0]")) == b"[0]"
    assert parse(b'{"a":1,"a":2}') == {"a": 2}
    assert parse(b'"\\u0000\\ud83d\\ude00\x7f"') == "\x00\U0001f600\x7f"
    assert parse(b"[" * 128 + b"]" * 128) == json.loads("[" * 128 + "]" * 128)
    assert parse(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501
    for large in (b'"0.12345678901234567890"', b"0.12345678901234567890", b"1e30", b"9007199254740991"):
        assert parse(b"[" + large + b',"' + b"x" * 8_192 + b'"]') == [json.loads(large), "x" * 8_192]


@pytest.mark.parametrize("data", [b"[]", b"null", b'"a"', b"1", b"true"])
def test_an_object_is_required(data: bytes) -> None:
    parse(data)
    with pytest.raises(MatrixError) as caught:
        parse_object(data)
    assert caught.value.code is ErrCode.BAD_JSON
    assert parse_object(b" {} ") == {}


@given(json_values)
def test_everything_canonical_is_accepted(value: Any) -> None:
    data = encode(value)
    assert parse(data) == parse(data, allow_floats=False) == value


@given(
    st.binary(max_size=40) | st.text(alphabet='{}[]",:0123456789.eE-+\\ud8truefalsn \n', max_size=60).map(str.encode)
)
def test_any_bytes_parse_or_raise_a_matrix_error(data: bytes) -> None:
    try:
        value = parse(data, allow_floats=False)
    except MatrixError:
        return
    assert parse(encode(value)) == value == json.loads(data)
