"""The event (PDU): immutable parsed JSON plus the exact canonical bytes it came from.

Canonical bytes are made once and reused for storage, hashing and the wire. `event_id` and `room_id` are always
set here, whatever the room version keeps in the PDU.
spec: server-server-api#pdus
"""

from __future__ import annotations

from typing import Any

from homeserver.core.versions import RoomVersion

StateKey = tuple[str, str]
"""(event type, state_key)"""


class Event:
    """One event of a room. Built by `core.build` (local) or `core.receipt` (remote); never changed afterwards."""

    __slots__ = (
        "auth_events",
        "canonical",
        "content",
        "depth",
        "event_id",
        "origin_server_ts",
        "pdu",
        "prev_events",
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
        self.pdu = pdu
        self.canonical = canonical
        self.version = version
        self.event_id = event_id
        self.room_id = room_id
        self.type: str = pdu["type"]
        self.sender: str = pdu["sender"]
        self.state_key: str | None = pdu.get("state_key")
        self.content: dict[str, Any] = pdu["content"]
        self.depth: int = pdu["depth"]
        self.origin_server_ts: int = pdu["origin_server_ts"]
        # v1 and v2 reference events as [id, hashes] pairs.  spec: rooms/v1#event-format
        self.prev_events: tuple[str, ...] = _references(pdu["prev_events"])
        self.auth_events: tuple[str, ...] = _references(pdu["auth_events"])
        redacts = self.content.get("redacts") if version.redaction.redacts_in_content else pdu.get("redacts")
        self.redacts: str | None = redacts if self.type == "m.room.redaction" and isinstance(redacts, str) else None

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
        value = self.content.get("membership") if self.type == "m.room.member" else None
        return value if isinstance(value, str) else None

    def __repr__(self) -> str:
        return f"<Event {self.event_id} {self.type}{'' if self.state_key is None else '/' + self.state_key}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other.event_id == self.event_id

    def __hash__(self) -> int:
        return hash(self.event_id)


def _references(value: list[Any]) -> tuple[str, ...]:
    return tuple(item if isinstance(item, str) else item[0] for item in value)
