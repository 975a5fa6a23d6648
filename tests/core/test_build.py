"""The builder: events of every room version verify, are named and read back as they were made."""

from __future__ import annotations

from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.build import Place, ProtoEvent, build_event
from homeserver.core.errors import BadEvent
from homeserver.core.event import Event
from homeserver.core.signatures import (
    content_hash_matches,
    encode_base64,
    event_id_of,
    reference_hash,
    verify_event,
)
from homeserver.core.versions import V2, V3, V10, V11, V12, EventIdForm, RoomVersion
from tests.core.support import KEY, SERVER, SIGNER, VERSIONS, json_values, text

PUBLIC = [name for name in Event.__slots__ if not name.startswith("_")]
COMPARED = [*PUBLIC, "content", "prev_events", "auth_events"]
NOWHERE = Place(prev_events=(), auth_events=(), depth=1)


def build(version: RoomVersion, draft: ProtoEvent, place: Place = NOWHERE) -> Event:
    return build_event(version, draft, place, SIGNER, origin_server_ts=1_700_000_000_000, opaque_id="abc")


@given(
    st.sampled_from(VERSIONS),
    st.dictionaries(text, json_values, max_size=4),
    st.none() | text,
    st.sampled_from(["m.room.message", "m.room.member", "m.room.power_levels", "m.room.redaction"]) | text,
)
def test_built_events_verify_and_read_back(
    version: RoomVersion, content: dict[str, Any], state_key: str | None, event_type: str
) -> None:
    references = {"$p:x": "hash1", "$a:x": "hash2"}
    place = Place(("$p:x",), ("$a:x", "$p:x"), 7, references)
    event = build(version, ProtoEvent("!r:x", "@u:domain", event_type, content, state_key), place)

    assert event.canonical == encode_canonical_json(event.pdu)
    assert content_hash_matches(event.pdu, version)
    verify_event(event.pdu, version, SERVER, KEY.key_id, KEY.public_bytes)
    assert event.event_id == event_id_of(event.pdu, version)
    assert ("event_id" in event.pdu) == (version.event_id is EventIdForm.GIVEN)
    assert (event.room_id, event.state_key, event.content) == ("!r:x", state_key, content)
    assert (event.prev_events, event.auth_events, event.depth) == (("$p:x",), ("$a:x", "$p:x"), 7)

    loaded = Event.stored(event.canonical, version, event.event_id, event.room_id)
    assert loaded.pdu == event.pdu
    assert all(getattr(loaded, name) == getattr(event, name) for name in COMPARED)


def test_a_stored_event_reads_as_the_one_that_was_built() -> None:
    content = {"body": "з'їзд", "nested": {"list": [1, None, "\u0000"]}}
    built = build(V12, ProtoEvent("!r", "@u:domain", "m.room.redaction", content, None, "$target"))
    stored = Event.stored(built.canonical, V12, built.event_id, built.room_id)
    assert stored.redacts == built.redacts == "$target"
    assert stored.content == built.content == {**content, "redacts": "$target"}
    assert stored.content is stored.content


def test_v1_and_v2_reference_with_hashes() -> None:
    parent = build(V2, ProtoEvent("!r:domain", "@u:domain", "m.room.create", {"creator": "@u:domain"}, ""))
    assert parent.event_id == "$abc:domain"
    digest = encode_base64(reference_hash(parent.pdu, V2))
    child = build(
        V2,
        ProtoEvent("!r:domain", "@u:domain", "m.room.message", {}),
        Place((parent.event_id,), (parent.event_id,), 2, {parent.event_id: digest}),
    )
    assert child.pdu["prev_events"] == child.pdu["auth_events"] == [[parent.event_id, {"sha256": digest}]]
    with pytest.raises(ValueError):
        build_event(V2, ProtoEvent("!r:x", "@u:x", "t", {}), NOWHERE, SIGNER, origin_server_ts=1)


def test_the_create_event_of_v12_names_its_room() -> None:
    event = build(V12, ProtoEvent(None, "@u:domain", "m.room.create", {"room_version": "12"}, ""))
    assert "room_id" not in event.pdu
    assert event.room_id == "!" + event.event_id[1:]
    for version, event_type in ((V11, "m.room.create"), (V12, "m.room.message")):
        with pytest.raises(BadEvent):
            build(version, ProtoEvent(None, "@u:domain", event_type, {}, ""))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
def test_redactions_name_their_target_where_the_version_keeps_it(version: RoomVersion) -> None:
    content = {"reason": "spam"}
    event = build(version, ProtoEvent("!r:x", "@u:domain", "m.room.redaction", content, redacts="$target"))
    assert event.redacts == "$target"
    assert ("redacts" in event.content) == (int(version.id) >= 11)
    assert ("redacts" in event.pdu) == (int(version.id) < 11)
    assert content == {"reason": "spam"}


def test_ids_use_the_alphabet_of_the_version() -> None:
    drafts = [ProtoEvent("!r:x", "@u:domain", "m.room.message", {"n": n}) for n in range(40)]
    assert any(set("+/") & set(build(V3, draft).event_id) for draft in drafts)
    assert not any(set("+/=") & set(build(V10, draft).event_id) for draft in drafts)


def test_content_that_is_no_json_is_refused() -> None:
    for version in VERSIONS:
        for content in ({"a": "\ud800"}, {"a": object()}):
            with pytest.raises(BadEvent):
                build(version, ProtoEvent("!r:x", "@u:domain", "m.room.message", content))
