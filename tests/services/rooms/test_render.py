"""The shared client form is the same whether an event was just made or came from the store."""

from __future__ import annotations

from typing import Any, cast

import orjson
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.canonical import encode
from homeserver.core.event import Event
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.events import StoredEvent
from homeserver.services.rooms.render import client_json
from homeserver.services.rooms.visibility import Visible

text = st.text(st.characters(codec="utf-8"))
contents = st.dictionaries(text, st.recursive(st.none() | st.booleans() | text, st.lists))


def rendered(event: Event, **more: Any) -> bytes:
    """The form of an event that is stored as this one."""
    return client_json(cast("Visible", StoredEvent(event, 1, 1, 1, 1, 1, **more)))


@given(contents, text, text, st.none() | text, st.sampled_from(["1", "11", "12"]), st.none() | st.just("$redaction"))
def test_stored_events_look_like_new_ones(
    content: dict[str, Any], sender: str, kind: str, state_key: str | None, version: str, redacted_by: str | None
) -> None:
    pdu: dict[str, Any] = {
        "auth_events": [],
        "content": content,
        "depth": 7,
        "hashes": {"sha256": "x"},
        "origin_server_ts": 1_796_000_000_000,
        "prev_events": [],
        "sender": sender,
        "type": kind,
    }
    if state_key is not None:
        pdu["state_key"] = state_key
    canonical, of_version = encode(pdu), ROOM_VERSIONS[version]
    new = rendered(Event(pdu, canonical, of_version, "$id", "!room"), redacted_by=redacted_by)
    stored = rendered(Event.stored(canonical, of_version, "$id", "!room"), redacted_by=redacted_by)
    assert stored == new
    told = orjson.loads(stored)
    assert told.pop("unsigned") == ({} if redacted_by is None else {"redacted_by": redacted_by})
    names = ("content", "origin_server_ts", "sender", "type", *(() if state_key is None else ("state_key",)))
    assert told == {"event_id": "$id", "room_id": "!room"} | {name: pdu[name] for name in names}
