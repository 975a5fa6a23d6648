"""What the bridge remembers, as the rest of it sees it: see `bridges.state`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something to do at the homeserver, once."""

    txn: str
    mapping: str
    lane: str
    """Deliveries of one lane are made one after the other: it is the room of one row."""
    kind: str
    """`room`, `open`, `archive`, `redact`, `profile`, or the type of the event; of state with `state:` before it."""
    sender: str
    content: dict[str, Any]
    ts: int | None = None
    id: int = 0
    attempts: int = 0
    tried_ms: int | None = None
    """When it was first sent without being answered."""


@dataclass(frozen=True, slots=True)
class Made:
    """A delivery that was made."""

    delivery: Delivery
    event_id: str | None
    keep: bool
    """Its event is remembered for a redaction, as long as it takes."""


@dataclass(frozen=True, slots=True)
class RoomRow:
    """The room of a lane as it was last rendered."""

    lane: str
    alias: str
    name: str
    topic: str
    archived: bool = False
    room_id: str | None = None


@dataclass(frozen=True, slots=True)
class RowState:
    """A row as it was last seen."""

    key: str
    """The key as JSON."""
    n: int
    """How often it was seen to change."""
    hash: str | None
    """Of its image; None if it is gone."""
    image: Mapping[str, Any] | None
    ahead: bool = False
    """A scan saw it: the log may still tell what led there."""
    scan: int = 0
    """The last scan that met it."""


@dataclass(slots=True)
class Stored:
    """What is stored together, in one transaction."""

    deliveries: list[Delivery] = field(default_factory=list)
    rooms: dict[str, RoomRow] = field(default_factory=dict)
    rows: dict[str, RowState] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    echoes: list[tuple[str, str]] = field(default_factory=list)
    """(key, event id) of echoes that have come."""
    progress: dict[str, str] = field(default_factory=dict)
