"""Events between rows and objects: one column list, one reader, one writer."""

from __future__ import annotations

from typing import Any

import orjson

from homeserver.core.build import load_event
from homeserver.core.event import Event
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.events import EventFlags, StoredEvent

EVENT_COLUMNS = (
    "e.nid, e.ord, e.event_id, e.room_nid, e.snapshot_nid, e.flags, e.json, e.unsigned, e.redacted_by, "
    "r.room_id, r.room_version, x.json AS redaction"
)
EVENT_JOINS = "JOIN rooms r ON r.room_nid = e.room_nid LEFT JOIN events x ON x.event_id = e.redacted_by"


def stored_event(row: Any) -> StoredEvent:
    """The object of a row of EVENT_COLUMNS."""
    nid, order, event_id, room_nid, snapshot, flags, json, unsigned, redacted_by, room_id, version, redaction = row[:12]
    room_version = ROOM_VERSIONS[version]
    return StoredEvent(
        event=load_event(json, room_version, event_id, room_id),
        position=nid,
        order=order,
        room_nid=room_nid,
        snapshot=snapshot,
        flags=EventFlags(flags),
        redacted_by=redacted_by,
        redaction_json=None
        if redaction is None
        else client_form(load_event(redaction, room_version, redacted_by, room_id)),
        unsigned=None if unsigned is None else orjson.loads(unsigned),
    )


def client_form(event: Event) -> bytes:
    """The redaction as clients see it in `unsigned.redacted_because`.

    Old clients look for `redacts` beside `content`, new ones inside it: both get it.
    spec: rooms/v11#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    """
    form: dict[str, Any] = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "room_id": event.room_id,
        "sender": event.sender,
        "type": event.type,
    }
    if event.redacts is not None:
        form["redacts"] = event.redacts
        form["content"] = {**event.content, "redacts": event.redacts}
    return orjson.dumps(form, option=orjson.OPT_SORT_KEYS)
