"""The event format: what is no event in each room version, the limits to the byte, and what clients may send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.build import Place, ProtoEvent, build_event
from homeserver.core.canonical import MAX_INTEGER, encode
from homeserver.core.content import check_client_content, check_pdu
from homeserver.core.errors import BadEvent, ErrCode, MatrixError
from homeserver.core.versions import V1, V2, V5, V6, V10, V11, V12, RoomVersion
from tests.core.support import SIGNER, VERSIONS, json_values, nested, text

REMOVE: Any = object()


def make(version: RoomVersion, content: dict[str, Any] | None = None, references: int = 1) -> dict[str, Any]:
    names = [f"$e{n}:domain" for n in range(references)]
    place = Place(names, names[:1], 5, dict.fromkeys(names, "hash"))
    draft = ProtoEvent("!r:domain", "@u:domain", "m.room.message", content or {"body": "hi"}, "key")
    return build_event(version, draft, place, SIGNER, origin_server_ts=1, opaque_id="x").pdu


def refuse(pdu: Any, version: RoomVersion, code: ErrCode = ErrCode.BAD_JSON) -> None:
    with pytest.raises(BadEvent) as caught:
        check_pdu(pdu, version)
    assert (caught.value.code, caught.value.status) == (code, 413 if code is ErrCode.TOO_LARGE else 400)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
def test_own_events_are_well_formed(version: RoomVersion) -> None:
    check_pdu(make(version), version)
    check_pdu(make(version, references=20), version)
    check_pdu(make(version, {"body": "a\x00b", "": None}), version)
    check_pdu({**make(version), "unsigned": {"age": 4}, "x.custom": [1]}, version)
    check_pdu({**make(version), "depth": 0, "origin_server_ts": -5}, version)


WRONG: list[tuple[str, list[Any]]] = [
    ("type", [REMOVE, None, 5, [], {}, "\ud800", "a\x00"]),
    ("state_key", [None, 5, [], "\ud800", "a\x00"]),
    ("sender", [REMOVE, None, 5, "", "u:domain", "@u", "@u:", "@u:do main", "@\x00:domain", "@\ud800:domain"]),
    ("room_id", [REMOVE, None, 5, "", "!", "r:domain", "!r:", "!\x00:domain"]),
    ("content", [REMOVE, None, [], "x", 5, {"a": 2**53}, {"a": [-(2**53)]}, {"a": "\ud800"}, {"a": nested(130)}]),
    ("hashes", [REMOVE, None, [], {}, {"sha256": 5}, "x"]),
    ("signatures", [REMOVE, None, [], "x", {"domain": "x"}, {"domain": {"ed25519:1": 5}}, {"domain": None}]),
    ("depth", [REMOVE, None, "5", True, -1, 1.0, 2**53, 2**63]),
    ("origin_server_ts", [REMOVE, None, "5", False, 1.5, 2**53]),
    (
        "prev_events",
        [REMOVE, None, {}, "x", [5], [None], [["$a:b"]], ["a"], [[]], [{}], [["$a:b", {}, {}]], [[{}, "$a:b"]]],
    ),
    ("auth_events", [REMOVE, None, {}, "x", [5], ["$"], ["$\x00"], [["$a:b", "x"]], [["$a:b", {"sha256": 5}]]]),
]


@pytest.mark.parametrize("version", [V1, V5, V6, V12], ids=lambda v: f"v{v.id}")
@pytest.mark.parametrize(("key", "values"), WRONG, ids=[key for key, _ in WRONG])
def test_every_field_is_checked(key: str, values: list[Any], version: RoomVersion) -> None:
    for value in values:
        pdu = {**make(version), key: value}
        if value is REMOVE:
            del pdu[key]
        refuse(pdu, version)


def test_not_an_object() -> None:
    value: Any
    for value in (None, [], "x", 5):
        refuse(value, V12)


def test_references_are_pairs_only_in_v1_and_v2() -> None:
    pair, plain = [["$a:b", {"sha256": "x"}]], ["$a:b"]
    for version in VERSIONS:
        right, wrong = (pair, plain) if version in (V1, V2) else (plain, pair)
        for key in ("prev_events", "auth_events"):
            check_pdu({**make(version), key: right}, version)
            refuse({**make(version), key: wrong}, version)
            refuse({**make(version), key: right * 21}, version)
        refuse({**make(version), "auth_events": right * 11}, version)


def test_event_id_belongs_to_v1_and_v2() -> None:
    for value in (None, 5, "x", "$", "$a:"):
        refuse({**make(V1), "event_id": value}, V1)
    refuse({**make(V2), "event_id": "$nodomain"}, V2)


def test_redacts_is_a_string_where_it_is_a_field() -> None:
    refuse({**make(V10), "redacts": 5}, V10)
    check_pdu({**make(V11), "redacts": 5}, V11)


def test_numbers_by_version() -> None:
    for version in VERSIONS:
        pdu = make(version, {"level": 1}) | {"content": {"level": 50.5}}
        if version.strict_canonical_json:
            refuse(pdu, version)
        else:
            check_pdu(pdu, version)
        check_pdu({**make(version), "depth": MAX_INTEGER}, version)


def test_the_create_event_of_v12_has_no_room_id() -> None:
    create = build_event(
        V12, ProtoEvent(None, "@u:domain", "m.room.create", {}, ""), Place((), (), 1), SIGNER, origin_server_ts=1
    ).pdu
    check_pdu(create, V12)
    refuse(create, V11)
    refuse({**create, "type": "m.room.member"}, V12)
    refuse({**create, "room_id": 5}, V12)


@pytest.mark.parametrize("version", [V1, V12], ids=lambda v: f"v{v.id}")
def test_limits_to_the_byte(version: RoomVersion) -> None:
    for letter in ("a", "é"):
        fits = letter * (255 // len(letter.encode()))
        for key in ("type", "state_key"):
            check_pdu({**make(version), key: fits}, version)
            refuse({**make(version), key: fits + letter}, version, ErrCode.TOO_LARGE)
    for key, prefix in (("sender", "@"), ("room_id", "!")):
        check_pdu({**make(version), key: prefix + "a" * 250 + ":abc"}, version)
        refuse({**make(version), key: prefix + "a" * 251 + ":abc"}, version, ErrCode.TOO_LARGE)

    pdu = make(version)
    spare = 65_536 - len(encode(pdu))
    pdu["content"]["body"] += "x" * spare
    check_pdu(pdu, version)
    check_pdu({**pdu, "unsigned": {"a": "x" * 1000}}, version)
    check_pdu(pdu, version, encode(pdu))
    pdu["content"]["body"] += "x"
    refuse(pdu, version, ErrCode.TOO_LARGE)


@given(st.sampled_from(VERSIONS), st.sampled_from([key for key, _ in WRONG] + ["redacts"]), json_values)
def test_any_value_is_accepted_or_a_bad_event(version: RoomVersion, key: str, value: Any) -> None:
    try:
        check_pdu({**make(version), key: value}, version)
    except BadEvent as error:
        assert error.status in (400, 413)


def client(event_type: Any, state_key: Any, content: Any, version: RoomVersion = V12) -> ErrCode | None:
    try:
        check_client_content(event_type, state_key, content, version)
    except MatrixError as error:
        assert error.status == (413 if error.code is ErrCode.TOO_LARGE else 400)
        error.message.encode()
        return error.code
    return None


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
def test_clients_send_canonical_json_in_every_version(version: RoomVersion) -> None:
    assert client("m.room.message", None, {"body": "a\x00b", "n": MAX_INTEGER}, version) is None
    for value in (1.5, 1.0, 2**53, -(2**53), "\ud800", nested(130)):
        assert client("m.room.message", None, {"a": [value]}, version) is ErrCode.BAD_JSON
    content: Any
    for content in (None, [], "x", 5):
        assert client("m.room.message", None, content, version) is ErrCode.BAD_JSON


def test_client_names_and_sizes() -> None:
    for value in ("a\x00", "\ud800"):
        assert client(value, None, {}) is client("t", value, {}) is ErrCode.INVALID_PARAM
    assert client("é" * 128, None, {}) is client("t", "é" * 128, {}) is ErrCode.TOO_LARGE
    assert client("é" * 127, "é" * 127, {}) is None
    assert client("t", None, {"a": "x" * 65_536}) is ErrCode.TOO_LARGE


def test_client_membership() -> None:
    for membership in ("join", "invite", "leave", "ban", "knock"):
        assert client("m.room.member", "@a:b", {"membership": membership, "displayname": None, "reason": "x"}) is None
    wrong: Any
    for wrong in (None, 5, "", "Join", [], {}, "kicked"):
        assert client("m.room.member", "@a:b", {"membership": wrong}) is ErrCode.BAD_JSON
    assert client("m.room.member", "@a:b", {}) is ErrCode.BAD_JSON
    assert client("m.room.member", None, {"membership": "join"}) is ErrCode.BAD_JSON
    for wrong in ("", "a", "@a"):
        assert client("m.room.member", wrong, {"membership": "join"}) is ErrCode.INVALID_PARAM
    for key in ("displayname", "avatar_url", "reason", "join_authorised_via_users_server"):
        assert client("m.room.member", "@a:b", {"membership": "join", key: 5}) is ErrCode.BAD_JSON


def test_client_power_levels() -> None:
    wrong: Any
    good = {"ban": 50, "users": {"@a:b": 100}, "events": {"m.room.name": 5}, "notifications": {"room": 50}}
    assert client("m.room.power_levels", "", good) is None
    assert client("m.room.power_levels", "", {}) is None
    for key in ("ban", "events_default", "invite", "kick", "redact", "state_default", "users_default"):
        for wrong in ("50", None, True, [], {}):
            for version in VERSIONS:
                assert client("m.room.power_levels", "", {key: wrong}, version) is ErrCode.BAD_JSON
    for key in ("users", "events", "notifications"):
        for wrong in (None, [], "x", {"@a:b": "50"}, {"@a:b": True}, {"@a:b": None}):
            assert client("m.room.power_levels", "", {key: wrong}) is ErrCode.BAD_JSON
    assert client("m.room.power_levels", "", {"users": {"a": 5}}) is ErrCode.INVALID_PARAM
    assert client("m.room.power_levels", "other", {"ban": "x"}) is None  # only the empty key means anything


def test_client_canonical_alias() -> None:
    good: Any
    bad: Any
    for good in ({}, {"alias": ""}, {"alias": None}, {"alias": "#a:b", "alt_aliases": ["#c:d"]}):
        assert client("m.room.canonical_alias", "", good) is None
    for bad in ({"alias": 5}, {"alt_aliases": "#a:b"}, {"alt_aliases": None}):
        assert client("m.room.canonical_alias", "", bad) is ErrCode.BAD_JSON
    for bad in ({"alias": "a"}, {"alt_aliases": ["a"]}, {"alt_aliases": [5]}, {"alt_aliases": [""]}):
        assert client("m.room.canonical_alias", "", bad) is ErrCode.INVALID_PARAM


def test_client_create() -> None:
    creators: Any
    bad: Any
    good = {"m.federate": False, "type": "m.space", "predecessor": {"room_id": "!a:b"}, "additional_creators": ["@a:b"]}
    assert client("m.room.create", "", good) is None
    for bad in (
        {"m.federate": "yes"},
        {"room_version": 12},
        {"predecessor": "!a:b"},
        {"predecessor": {}},
        {"creator": 1},
    ):
        assert client("m.room.create", "", bad) is ErrCode.BAD_JSON
    assert client("m.room.create", "", {"additional_creators": {}}) is ErrCode.BAD_JSON
    for creators in (["a"], [5], ["@a:b", None]):
        assert client("m.room.create", "", {"additional_creators": creators}) is ErrCode.INVALID_PARAM
        assert client("m.room.create", "", {"additional_creators": creators}, V11) is None


SPECIAL = ["m.room.member", "m.room.power_levels", "m.room.create", "m.room.canonical_alias"]


@given(
    st.sampled_from(SPECIAL) | text,
    st.sampled_from(["", "@a:b", None]) | text,
    st.dictionaries(
        st.sampled_from(["membership", "users", "alias", "alt_aliases", "predecessor", "ban"]), json_values
    ),
)
def test_any_client_content_is_accepted_or_refused(
    event_type: str, state_key: str | None, content: dict[str, Any]
) -> None:
    for version in (V5, V12):
        client(event_type, state_key, content, version)
