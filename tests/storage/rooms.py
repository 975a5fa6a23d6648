"""Rooms for storage tests: events that look right without being signed, appended as the committer does."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson

from homeserver.core.event import Event
from homeserver.core.versions import DEFAULT_ROOM_VERSION, RoomVersion
from homeserver.ports.events import (
    AppendResult,
    EventFlags,
    Extremity,
    NewEvent,
    NewRoom,
    RoomAppend,
    RoomHead,
)
from homeserver.ports.state import RoomState, StateMap
from homeserver.storage.dialect import Sql
from homeserver.storage.packing import unpack
from homeserver.storage.unit import Database

_numbers = itertools.count(1)


def make_event(
    room_id: str,
    kind: str,
    content: dict[str, Any],
    *,
    state_key: str | None = None,
    sender: str = "@alice:hromada.test",
    version: RoomVersion = DEFAULT_ROOM_VERSION,
    **more: Any,
) -> Event:
    """An event with a made-up id."""
    pdu: dict[str, Any] = {
        "type": kind,
        "room_id": room_id,
        "sender": sender,
        "content": content,
        "depth": 1,
        "origin_server_ts": 1,
        "prev_events": [],
        "auth_events": [],
        **more,
    }
    if state_key is not None:
        pdu["state_key"] = state_key
    number = next(_numbers)
    return Event(pdu, orjson.dumps(pdu, option=orjson.OPT_SORT_KEYS), version, f"$event{number}", room_id)


def empty_head(room_id: str) -> RoomHead:
    """The head of a room that does not exist yet."""
    return RoomHead(0, room_id, DEFAULT_ROOM_VERSION, 0, (), RoomState.empty())


def decide(head: RoomHead, *events: Event | NewEvent, state: RoomState | None = None) -> RoomAppend:
    """An append of `events` on `head`; the state after each follows from its key."""
    current = head.state
    decided = []
    for item in events:
        if isinstance(item, NewEvent):
            decided.append(item)
            if not item.flags:
                current = item.state_after
            continue
        if item.state_key is not None:
            current = current.set((item.type, item.state_key), item.event_id)
        decided.append(NewEvent(item, current))
    last = decided[-1].event
    new_room = NewRoom(head.room_id, head.room_version, last.sender, is_public=False) if head.room_nid == 0 else None
    return RoomAppend(head, tuple(decided), (Extremity(last.event_id, last.depth, 0),), new_room, state)


async def commit(store: Database, *appends: RoomAppend) -> list[AppendResult]:
    """Write the appends in one transaction."""
    async with store.write() as tx:
        allowed = await tx.rooms.advance(appends)
        accepted = [append for index, append in enumerate(appends) if index in allowed]
        count = sum(append.positions for append in accepted)
        first = await tx.log.reserve(count) if count else 0
        written = iter(await tx.events.append(accepted, first) if accepted else [])
        return [next(written) if index in allowed else AppendResult(moved=True) for index in range(len(appends))]


def founding(room_id: str) -> list[Event]:
    """The first events of a room."""
    return [
        make_event(room_id, "m.room.create", {"room_version": "12"}, state_key=""),
        make_event(room_id, "m.room.member", {"membership": "join"}, state_key="@alice:hromada.test"),
    ]


async def make_room(store: Database, room_id: str) -> RoomHead:
    """A room with a create event and one member; its head."""
    (result,) = await commit(store, decide(empty_head(room_id), *founding(room_id)))
    assert result.head is not None
    return result.head


def whole(head: RoomHead) -> StateMap:
    """The state of a small room as a map."""
    assert head.state.whole is not None
    return head.state.whole


async def stored_json(store: Database) -> list[bytes]:
    """The JSON of every event as it lies in the table, unpacked."""
    async with store.engine.read_committed() as connection:
        return [unpack(row[0]) for row in await Sql("SELECT json FROM events").rows(connection)]


def flagged(event: Event, state: RoomState, flags: EventFlags) -> NewEvent:
    """A rejected or soft-failed event."""
    return NewEvent(event, state, flags)


def redaction(head: RoomHead, target: str, *, allowed: bool = True) -> NewEvent:
    """A redaction of `target`."""
    event = make_event(head.room_id, "m.room.redaction", {"redacts": target, "reason": "spam"})
    return replace(NewEvent(event, head.state), redacts_allowed=allowed)


def message(room_id: str, body: str = "hello") -> Event:
    """A text message."""
    return make_event(room_id, "m.room.message", {"msgtype": "m.text", "body": body})


def ids(events: Iterable[Any]) -> list[str]:
    """The event ids of stored events."""
    return [item.event.event_id for item in events]
