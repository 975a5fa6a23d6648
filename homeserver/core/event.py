"""The event (PDU): immutable, and exactly the canonical bytes it came from.

Canonical bytes are made once and reused for storage, hashing and the wire. Most events that a server reads it only
passes on, so an event from the store is not parsed: its few fixed fields are, and content and references only when
somebody looks at them. `event_id` and `room_id` are always set here, whatever the room version keeps in the PDU.
spec: server-server-api#pdus
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any

import msgspec
import orjson

from homeserver.core.versions import RoomVersion

StateKey = tuple[str, str]
"""(event type, state_key)"""


class _Fields(msgspec.Struct, gc=False):
    """What every event has to be asked for; the rest of the bytes stays as it is."""

    type: str
    sender: str
    depth: int
    origin_server_ts: int
    content: msgspec.Raw
    state_key: str | None = None


_decode_fields = msgspec.json.Decoder(_Fields).decode


def membership_value(content: Mapping[str, Any]) -> str | None:
    """`membership` of a member event's content, if it is a string."""
    value = content.get("membership")
    return value if isinstance(value, str) else None


class Event:
    """One event of a room. Built by `core.build` (local) or `core.receipt` (remote); never changed afterwards."""

    __slots__ = (
        "_content",
        "_content_json",
        "_references",
        "canonical",
        "depth",
        "event_id",
        "origin_server_ts",
        "redacts",
        "room_id",
        "sender",
        "state_key",
        "type",
        "version",
    )

    def __init__(
        self, pdu: dict[str, Any], canonical: bytes, version: RoomVersion, event_id: str, room_id: str
    ) -> None:
        """`pdu` is the event's JSON with hashes and signatures and without `unsigned`; `canonical` its bytes.

        The caller has checked the shape (`core.content.check_pdu`).
        """
        self.canonical = canonical
        self.version = version
        self.event_id = event_id
        # Thousands of events in memory share few of these.
        self.room_id = intern(room_id)
        self.type: str = intern(pdu["type"])
        self.sender: str = intern(pdu["sender"])
        self.state_key: str | None = pdu.get("state_key")
        self.depth: int = pdu["depth"]
        self.origin_server_ts: int = pdu["origin_server_ts"]
        self._content: dict[str, Any] | None = pdu["content"]
        self._content_json: msgspec.Raw | None = None
        self._references: tuple[tuple[str, ...], tuple[str, ...]] | None = _references(pdu)
        self.redacts: str | None = _redacts(pdu, version)

    @classmethod
    def stored(cls, canonical: bytes, version: RoomVersion, event_id: str, room_id: str) -> Event:
        """The event in `canonical`, bytes that this server has checked or made and stored itself."""
        fields = _decode_fields(canonical)
        self = cls.__new__(cls)
        self.canonical = canonical
        self.version = version
        self.event_id = event_id
        self.room_id = intern(room_id)
        self.type = intern(fields.type)
        self.sender = intern(fields.sender)
        self.state_key = fields.state_key
        self.depth = fields.depth
        self.origin_server_ts = fields.origin_server_ts
        self._content = None
        self._content_json = fields.content
        self._references = None
        self.redacts = _redacts(self.pdu, version) if fields.type == "m.room.redaction" else None
        return self

    @property
    def pdu(self) -> dict[str, Any]:
        """The event's JSON with hashes and signatures, a new object each time."""
        pdu: dict[str, Any] = orjson.loads(self.canonical)
        return pdu

    @property
    def content(self) -> dict[str, Any]:
        """The content, which nobody may change."""
        content = self._content
        if content is None:
            raw = self._content_json
            content = self._content = self.pdu["content"] if raw is None else orjson.loads(memoryview(raw))
        return content

    @property
    def content_json(self) -> msgspec.Raw | None:
        """The bytes of the content, where they lie apart already: in events that came from the store."""
        return self._content_json

    @property
    def prev_events(self) -> tuple[str, ...]:
        """Ids of the events before it in the graph."""
        return self._referenced[0]

    @property
    def auth_events(self) -> tuple[str, ...]:
        """Ids of the events that allow it."""
        return self._referenced[1]

    @property
    def _referenced(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        references = self._references
        if references is None:
            references = self._references = _references(self.pdu)
        return references

    def forget_parsed(self) -> None:
        """Keep little besides the bytes. What was parsed of them is parsed again when somebody looks at it.

        The content of state stays: every event that follows is checked against it.
        """
        self._references = None
        if self.state_key is None:
            self._content = None

    @property
    def is_state(self) -> bool:
        """Whether the event sets a piece of room state."""
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """(type, state_key) of a state event; a message event has none and raises ValueError."""
        if self.state_key is None:
            raise ValueError(f"{self.event_id} is not a state event")
        return (self.type, self.state_key)

    @property
    def membership(self) -> str | None:
        """`content.membership` of an m.room.member event, if it is a string."""
        return membership_value(self.content) if self.type == "m.room.member" else None

    def __repr__(self) -> str:
        return f"<Event {self.event_id} {self.type}{'' if self.state_key is None else '/' + self.state_key}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other.event_id == self.event_id

    def __hash__(self) -> int:
        return hash(self.event_id)


def _references(pdu: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(prev_events, auth_events). v1 and v2 reference events as [id, hashes] pairs.  spec: rooms/v1#event-format"""
    return (
        tuple([item if isinstance(item, str) else item[0] for item in pdu["prev_events"]]),
        tuple([item if isinstance(item, str) else item[0] for item in pdu["auth_events"]]),
    )


def _redacts(pdu: dict[str, Any], version: RoomVersion) -> str | None:
    if pdu["type"] != "m.room.redaction":
        return None
    redacts = pdu["content"].get("redacts") if version.redaction.redacts_in_content else pdu.get("redacts")
    return redacts if isinstance(redacts, str) else None
