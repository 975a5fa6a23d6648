"""The form in which clients get events.

An event is rendered once, as bytes with `unsigned` last and open at its end; what differs per recipient is spliced
in there without parsing anything again.
spec: client-server-api#room-event-format
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from homeserver.ports.events import StoredEvent

_EMPTY_UNSIGNED = b'"unsigned":{}}'

STRIPPED_TYPES = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)
"""What a potential joiner gets to know of a room.  spec: client-server-api#stripped-state"""


def client_json(stored: StoredEvent) -> bytes:
    """The client form that all recipients share; made once and kept with the event."""
    if stored.client_json is None:
        stored.client_json = _render(stored)
    return stored.client_json


def for_recipient(stored: StoredEvent, extra: Mapping[str, Any]) -> bytes:
    """The client form with `extra` members in `unsigned`: transaction_id, membership, m.relations."""
    shared = client_json(stored)
    if not extra:
        return shared
    inner = orjson.dumps(extra)[1:-1]
    # The shared form ends with the closing braces of `unsigned` and of the event.
    separator = b"" if shared.endswith(_EMPTY_UNSIGNED) else b","
    return shared[:-2] + separator + inner + b"}}"


def federation_form(stored: StoredEvent) -> bytes:
    """The event as servers exchange it, for filters with `event_format: federation`."""
    return stored.event.canonical


def client_content(stored: StoredEvent) -> dict[str, Any]:
    """The content as clients see it: redactions name their target there in every room version.

    spec: rooms/v11#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    """
    event = stored.event
    if event.redacts is not None and "redacts" not in event.content:
        return {**event.content, "redacts": event.redacts}
    return event.content


def stripped(stored: StoredEvent) -> dict[str, Any]:
    """A state event as stripped state.  spec: client-server-api#stripped-state"""
    event = stored.event
    return {"content": event.content, "sender": event.sender, "state_key": event.state_key, "type": event.type}


def _render(stored: StoredEvent) -> bytes:
    event = stored.event
    form: dict[str, Any] = {
        "content": client_content(stored),
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "room_id": event.room_id,
        "sender": event.sender,
        "type": event.type,
    }
    if event.state_key is not None:
        form["state_key"] = event.state_key
    if event.redacts is not None:
        form["redacts"] = event.redacts
    unsigned: dict[str, Any] = dict(stored.unsigned or {})
    if stored.redacted_by is not None:
        unsigned["redacted_by"] = stored.redacted_by
        if stored.redaction_json is not None:
            unsigned["redacted_because"] = orjson.Fragment(stored.redaction_json)
    form["unsigned"] = unsigned
    return orjson.dumps(form)
