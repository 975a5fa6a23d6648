"""Redaction: the tables of each room version, and the laws every version obeys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.canonical import encode
from homeserver.core.redact import redact
from homeserver.core.signatures import event_id_of, reference_hash, sign_event, verify_event
from homeserver.core.versions import RoomVersion
from tests.core.support import KEY, SERVER, VERSIONS, json_values, text

ALWAYS_KEPT = {
    *("event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth"),
    *("prev_events", "auth_events", "origin_server_ts"),
}
DROPPED = {"unsigned", "redacts", "age", "x.custom"}
POWER = {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}


def since(number: int, version: RoomVersion) -> bool:
    return int(version.id) >= number


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
def test_top_level_keys(version: RoomVersion) -> None:
    legacy = {"origin", "membership", "prev_state"}
    pdu: dict[str, Any] = dict.fromkeys(ALWAYS_KEPT | DROPPED | legacy, "value")
    expected = ALWAYS_KEPT if since(11, version) else ALWAYS_KEPT | legacy
    assert set(redact(pdu, version)) == expected


def expected_content_keys(event_type: str, version: RoomVersion) -> set[str]:
    table = {
        "m.room.member": {"membership"} | ({"join_authorised_via_users_server"} if since(9, version) else set()),
        "m.room.create": {"creator", "room_version", "x"} if since(11, version) else {"creator"},
        "m.room.join_rules": {"join_rule"} | ({"allow"} if since(8, version) else set()),
        "m.room.power_levels": POWER | ({"invite"} if since(11, version) else set()),
        "m.room.history_visibility": {"history_visibility"},
        "m.room.aliases": set() if since(6, version) else {"aliases"},
        "m.room.redaction": {"redacts"} if since(11, version) else set(),
    }
    return table.get(event_type, set())


CONTENTS = {
    "m.room.member": {"membership", "join_authorised_via_users_server", "displayname", "reason"},
    "m.room.create": {"creator", "room_version", "x"},
    "m.room.join_rules": {"join_rule", "allow", "x"},
    "m.room.power_levels": POWER | {"invite", "notifications"},
    "m.room.history_visibility": {"history_visibility", "x"},
    "m.room.aliases": {"aliases", "x"},
    "m.room.redaction": {"redacts", "reason"},
    "m.room.message": {"body", "msgtype"},
    "m.room.topic": {"topic"},
}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
@pytest.mark.parametrize("event_type", CONTENTS)
def test_content_keys(event_type: str, version: RoomVersion) -> None:
    pdu = {"type": event_type, "content": dict.fromkeys(CONTENTS[event_type], "value")}
    assert set(redact(pdu, version)["content"]) == expected_content_keys(event_type, version)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
def test_third_party_invite_keeps_only_signed(version: RoomVersion) -> None:
    def redacted(invite: Any) -> Any:
        return redact({"type": "m.room.member", "content": {"third_party_invite": invite}}, version)["content"]

    signed = {"mxid": "@a:b", "token": "t", "signatures": {}}
    if since(11, version):
        assert redacted({"display_name": "A", "signed": signed}) == {"third_party_invite": {"signed": signed}}
        assert redacted("junk") == {}
    else:
        assert redacted({"display_name": "A", "signed": signed}) == {}


@pytest.mark.parametrize("content", [None, [], "x", 5])
def test_malformed_events_redact_to_empty_content(content: Any) -> None:
    for version in VERSIONS:
        assert redact({"type": ["m.room.member"], "content": content}, version)["content"] == {}
        assert redact({"type": {}, "content": {"a": 1}}, version)["content"] == {}
        assert redact({}, version) == {"content": {}}


keys = st.sampled_from(sorted(ALWAYS_KEPT - {"type", "content", "signatures"} | DROPPED)) | text
content_keys = st.sampled_from(sorted(set().union(*CONTENTS.values()) | {"third_party_invite"})) | text
pdus = st.builds(
    lambda extra, event_type, content: {**extra, "type": event_type, "content": content, "event_id": "$e:domain"},
    st.dictionaries(keys.filter(lambda key: key != "signatures"), json_values, max_size=6),
    st.sampled_from(sorted(CONTENTS)) | text,
    st.dictionaries(content_keys, json_values, max_size=5),
)


@given(pdus, st.sampled_from(VERSIONS))
def test_laws(pdu: dict[str, Any], version: RoomVersion) -> None:
    before = encode(pdu)
    once = redact(pdu, version)
    assert encode(pdu) == before
    assert redact(once, version) == once
    assert reference_hash(once, version) == reference_hash(pdu, version)
    assert event_id_of(once, version) == event_id_of(pdu, version)
    signed = sign_event(pdu, version, SERVER, KEY)
    verify_event(redact(signed, version), version, SERVER, KEY.key_id, KEY.public_bytes)
