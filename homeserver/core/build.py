"""Builds this server's own events: hash, sign, name; and reads stored events back.

The hot path of every send. Each event is encoded three times, the least that two hashes over different fields and
the stored bytes allow; nothing is copied deeply. Whether the event is allowed is decided elsewhere (`auth`).
spec: server-server-api#adding-hashes-and-signatures-to-outgoing-events
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from homeserver.core.canonical import trimmed
from homeserver.core.errors import BadEvent
from homeserver.core.event import Event
from homeserver.core.signatures import (
    SigningKey,
    encode_base64,
    encode_for,
    essential_bytes,
    event_id_of_bytes,
)
from homeserver.core.versions import EventIdForm, RoomVersion


@dataclass(frozen=True, slots=True)
class ProtoEvent:
    """What its author says about an event."""

    room_id: str | None
    """None only for the create event of a room whose id is that event's hash (v12)."""
    sender: str
    type: str
    content: dict[str, Any]
    state_key: str | None = None
    redacts: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stands in the graph of its room."""

    prev_events: Sequence[str]
    auth_events: Sequence[str]
    depth: int
    reference_hashes: Mapping[str, str] = field(default_factory=dict)
    """v1 and v2 only: the unpadded base64 reference hash of each event named above."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The server that signs: its name and its current key."""

    server_name: str
    key: SigningKey


def build_event(
    version: RoomVersion,
    draft: ProtoEvent,
    place: Place,
    signer: Signer,
    *,
    origin_server_ts: int,
    opaque_id: str | None = None,
) -> Event:
    """The finished event: hashed, signed and named.

    `opaque_id` is the unique part of the event id in v1 and v2, where the server chooses it.
    Raises BadEvent if the content is not JSON; sizes and types are checked by `core.content`.
    """
    pdu = unsigned_pdu(version, draft, place, origin_server_ts=origin_server_ts)
    if version.event_id is EventIdForm.GIVEN:
        if opaque_id is None:
            raise ValueError(f"Room version {version.id} needs an opaque_id")
        pdu["event_id"] = f"${opaque_id}:{signer.server_name}"
    pdu["hashes"] = {"sha256": encode_base64(sha256(encode_for(pdu, version)).digest())}
    essential = essential_bytes(pdu, version)
    pdu["signatures"] = {signer.server_name: {signer.key.key_id: signer.key.sign(essential)}}

    if version.event_id is EventIdForm.GIVEN:
        event_id = pdu["event_id"]
    else:
        event_id = event_id_of_bytes(essential, version)
    canonical = trimmed(encode_for(pdu, version))
    return Event(pdu, canonical, version, event_id, _room_id(pdu, event_id, version))


def unsigned_pdu(version: RoomVersion, draft: ProtoEvent, place: Place, *, origin_server_ts: int) -> dict[str, Any]:
    """The event before hashing and signing; also the template that /make_join and its kin hand out.

    spec: rooms/v1#event-format, rooms/v3#event-format, rooms/v11#event-format, rooms/v12#event-format
    """
    content = draft.content
    pdu: dict[str, Any] = {
        "auth_events": _references(place.auth_events, place, version),
        "content": content,
        "depth": place.depth,
        "origin_server_ts": origin_server_ts,
        "prev_events": _references(place.prev_events, place, version),
        "sender": draft.sender,
        "type": draft.type,
    }
    if draft.room_id is not None:
        pdu["room_id"] = draft.room_id
    if draft.state_key is not None:
        pdu["state_key"] = draft.state_key
    if draft.redacts is not None:
        if version.redaction.redacts_in_content:
            pdu["content"] = {**content, "redacts": draft.redacts}
        else:
            pdu["redacts"] = draft.redacts
    return pdu


def _room_id(pdu: dict[str, Any], event_id: str, version: RoomVersion) -> str:
    """`room_id`, or for a create event of v12 its own id with another sigil.  spec: rooms/v12#event-format"""
    room_id = pdu.get("room_id")
    if isinstance(room_id, str):
        return room_id
    if version.auth.room_id_is_create_hash and pdu["type"] == "m.room.create":
        return "!" + event_id[1:]
    raise BadEvent("The event has no room_id")


def _references(event_ids: Sequence[str], place: Place, version: RoomVersion) -> list[Any]:
    if version.event_id is not EventIdForm.GIVEN:
        return list(event_ids)
    return [[event_id, {"sha256": place.reference_hashes[event_id]}] for event_id in event_ids]
