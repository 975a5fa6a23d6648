"""Identifiers: grammar, limits in bytes, and the characters that must never pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import (
    check_localpart_for_registration,
    domain_of,
    localpart_of,
    parse_device_id,
    parse_event_id,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
    parse_user_id,
)

PARSERS: list[tuple[Callable[[Any], str], str]] = [
    (parse_user_id, "@"),
    (parse_room_alias, "#"),
    (parse_room_id, "!"),
    (parse_event_id, "$"),
]
EVERY_PARSER = [parser for parser, _ in PARSERS] + [parse_server_name, parse_device_id]


def refused(parser: Callable[[Any], str], text: Any) -> None:
    with pytest.raises(MatrixError) as caught:
        parser(text)
    assert (caught.value.code, caught.value.status) == (ErrCode.INVALID_PARAM, 400)
    caught.value.message.encode()


@pytest.mark.parametrize(
    "name",
    [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "localhost",
        "MATRIX.org",
        "a-b.c:65535",
        "[::]",
        "[::ffff:1.2.3.4]",
        "example.org.",
        "1.2.3.4.5",
        "a" * 255,
    ],
)
def test_server_names(name: str) -> None:
    assert parse_server_name(name) == name
    assert domain_of(parse_user_id(f"@a:{name}")) == name if len(name) < 250 else True


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":80",
        "a:",
        "a:65536",
        "a:123456",
        "a:8o",
        "a:-1",
        "a:٣",
        "a b",
        " a",
        "a\n",
        "a_b",
        "a/b",
        "é.org",
        "256.1.1.1",
        "1.2.3.1000",
        "[::1",
        "::1",
        "[:::]",
        "[1::2::3]",
        "[g::]",
        "[::1%eth0]",
        "[::1]a",
        "a..b",
        ".a",
        ".",
        "..",
        "a" * 256,
        "a\x00",
        "a?b",
        "a#b",
        "a@b",
        None,
        5,
    ],
)
def test_refused_server_names(name: Any) -> None:
    refused(parse_server_name, name)
    if isinstance(name, str):
        for parser, sigil in PARSERS:
            refused(parser, f"{sigil}a:{name}")


def test_user_ids() -> None:
    for user_id in ("@alice:example.org", "@:example.org", "@Ünï \x01\U0001f600:example.org:8448", "@a/b=c:[::1]"):
        assert parse_user_id(user_id) == user_id
    assert (localpart_of("@alice:example.org:80"), domain_of("@alice:example.org:80")) == ("alice", "example.org:80")
    for text in ("", "@", "alice:example.org", "@alice", "#a:example.org", "@a@b", "@a:b:c:d", ":a", "@:"):
        refused(parse_user_id, text)


def test_room_ids_come_with_and_without_a_domain() -> None:
    for room_id in ("!abc:example.org", "!Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", "!:example.org"):
        assert parse_room_id(room_id) == room_id
    for text in ("", "!", "abc", "#abc:example.org", "!abc:", "!a:b c"):
        refused(parse_room_id, text)
    with pytest.raises(MatrixError):
        domain_of("!Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg")
    assert localpart_of("!hash") == "hash"


def test_event_ids() -> None:
    for event_id in (
        "$a:example.org",
        "$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg",
        "$acR1l0raoZnm60CBwAVgqbZqoO/mYU8",
    ):
        assert parse_event_id(event_id) == event_id
    for text in ("", "$", "a", "!a:b"):
        refused(parse_event_id, text)


@pytest.mark.parametrize("parser", EVERY_PARSER)
def test_nul_surrogates_and_foreign_types_never_pass(parser: Callable[[Any], str]) -> None:
    for sigil in ("@", "#", "!", "$", ""):
        for junk in ("\x00", "\ud800"):
            refused(parser, f"{sigil}a{junk}:example.org")
    value: Any
    for value in (None, 1, b"@a:b", ["@a:b"], {}):
        refused(parser, value)
    refused(parser, "")


@pytest.mark.parametrize(("parser", "sigil"), PARSERS)
def test_limits_are_bytes(parser: Callable[[Any], str], sigil: str) -> None:
    rest = ":example.org"
    room = 255 - 1 - len(rest)
    assert parser(sigil + "a" * room + rest)
    assert parser(sigil + "é" * (room // 2) + rest)
    refused(parser, sigil + "a" * (room + 1) + rest)
    refused(parser, sigil + "é" * (room // 2 + 1) + rest)


@pytest.mark.parametrize("localpart", ["alice", "a.b_c=d-e/f+9", "0", "_bridge"])
def test_names_for_new_accounts(localpart: str) -> None:
    assert check_localpart_for_registration(localpart, "example.org") == f"@{localpart}:example.org"


@pytest.mark.parametrize(
    "localpart", ["", "Alice", "a b", "a:b", "é", "a\x00", "a\n", "@a", "a*", "\ud800", "a" * 250, None, 7]
)
def test_refused_names_for_new_accounts(localpart: Any) -> None:
    with pytest.raises(MatrixError) as caught:
        check_localpart_for_registration(localpart, "example.org")
    assert caught.value.code is ErrCode.INVALID_USERNAME


@given(st.text(max_size=300) | st.text("@#!$:[].a1-\x00é", max_size=12))
def test_any_text_is_parsed_unchanged_or_refused(text: str) -> None:
    for parser in EVERY_PARSER:
        try:
            assert parser(text) == text
        except MatrixError as error:
            assert error.code is ErrCode.INVALID_PARAM
            error.message.encode()
