"""Packing: what comes out is what went in, what is damaged says so, and the dictionaries stay as they are."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.canonical import encode
from homeserver.core.content import MAX_EVENT_BYTES
from homeserver.storage.dictionaries import DICTIONARIES
from homeserver.storage.packing import PackingError, pack, unpack

DIGESTS = {1: "e0746757c882295f8b06398df7d186e79330d27666483146e5105fa7bbabace2"}
"""What these dictionaries packed can be read with them only: a digest may never change, only another one be added."""

ID = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-_"
FIRST = (b"\x01", b"\x21", b"\x41", b"\x61")
"""How what was packed with the first dictionary begins: without a length, and with the kinds of it."""
TEMPLATE: dict[str, Any] = {
    "auth_events": ["$" + ID, "$" + ID[::-1]],
    "depth": 5_000,
    "hashes": {"sha256": ID[7:] + ID[:7]},
    "origin_server_ts": 1_790_000_000_000,
    "prev_events": ["$" + ID[11:] + ID[:11]],
    "room_id": "!" + ID[17:] + ID[:17],
    "sender": "@alice:example.org",
    "signatures": {"example.org": {"ed25519:a_qWeR": (ID + ID[23:] + ID[:23])[:86]}},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(codec="utf-8")), children),
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), json_values))
def test_what_was_packed_is_unpacked_alike(value: dict[str, Any]) -> None:
    for json in (encode(value), encode({**TEMPLATE, "content": value})):
        packed = pack(json)
        assert len(packed) <= len(json)
        assert unpack(packed) == json
        assert unpack(packed_before(json)) == json


def packed_before(json: bytes) -> bytes:
    """As events were packed when frames had no length."""
    frame = zstandard.ZstdCompressor(
        dict_data=zstandard.ZstdCompressionDict(DICTIONARIES[1]),
        compression_params=zstandard.ZstdCompressionParameters(
            window_log=13, write_content_size=False, write_checksum=False, write_dict_id=False
        ),
    ).compress(json)
    assert frame[:5] == b"\x28\xb5\x2f\xfd\x00"  # then the window, which is left out: it is never more than 64 KiB
    return b"\x01" + frame[6:]


@pytest.mark.parametrize("unit", ["a", "\N{PARTY POPPER}", '"\\', ID])
@pytest.mark.parametrize("size", [2_000, 20_000, MAX_EVENT_BYTES, MAX_EVENT_BYTES + 1, 200_000])
def test_long_events_come_back_too(unit: str, size: int) -> None:
    json = encode({"body": unit * (size // len(encode(unit)))})
    json = encode({"body": unit * (size // len(encode(unit))), "z": "z" * (size - len(json) - len(',"z":""'))})
    assert len(json) == size
    assert unpack(pack(json)) == json
    assert (pack(json) == json) == (size > MAX_EVENT_BYTES)


def test_a_message_takes_less_than_two_thirds() -> None:
    content = {"body": "Nobody could have known this sentence before", "msgtype": "m.text"}
    json = encode({**TEMPLATE, "type": "m.room.message", "content": content})
    assert len(pack(json)) * 3 < len(json) * 2


def test_what_does_not_get_shorter_stays_plain() -> None:
    assert pack(b"{}") == b"{}"
    assert unpack(b'{"plain":"as it is"}') == b'{"plain":"as it is"}'


@given(st.binary())
def test_nonsense_is_reported_as_such(rest: bytes) -> None:
    for stored in (rest, *(first + rest for first in FIRST)):
        if not stored.startswith(b"{"):
            try:
                assert len(unpack(stored)) <= MAX_EVENT_BYTES
            except PackingError:
                pass


def test_damage_and_newer_dictionaries_are_told_apart() -> None:
    packed = pack(encode({**TEMPLATE, "type": "m.room.message"}))
    for damaged in (packed[:-1], packed[:40], packed[:1]):
        with pytest.raises(PackingError, match="damaged"):
            unpack(damaged)
    for unknown in (b"\x02" + packed[1:], b"[]", b""):
        with pytest.raises(PackingError, match="no dictionary of this release"):
            unpack(unknown)


def test_nothing_is_unpacked_to_more_than_an_event() -> None:
    last, block_of_run = 0b001, 0b010  # of zstd's block headers; the size is in the bits above
    run = (MAX_EVENT_BYTES << 3 | block_of_run).to_bytes(3, "little") + b"a"
    end = (1 << 3 | block_of_run | last).to_bytes(3, "little") + b"a"
    assert unpack(b"\x01" + end) == b"a"
    most = (MAX_EVENT_BYTES + 200 - 256).to_bytes(2, "little")  # frames of this kind say how much they exceed 256 by
    for bomb in (b"\x01", b"\x61" + most, b"\x61" + b"\xff\xff", b"\x21\xff", b"\x41\x30" + most):
        with pytest.raises(PackingError):
            unpack(bomb + run * 1_000 + end)
    just_over = (200 << 3 | block_of_run | last).to_bytes(3, "little") + b"a"
    with pytest.raises(PackingError, match="larger than events are"):
        unpack(b"\x61" + most + run + just_over)


def test_what_was_packed_long_ago_can_be_read() -> None:
    stored = bytes.fromhex(
        "01550100887b2a20686922613a6d657373616765227d08fc93d5055eb3c13ea36fb45ac801c883aa14a4657c9a20"
    )
    assert (
        unpack(stored)
        == b'{"content":{"body":"* hi","m.new_content":{"body":"hi","msgtype":"m.text"},"msgtype":"m.text"},'
        b'"sender":"@a:matrix.org","type":"m.room.message"}'
    )


def test_dictionaries_never_change() -> None:
    assert {number: sha256(data).hexdigest() for number, data in DICTIONARIES.items()} == DIGESTS
