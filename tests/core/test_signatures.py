"""Signatures, hashes and ids: the specification's vectors, round trips, and every way to be wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.canonical import encode
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.signatures import (
    BadSignature,
    SigningKey,
    content_hash,
    content_hash_matches,
    decode_base64,
    encode_base64,
    event_id_of,
    reference_hash,
    sign_event,
    sign_json,
    verify_bytes,
    verify_event,
    verify_json,
)
from homeserver.core.versions import ROOM_VERSIONS, V1, V3, V4, V11, V12
from tests.core.support import KEY, SERVER, json_values, text


@pytest.mark.parametrize(
    ("obj", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_json_signing_vectors(obj: dict[str, Any], signature: str) -> None:  # spec: appendices#json-signing
    assert sign_json(obj, SERVER, KEY) == {**obj, "signatures": {SERVER: {"ed25519:1": signature}}}


MINIMAL_EVENT: dict[str, Any] = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
REDACTABLE_EVENT: dict[str, Any] = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}


@pytest.mark.parametrize(
    ("event", "hash_", "signature"),
    [
        (
            MINIMAL_EVENT,
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            REDACTABLE_EVENT,
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ],
)
def test_event_signing_vectors(event: dict[str, Any], hash_: str, signature: str) -> None:
    # spec: appendices#event-signing
    assert encode_base64(content_hash(event, V1)) == hash_
    hashed = {**event, "hashes": {"sha256": hash_}}
    signed = sign_event(hashed, V1, SERVER, KEY)
    assert signed == {**hashed, "signatures": {SERVER: {"ed25519:1": signature}}}
    assert content_hash_matches(signed, V1)
    verify_event(signed, V1, SERVER, "ed25519:1", KEY.public_bytes)
    # The signature covers the redacted form; the content hash covers what redaction takes away.
    tampered = {**signed, "content": {"body": "changed"}}
    verify_event(tampered, V1, SERVER, "ed25519:1", KEY.public_bytes)
    assert not content_hash_matches(tampered, V1)
    with pytest.raises(BadSignature):
        verify_event({**signed, "sender": "@b:domain"}, V1, SERVER, "ed25519:1", KEY.public_bytes)


@given(st.dictionaries(text, json_values, max_size=4), text)
def test_signed_json_verifies_and_leaves_its_source_alone(obj: dict[str, Any], server: str) -> None:
    obj = {key: value for key, value in obj.items() if key != "signatures"}
    before = encode(obj)
    signed = sign_json(sign_json(obj, "first", KEY), server, KEY)
    assert encode(obj) == before
    for name in ("first", server):
        verify_json(signed, name, KEY.key_id, KEY.public_bytes)
        verify_json({**signed, "unsigned": {"age": 1}}, name, KEY.key_id, KEY.public_bytes)
    with pytest.raises(BadSignature):
        verify_json({**signed, "added": True, "more": [obj]}, server, KEY.key_id, KEY.public_bytes)


def test_everything_wrong_is_a_bad_signature() -> None:
    signed = sign_json({"a": 1}, SERVER, KEY)
    good = signed["signatures"][SERVER]["ed25519:1"]
    other = SigningKey("ed25519:1", b"\x01" * 32)

    def refuse(
        obj: dict[str, Any], public: Any = KEY.public_bytes, server: str = SERVER, key: str = "ed25519:1"
    ) -> None:
        for verify in (verify_json, lambda o, s, k, p: verify_event(o, V11, s, k, p)):
            with pytest.raises(BadSignature) as caught:
                verify(obj, server, key, public)
            assert (caught.value.status, caught.value.code) == (401, ErrCode.UNAUTHORIZED)

    refuse({"a": 1})
    junk: Any
    for junk in (None, 1, "x", [], {SERVER: None}, {SERVER: []}, {SERVER: {}}, {SERVER: {"ed25519:1": 5}}):
        refuse({"a": 1, "signatures": junk})
    for text_ in (
        "",
        "AAAA",
        good + "A",
        good[:-1],
        good + "\n",
        " " + good,
        "é" * 86,
        "Y\nW!J*j",
        "A" * 86,
        good[:-2] + "==",
    ):
        refuse({"a": 1, "signatures": {SERVER: {"ed25519:1": text_}}})
    refuse(signed, public=other.public_bytes)
    for public in (b"", b"\x00" * 31, b"\x00" * 32, b"\xff" * 32, b"\x00" * 33, "text", None):
        refuse(signed, public=public)
    refuse(signed, server="elsewhere")
    refuse(signed, key="ed25519:2")
    refuse({"a": 1, "signatures": {SERVER: {"rsa:1": good}}}, key="rsa:1")
    refuse({"type": object(), "a": object(), "signatures": {SERVER: {"ed25519:1": good}}})
    with pytest.raises(BadSignature):
        verify_bytes(b"other", good, KEY.public_bytes)


@given(st.binary(max_size=70))
def test_base64_round_trip(data: bytes) -> None:
    for urlsafe in (False, True):
        encoded = encode_base64(data, urlsafe=urlsafe)
        assert "=" not in encoded
        assert decode_base64(encoded, urlsafe=urlsafe) == data
        assert decode_base64(encoded + "=" * (-len(encoded) % 4), urlsafe=urlsafe) == data


@pytest.mark.parametrize(
    ("data", "encoded"),  # spec: appendices#unpadded-base64
    [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg"),
        (b"fooba", "Zm9vYmE"),
        (b"foobar", "Zm9vYmFy"),
    ],
)
def test_base64_examples(data: bytes, encoded: str) -> None:
    assert encode_base64(data) == encoded
    assert decode_base64(encoded) == data


@pytest.mark.parametrize(
    "junk",
    [
        "Y\nW!J*j",
        "Zg=",
        "Zg===",
        "=",
        "==",
        "Z",
        "Zm9vY",
        "Zm9v=",
        "Zm9v==",
        "Z=g=",
        "Zg==Zg==",
        " Zg",
        "Zg\n",
        "Zé",
        "\x00",
        5,
    ],
)
def test_base64_refuses_junk(junk: Any) -> None:
    for urlsafe in (False, True):
        with pytest.raises(MatrixError):
            decode_base64(junk, urlsafe=urlsafe)


def test_base64_alphabets_do_not_mix() -> None:
    assert decode_base64("+/+/") == decode_base64("-_-_", urlsafe=True) == b"\xfb\xff\xbf"
    for text_, urlsafe in (("-_-_", False), ("+/+/", True), ("+_+_", False), ("+_+_", True)):
        with pytest.raises(MatrixError):
            decode_base64(text_, urlsafe=urlsafe)


def test_event_ids_by_version() -> None:
    assert event_id_of(REDACTABLE_EVENT, V1) == "$0:domain"
    digest = reference_hash(MINIMAL_EVENT, V3)
    assert event_id_of(MINIMAL_EVENT, V3) == "$" + encode_base64(digest)
    assert event_id_of(MINIMAL_EVENT, V4) == "$" + encode_base64(digest, urlsafe=True)
    # v11 no longer keeps `origin`.
    assert event_id_of(MINIMAL_EVENT, V11) == event_id_of({**MINIMAL_EVENT, "origin": "other"}, V12)
    assert event_id_of(MINIMAL_EVENT, V4) != event_id_of(MINIMAL_EVENT, V11)


@pytest.mark.parametrize(
    "hashes", [None, {}, [], {"sha256": None}, {"sha256": "!"}, {"sha256": ""}, {"sha512": "AAAA"}]
)
def test_malformed_hashes_do_not_match(hashes: Any) -> None:
    for version in ROOM_VERSIONS.values():
        assert not content_hash_matches({**MINIMAL_EVENT, "hashes": hashes}, version)
        assert not content_hash_matches(
            {**MINIMAL_EVENT, "content": {"x": "\ud800"}, "hashes": {"sha256": "AAAA"}}, version
        )


def test_the_seed_stays_secret_and_must_be_right() -> None:
    assert "YJDB" not in repr(KEY) and KEY.seed.hex() not in repr(KEY)
    for key_id, seed in (("ed25519:1", b"short"), ("rsa:1", b"x" * 32), ("ed25519:", b"x" * 32)):
        with pytest.raises(ValueError):
            SigningKey(key_id, seed)
