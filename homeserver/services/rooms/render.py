"""The form in which clients get events.

An event is rendered once, as bytes with `unsigned` last and open at its end; what differs per recipient is spliced
in there without parsing anything again.
spec: client-server-api#room-event-format
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from homeserver.core.canonical import trimmed
from homeserver.ports.events import StoredEvent
from homeserver.services.rooms.visibility import Visible

_EMPTY_UNSIGNED = b'"unsigned":{}}'
_ALONE = {value: b'"membership":"%b"}}' % value.encode() for value in ("join", "leave", "invite", "knock", "ban")}
_BESIDE = {value: b"," + end for value, end in _ALONE.items()}
_NOTHING = msgspec.Raw(b"{}")


class _ClientForm(msgspec.Struct, gc=False):
    """What clients get of an event. Decoded from the PDU, whose other members they do not get."""

    content: msgspec.Raw
    origin_server_ts: int
    sender: msgspec.Raw
    type: msgspec.Raw
    room_id: str = ""
    event_id: str = ""
    state_key: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    redacts: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    unsigned: msgspec.Raw = _NOTHING


class _FormOfFields(msgspec.Struct, gc=False):
    """The same in the same order, of a message whose fields are at hand."""

    content: msgspec.Raw
    origin_server_ts: int
    sender: str
    type: str
    room_id: str
    event_id: str
    unsigned: msgspec.Raw = _NOTHING


_decode_form = msgspec.json.Decoder(_ClientForm).decode
_encode_form = msgspec.json.Encoder().encode

STRIPPED_TYPES = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.history_visibility",  # beyond the specification's list, which need not be all: how far back they will see
)
"""What a potential joiner gets to know of a room.  spec: client-server-api#stripped-state"""


def client_json(stored: Visible) -> bytes:
    """The client form that all recipients share, with nothing of other events; made once and kept with the event."""
    if stored.client_json is None:
        stored.client_json = _render(stored)
    return stored.client_json


def for_recipient(stored: Visible, extra: Mapping[str, Any]) -> bytes:
    """The client form with `extra` members in `unsigned`: transaction_id, membership, m.relations, what it quotes."""
    shared = client_json(stored)
    return _with_extra(shared, extra) if extra else shared


def _with_extra(shared: bytes, extra: Mapping[str, Any]) -> bytes:
    # The shared form ends with the closing braces of `unsigned` and of the event.
    separator = b"" if shared.endswith(_EMPTY_UNSIGNED) else b","
    return shared[:-2] + separator + orjson.dumps(extra)[1:-1] + b"}}"


def for_member(stored: Visible, membership: str) -> bytes:
    """As `for_recipient` for somebody who had this membership and has nothing else of their own: most of all events."""
    return with_membership(stored.client_json or client_json(stored), membership)


def with_membership(shared: bytes, membership: str) -> bytes:
    """The client form `shared` for somebody who had this membership: as `for_member`, where only bytes are at hand."""
    end = (_ALONE if shared.endswith(_EMPTY_UNSIGNED) else _BESIDE).get(membership)
    return _with_extra(shared, {"membership": membership}) if end is None else shared[:-2] + end


def federation_form(stored: Visible) -> bytes:
    """The event as servers exchange it, for filters with `event_format: federation`."""
    return stored.event.canonical


def client_content(stored: Visible) -> dict[str, Any]:
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


def _render(stored: Visible) -> bytes:
    """Straight from the canonical bytes to the client's: content is copied as it is, not parsed."""
    event = stored.event
    content = event.content_json
    if content is not None and event.state_key is None and event.redacts is None and stored.redacted_by is None:
        # Nearly all that is read from the store: what was taken apart there is not taken apart again.
        return trimmed(
            _encode_form(
                _FormOfFields(content, event.origin_server_ts, event.sender, event.type, event.room_id, event.event_id)
            )
        )
    form = _decode_form(event.canonical)
    form.event_id = event.event_id
    form.room_id = event.room_id
    form.redacts = msgspec.UNSET
    if event.redacts is not None:
        # Old clients look for `redacts` beside `content`, new ones inside it: both get it.
        form.redacts = msgspec.Raw(orjson.dumps(event.redacts))
        form.content = msgspec.Raw(orjson.dumps(client_content(stored)))
    if stored.replaces is not None or stored.redacted_by is not None:
        form.unsigned = msgspec.Raw(_unsigned(stored))
    return trimmed(_encode_form(form))


def _unsigned(stored: StoredEvent) -> bytes:
    unsigned: dict[str, Any] = {}
    if stored.replaces is not None:
        unsigned["replaces_state"] = stored.replaces.event_id
    if stored.redacted_by is not None:
        unsigned["redacted_by"] = stored.redacted_by
    return orjson.dumps(unsigned)
