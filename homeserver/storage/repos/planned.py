"""What follows from a plan once positions are known: stored events, the new head, and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import orjson

from homeserver.ports.events import Extremity, NewEvent, Replaced, RoomHead, StoredEvent, order_of
from homeserver.storage.repos.plan import AppendPlan
from homeserver.storage.repos.rows import column_json, column_unsigned
from homeserver.storage.sealing import Sealing


def stored_events(plan: AppendPlan, first: int) -> list[StoredEvent]:
    positions, hidden = count(first), iter(plan.hidden)
    placed: dict[str, int | None] = {}  # of this batch
    stored: list[StoredEvent] = []
    for item, snapshot in zip(plan.append.events, plan.after, strict=True):
        position = None if item.is_hidden else next(positions)
        order = placed[item.event.event_id] = None if position is None else order_of(position)
        stored.append(
            StoredEvent(
                event=item.event,
                nid=_row_id(item, position, hidden),
                position=position,
                order=order,
                room_nid=plan.room_nid,
                snapshot=snapshot,
                flags=item.flags,
                push=item.push,
                unsigned=item.unsigned,
                replaces=_placed(item.replaces, placed),
                txn=item.txn,
            )
        )
    return stored


def _placed(replaces: Replaced | None, placed: Mapping[str, int | None]) -> Replaced | None:
    """With its place in the timeline, if it is of the same batch."""
    if replaces is None or replaces.event_id not in placed:
        return replaces
    return replace(replaces, order=placed[replaces.event_id])


def _row_id(item: NewEvent, position: int | None, hidden: Iterator[int]) -> int:
    if item.known_as is not None:
        return item.known_as
    return next(hidden) if position is None else position


def head_row(plan: AppendPlan) -> dict[str, Any]:
    return {
        "room_nid": plan.room_nid,
        "extremities": orjson.dumps([list(extremity) for extremity in _extremities(plan)]).decode(),
        "snapshot_nid": plan.snapshot.nid,
        "snapshot_index": plan.snapshot.index,
    }


def alias_rows(plan: AppendPlan) -> list[dict[str, Any]]:
    room = plan.append.new_room
    if room is None:
        return []
    return [{"alias": alias, "room_nid": plan.room_nid, "creator": room.creator} for alias in room.aliases]


def room_row(plan: AppendPlan) -> dict[str, Any]:
    room = plan.append.new_room
    assert room is not None  # noqa: S101 - narrows the type; callers pass new rooms only
    return {
        **head_row(plan),
        "room_id": room.room_id,
        "room_version": room.room_version.id,
        "creator": room.creator,
        "is_public": room.is_public,
    }


def head_after(plan: AppendPlan) -> RoomHead:
    head = plan.append.head
    return RoomHead(
        room_nid=plan.room_nid,
        room_id=head.room_id,
        room_version=head.room_version,
        version_no=1 if plan.append.new_room is not None else head.version_no + 1,
        extremities=_extremities(plan),
        state=plan.state,
        is_blocked=head.is_blocked,
    )


def _extremities(plan: AppendPlan) -> tuple[Extremity, ...]:
    """Those of the append, with the snapshots that its new events have got."""
    new = {item.event.event_id: nid for item, nid in zip(plan.append.events, plan.after, strict=True)}
    return tuple(
        Extremity(event_id, depth, snapshot or new[event_id]) for event_id, depth, snapshot in plan.append.extremities
    )


def event_row(item: StoredEvent, sealing: Sealing) -> dict[str, Any]:
    event = item.event
    return {
        "nid": item.nid,
        "event_id": event.event_id,
        "room_nid": item.room_nid,
        "ord": item.order,
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "snapshot_nid": item.snapshot,
        "flags": int(item.flags),
        "push": item.push,
        "json": column_json(event.type, event.canonical, sealing),
        "unsigned": column_unsigned(item.unsigned, sealing),
        "redacted_by": item.redacted_by,
        "replaces": None if item.replaces is None else orjson.dumps(_values(item.replaces)).decode(),
    }


def _values(replaces: Replaced) -> tuple[str, int | None, str | None]:
    return replaces.event_id, replaces.order, replaces.membership


def txn_row(item: StoredEvent) -> dict[str, Any]:
    txn = item.txn
    assert txn is not None  # noqa: S101 - narrows the type; callers pass events with a transaction only
    return {
        "event_nid": item.nid,
        "key": txn.key,
        "device_id": txn.device_id,
        "txn_id": txn.txn_id,
    }
