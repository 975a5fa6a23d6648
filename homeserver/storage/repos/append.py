"""Writing appends: heads are compared and moved first, rows follow once the log gave positions.

`advance` does everything that needs no position, so that the log's counter row is locked for the inserts only.
Every statement here runs once per transaction, whatever the number of rooms and events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core.event import StateKey
from homeserver.core.pushbits import mentioned_users
from homeserver.ports.events import (
    AppendResult,
    Correction,
    RoomAppend,
    StoredEvent,
)
from homeserver.ports.state import Snapshot
from homeserver.storage.dialect import Connection, Fragment, Sql, in_texts, json_rows, json_texts, rows_of
from homeserver.storage.ids import TAKE, TransactionIds
from homeserver.storage.repos.aliases import PUT_ALIAS
from homeserver.storage.repos.chains import KeyChange, Link, link, needs_chain, parent_index
from homeserver.storage.repos.graph import (
    DROP_GAP,
    DROP_REDACTIONS_WAITING,
    INSERT_AUTH,
    INSERT_CHANGE,
    INSERT_GAP,
    INSERT_LATE,
    INSERT_REDACTION_WAITING,
    INSERT_VIEW,
    SET_PLACE,
    auth_row,
    gap_rows,
    view_rows,
)
from homeserver.storage.repos.log import RESERVE
from homeserver.storage.repos.plan import AppendPlan, PlannedSnapshot, count_snapshots, plan_append
from homeserver.storage.repos.planned import (
    alias_rows,
    event_row,
    head_after,
    head_row,
    room_row,
    stored_events,
    txn_row,
)
from homeserver.storage.repos.redactions import Redactions, prune_new
from homeserver.storage.repos.relations import INSERT_RELATION, relation_row
from homeserver.storage.repos.rows import EventReader, opened
from homeserver.storage.repos.search import INSERT_WORDS, words_row

_HEADS = rows_of(
    "heads",
    "w",
    room_nid="bigint",
    version_no="bigint",
    extremities="text",
    snapshot_nid="bigint",
    snapshot_index="bigint",
)
_SET_HEAD = """UPDATE rooms SET head_version = rooms.head_version + 1, extremities = w.extremities,
    snapshot_nid = w.snapshot_nid, snapshot_index = w.snapshot_index"""
# PostgreSQL locks in the order the CTE gives rows, so two processes with the same rooms never wait for each other
# in a circle. SQLite has one writer.
_ADVANCE = Sql(
    "{body} RETURNING rooms.room_nid",
    body=Fragment(
        f"{_SET_HEAD} FROM {_HEADS.sqlite} WHERE rooms.room_nid = w.room_nid AND rooms.head_version = w.version_no",
        f"""WITH w AS MATERIALIZED (SELECT * FROM {_HEADS.postgres}), locked AS MATERIALIZED (
            SELECT room_nid FROM rooms WHERE room_nid IN (SELECT room_nid FROM w) ORDER BY room_nid FOR UPDATE)
        {_SET_HEAD} FROM locked JOIN w ON w.room_nid = locked.room_nid
        WHERE rooms.room_nid = w.room_nid AND rooms.head_version = w.version_no""",
    ),
)
_INSERT_ROOM = Sql(
    """INSERT INTO rooms (room_nid, room_id, room_version, creator, is_public, head_version, extremities,
        snapshot_nid, snapshot_index)
    VALUES (:room_nid, :room_id, :room_version, :creator, :is_public, 1, :extremities,
        :snapshot_nid, :snapshot_index)"""
)
_CHAINS = Sql(
    """WITH RECURSIVE chain(snapshot_nid, parent_nid, chain_index, stop) AS (
        SELECT s.snapshot_nid, s.parent_nid, s.chain_index, w.stop
        FROM {wanted} JOIN snapshots s ON s.snapshot_nid = w.snapshot_nid WHERE s.chain_index > w.stop
        UNION ALL
        SELECT s.snapshot_nid, s.parent_nid, s.chain_index, c.stop
        FROM chain c JOIN snapshots s ON s.snapshot_nid = c.parent_nid WHERE s.chain_index > c.stop)
    SELECT c.snapshot_nid, c.parent_nid, c.chain_index, d.event_nid, d.removed, e.type, e.state_key
    FROM chain c LEFT JOIN snapshot_deltas d ON d.snapshot_nid = c.snapshot_nid
    LEFT JOIN events e ON e.nid = d.event_nid""",
    wanted=rows_of("wanted", "w", snapshot_nid="bigint", stop="bigint"),
)
_KNOWN = Sql(
    """SELECT nid, event_id, type, sender, json,
        CASE WHEN nid > 0 THEN nid ELSE coalesce((SELECT l.position FROM late_events l WHERE l.event_nid = nid), 0) END
    FROM events WHERE {ids}""",
    ids=in_texts("event_id", "ids"),
)
_INSERT_EVENT = Sql(
    """INSERT INTO events (nid, event_id, room_nid, ord, type, state_key, sender, snapshot_nid, flags, push, json,
        unsigned, redacted_by, replaces)
    VALUES (:nid, :event_id, :room_nid, :ord, :type, :state_key, :sender, :snapshot_nid, :flags, :push, :json,
        :unsigned, :redacted_by, :replaces)"""
)
_INSERT_MENTION = Sql(
    "INSERT INTO event_mentions (user_id, room_nid, ord) VALUES (:user_id, :room_nid, :ord) ON CONFLICT DO NOTHING"
)
_INSERT_TXN = Sql(
    """INSERT INTO event_txns (event_nid, key, device_id, txn_id)
    VALUES (:event_nid, :key, :device_id, :txn_id)"""
)
_INSERT_SNAPSHOT = Sql(
    """INSERT INTO snapshots (snapshot_nid, room_nid, parent_nid, chain_index)
    VALUES (:snapshot_nid, :room_nid, :parent_nid, :chain_index)"""
)
_INSERT_DELTA = Sql(
    "INSERT INTO snapshot_deltas (snapshot_nid, event_nid, removed) VALUES (:snapshot_nid, :event_nid, :removed)"
)
_SET_STATE = Sql(
    """INSERT INTO current_state (room_nid, type, state_key, event_nid, membership)
    VALUES (:room_nid, :type, :state_key, :event_nid, :membership)
    ON CONFLICT (room_nid, type, state_key)
    DO UPDATE SET event_nid = excluded.event_nid, membership = excluded.membership"""
)
_DROP_STATE = Sql("DELETE FROM current_state WHERE room_nid = :room_nid AND type = :type AND state_key = :state_key")
# A forgotten room stays hidden through a kick or ban and comes back with an invite, knock or join.
_SET_MEMBERSHIP = Sql(
    """INSERT INTO memberships (user_id, room_nid, membership, event_nid, position, sender, forgotten)
    VALUES (:user_id, :room_nid, :membership, :event_nid, :position, :sender, false)
    ON CONFLICT (user_id, room_nid)
    DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
        position = excluded.position, sender = excluded.sender,
        forgotten = memberships.forgotten AND excluded.membership IN ('leave', 'ban')"""
)
# State resolution took the membership away: the user has left, without an event that says so.
_END_MEMBERSHIP = Sql(
    """UPDATE memberships SET membership = 'leave', position = :position
    WHERE user_id = :user_id AND room_nid = :room_nid"""
)


_USUAL = (
    TAKE,
    RESERVE,
    _ADVANCE,
    _INSERT_EVENT,
    _INSERT_TXN,
    INSERT_AUTH,
    _INSERT_SNAPSHOT,
    _INSERT_DELTA,
    _SET_STATE,
    _SET_MEMBERSHIP,
)
"""What messages and changes of state need."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What other rows need to know of an event: stored before, or part of this transaction."""

    nid: int
    sender: str
    membership: str | None
    position: int  # in the log; 0 if it was no news


class Appender:
    """The appends of one transaction, between `advance` and `write`."""

    def __init__(
        self, connection: Connection, ids: TransactionIds, server_name: str, reader: EventReader, *, searchable: bool
    ) -> None:
        self._connection = connection
        self._searchable = searchable
        self._reader = reader
        self._ids = ids
        self._server_name = server_name
        self._plans: dict[int, AppendPlan] = {}  # by id() of the append: comparing appends compares whole states
        self._chains: dict[int, Link] = {}
        self._known: dict[str, _Known] = {}
        self._redactions = Redactions(connection)

    async def prepare(self) -> None:
        """See `EventRepo.prepare_append`."""
        await self._connection.prepare((*_USUAL, INSERT_WORDS) if self._searchable else _USUAL)

    async def advance(self, appends: Sequence[RoomAppend]) -> set[int]:
        """See `RoomRepo.advance`. A room's second append in the same call has moved by definition."""
        first_of_room: dict[str, int] = {}
        for index, append in enumerate(appends):
            first_of_room.setdefault(append.head.room_id, index)
        plans = {index: await self._plan(appends[index]) for index in first_of_room.values()}
        moved = await self._move_heads([plan for plan in plans.values() if plan.append.new_room is None])
        created = [plan for plan in plans.values() if plan.append.new_room is not None]
        await _INSERT_ROOM.run_many(self._connection, [room_row(plan) for plan in created])
        await PUT_ALIAS.run_many(self._connection, [row for plan in created for row in alias_rows(plan)])
        allowed = {
            index: plan for index, plan in plans.items() if plan.append.new_room is not None or plan.room_nid in moved
        }
        self._plans.update((id(plan.append), plan) for plan in allowed.values())
        await self._read_chains(allowed.values())
        await self._read_known(allowed.values())
        await self._redactions.read(allowed.values())
        return set(allowed)

    async def _plan(self, append: RoomAppend) -> AppendPlan:
        room_nid = append.head.room_nid
        if append.new_room is not None:
            room_nid = (await self._ids.take("room", 1))[0]
        snapshots = count_snapshots(append)
        ids = await self._ids.take("snapshot", snapshots) if snapshots else range(0)
        hidden = sum(item.is_hidden and item.known_as is None for item in append.events)
        outliers = await self._ids.take("outlier", hidden) if hidden else range(0)
        return plan_append(append, room_nid, ids, outliers)

    async def _move_heads(self, plans: list[AppendPlan]) -> set[int]:
        if not plans:
            return set()
        rows = [{**head_row(plan), "version_no": plan.append.head.version_no} for plan in plans]
        result = await _ADVANCE.rows(self._connection, heads=json_rows(rows))
        return {row[0] for row in result}

    async def _read_chains(self, plans: Iterable[AppendPlan]) -> None:
        """The stored links that new snapshots have to merge: one statement, only every 16th state change."""
        wanted: list[dict[str, int]] = []
        for plan in plans:
            stops: dict[int, int] = {}  # stored snapshot → how far down its chain is merged
            roots: dict[int, Snapshot] = {}  # new snapshot → the stored one it stands on
            for made in plan.new:
                root = roots.setdefault(made.snapshot.nid, roots.get(made.base.nid, made.base))
                stop = parent_index(made.snapshot.index)
                if root.nid and needs_chain(made.snapshot.index) and stop < root.index:
                    stops[root.nid] = min(stop, stops.get(root.nid, stop))
            wanted.extend({"snapshot_nid": nid, "stop": stop} for nid, stop in stops.items())
        if not wanted:
            return
        deltas: dict[int, tuple[int, int, dict[StateKey, KeyChange]]] = {}
        for row in await _CHAINS.rows(self._connection, wanted=json_rows(wanted)):
            nid, parent, index, event_nid, removed, kind, state_key = row
            _, _, delta = deltas.setdefault(nid, (parent, index, {}))
            if event_nid is not None:
                delta[(kind, state_key)] = KeyChange(event_nid, bool(removed))
        self._chains.update((nid, Link(nid, parent, index, delta)) for nid, (parent, index, delta) in deltas.items())

    async def _read_known(self, plans: Iterable[AppendPlan]) -> None:
        """Stored events that state resolution brings back or takes out: one statement, none without it."""
        own: set[str] = set()
        wanted: set[str] = set()
        for plan in plans:
            for item in plan.append.events:
                own.add(item.event.event_id)
                if item.event.is_state and item.known_as is None:
                    wanted.update(event_id for event_id in item.event.auth_events if event_id not in item.auth)
            for made in plan.new:
                wanted.update(event_id or made.before[key] or "" for key, event_id in made.changes.items())
        wanted -= own
        if not wanted:
            return
        for nid, event_id, kind, sender, json, position in await _KNOWN.rows(self._connection, ids=json_texts(wanted)):
            membership = (
                _membership(orjson.loads(opened(json, self._connection.sealing))) if kind == "m.room.member" else None
            )
            self._known[event_id] = _Known(nid, sender, membership, position)

    async def write(self, appends: Sequence[RoomAppend], first: int) -> list[AppendResult]:
        """See `EventRepo.append`."""
        plans = [self._plans.pop(id(append)) for append in appends]
        stored: list[list[StoredEvent]] = []
        positions: list[int] = []  # of corrections: behind the events of their append
        position = first
        for plan in plans:
            stored.append(stored_events(plan, position))
            position += plan.append.positions
            positions.append(position - 1)
        for plan, events in zip(plans, stored, strict=True):
            for item in events:
                event = item.event
                self._known[event.event_id] = _Known(item.nid, event.sender, event.membership, item.position or 0)
            prune_new(plan, events)
        everything = [item for events in stored for item in events]
        known = {item.known_as for plan in plans for item in plan.append.events if item.known_as is not None}
        new = [item for item in everything if item.nid not in known]
        await _INSERT_EVENT.run_many(self._connection, [event_row(item, self._connection.sealing) for item in new])
        await self._place_known([item for item in everything if item.nid in known])
        await self._write_graph(plans, stored, new)
        await _INSERT_TXN.run_many(self._connection, [txn_row(item) for item in everything if item.txn])
        await _INSERT_MENTION.run_many(self._connection, list(self._mentions(everything)))
        related = [row for item in everything if item.order is not None and (row := relation_row(item)) is not None]
        await INSERT_RELATION.run_many(self._connection, related)
        if self._searchable:
            told = [words_row(item.nid, item.room_nid, item.event) for item in everything if item.order is not None]
            await INSERT_WORDS.run_many(self._connection, [row for row in told if row is not None])
        await self._redactions.write(plans)
        await self._write_snapshots(plans)
        await self._write_current(plans, positions)
        corrections = await self._write_corrections(plans, positions)
        return [
            AppendResult(tuple(events), head_after(plan), correction=correction)
            for plan, events, correction in zip(plans, stored, corrections, strict=True)
        ]

    async def _place_known(self, late: list[StoredEvent]) -> None:
        """Events that were stored as outliers get their place."""
        await SET_PLACE.run_many(
            self._connection,
            [
                {key: row[key] for key in ("nid", "ord", "snapshot_nid", "flags", "unsigned", "push", "replaces")}
                for row in (event_row(item, self._connection.sealing) for item in late)
            ],
        )
        rows = [{"position": item.position, "event_nid": item.nid} for item in late if item.position is not None]
        await INSERT_LATE.run_many(self._connection, rows)

    async def _write_graph(
        self, plans: list[AppendPlan], stored: list[list[StoredEvent]], new: list[StoredEvent]
    ) -> None:
        """Auth edges of new state events, and which events that others name are missing or have come."""
        auth: dict[str, int] = {}
        gaps: list[dict[str, Any]] = []
        filled: list[dict[str, Any]] = []
        waiting: list[dict[str, Any]] = []
        views: list[dict[str, Any]] = []
        arrived: list[dict[str, Any]] = []
        for plan, events in zip(plans, stored, strict=True):
            for item, event in zip(plan.append.events, events, strict=True):
                auth.update(item.auth)
                gaps.extend(gap_rows(item, event))
                views.extend(view_rows(item, event))
                if item.awaits_target:
                    row = {"room_nid": plan.room_nid, "target_id": item.event.redacts, "event_nid": event.nid}
                    waiting.append(row)
                if item.redacted_by is not None:
                    arrived.append({"room_nid": plan.room_nid, "event_id": item.event.event_id})
                if item.fills_gap:
                    filled.append({"room_nid": plan.room_nid, "event_id": item.event.event_id})
        auth.update((event_id, known.nid) for event_id, known in self._known.items())
        rows = [auth_row(item, auth.__getitem__) for item in new if item.event.is_state]
        await INSERT_AUTH.run_many(self._connection, rows)
        await INSERT_GAP.run_many(self._connection, gaps)
        await DROP_GAP.run_many(self._connection, filled)
        await INSERT_VIEW.run_many(self._connection, views)
        await INSERT_REDACTION_WAITING.run_many(self._connection, waiting)
        await DROP_REDACTIONS_WAITING.run_many(self._connection, arrived)

    async def _write_corrections(self, plans: list[AppendPlan], positions: list[int]) -> list[Correction | None]:
        """Changes of current state that no event says."""
        found: list[Correction | None] = []
        rows: list[dict[str, Any]] = []
        wanted = {event_id for plan in plans for event_id in plan.append.corrections.values() if event_id is not None}
        events = await self._reader.by_id(wanted) if wanted else {}
        for plan, position in zip(plans, positions, strict=True):
            if not plan.append.corrections:
                found.append(None)
                continue
            changes = {
                key: None if event_id is None else events[event_id] for key, event_id in plan.append.corrections.items()
            }
            found.append(Correction(position, plan.append.head.room_id, plan.room_nid, changes))
            rows.extend(
                {
                    "position": position,
                    "type": kind,
                    "state_key": state_key,
                    "room_nid": plan.room_nid,
                    "event_nid": None if held is None else held.nid,
                    "snapshot_nid": plan.snapshot.nid,
                }
                for (kind, state_key), held in changes.items()
            )
        await INSERT_CHANGE.run_many(self._connection, rows)
        return found

    def _mentions(self, events: Iterable[StoredEvent]) -> Iterable[dict[str, Any]]:
        for item in events:
            if item.order is None or "m.mentions" not in item.event.content:
                continue
            for user_id in mentioned_users(item.event):
                if user_id.partition(":")[2] == self._server_name:
                    yield {"user_id": user_id, "room_nid": item.room_nid, "ord": item.order}

    async def _write_snapshots(self, plans: list[AppendPlan]) -> None:
        snapshots: list[dict[str, Any]] = []
        deltas: list[dict[str, Any]] = []
        for plan in plans:
            for made in plan.new:
                delta = {key: self._change(made, key, event_id) for key, event_id in made.changes.items()}
                index = made.snapshot.index
                step = link(made.snapshot.nid, made.base.nid, made.base.index, delta, self._chains, index)
                self._chains[step.nid] = step
                snapshots.append(
                    {
                        "snapshot_nid": step.nid,
                        "room_nid": plan.room_nid,
                        "parent_nid": step.parent_nid,
                        "chain_index": step.index,
                    }
                )
                deltas.extend(
                    {"snapshot_nid": step.nid, "event_nid": change.event, "removed": change.removed}
                    for change in step.delta.values()
                )
        await _INSERT_SNAPSHOT.run_many(self._connection, snapshots)
        await _INSERT_DELTA.run_many(self._connection, deltas)

    def _change(self, made: PlannedSnapshot, key: StateKey, event_id: str | None) -> KeyChange:
        """A removal is recorded against the event that held the key."""
        return KeyChange(self._stored(event_id or made.before[key] or "").nid, removed=event_id is None)

    def _stored(self, event_id: str) -> _Known:
        known = self._known.get(event_id)
        if known is None:
            raise ValueError(f"A state refers to {event_id}, which is not stored")
        return known

    async def _write_current(self, plans: list[AppendPlan], positions: list[int]) -> None:
        state: list[dict[str, Any]] = []
        dropped: list[dict[str, Any]] = []
        members: list[dict[str, Any]] = []
        gone: list[dict[str, Any]] = []
        for plan, corrected in zip(plans, positions, strict=True):
            for (kind, state_key), event_id in plan.changes.items():
                row = {"room_nid": plan.room_nid, "type": kind, "state_key": state_key}
                local = kind == "m.room.member" and state_key.partition(":")[2] == self._server_name
                if event_id is None:
                    dropped.append(row)
                    if local:
                        gone.append({"user_id": state_key, "room_nid": plan.room_nid, "position": corrected})
                    continue
                event = self._stored(event_id)
                state.append({**row, "event_nid": event.nid, "membership": event.membership})
                if local and event.membership is not None:
                    members.append(
                        {
                            "user_id": state_key,
                            "room_nid": plan.room_nid,
                            "membership": event.membership,
                            "event_nid": event.nid,
                            "position": corrected if (kind, state_key) in plan.append.corrections else event.position,
                            "sender": event.sender,
                        }
                    )
        await _SET_STATE.run_many(self._connection, state)
        await _DROP_STATE.run_many(self._connection, dropped)
        await _SET_MEMBERSHIP.run_many(self._connection, members)
        await _END_MEMBERSHIP.run_many(self._connection, gone)


def _membership(pdu: dict[str, Any]) -> str | None:
    value = pdu["content"].get("membership")
    return value if isinstance(value, str) else None
