"""Rooms as administrators see them; blocking a room, and emptying it.

Nobody may join, be invited to or knock on a blocked room: the one writer of events asks (`services/rooms/writer`).
Emptying makes everybody of this server leave, a member at a time, and takes the room out of the directory. It is a job
of this process: what it has done stays done when the process ends, and asking again goes on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import parse_room_id
from homeserver.ports.administration import RoomBlock, RoomRow
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.requester import Requester
from homeserver.ports.store import StoreUnavailable, Transaction
from homeserver.services.administration.sizes import RoomSizes
from homeserver.services.audit import Audit
from homeserver.services.rooms.membership import Memberships
from homeserver.services.rooms.previews import SHOWN
from homeserver.services.rooms.state import stated
from homeserver.services.rooms.writer import RoomMemory

_log = structlog.get_logger(__name__)

_STEP = 100
_MOST_JOBS = 1_000
_AT_ONCE = 20
_NAMES = ("m.room.name", "m.room.canonical_alias")
_STATE_KEYS = {
    "name": ("m.room.name", "name"),
    "canonical_alias": ("m.room.canonical_alias", "alias"),
    "encryption": ("m.room.encryption", "algorithm"),
    "join_rules": ("m.room.join_rules", "join_rule"),
    "guest_access": ("m.room.guest_access", "guest_access"),
    "history_visibility": ("m.room.history_visibility", "history_visibility"),
    "room_type": ("m.room.create", "type"),
    "topic": ("m.room.topic", "topic"),
    "avatar": ("m.room.avatar", "url"),
}
_COUNTS = {
    "joined_members": "joined_members",
    "joined_local_members": "joined_local_members",
    "state_events": "state_events",
    "size": "joined_members",
    "chat.hromada.events": "events",
    "chat.hromada.bytes": "bytes",
}
_COLUMNS = {"version": "room_version", "creator": "creator", "public": "is_public"}
_BY_STATE = ("encryption", "join_rules", "guest_access", "history_visibility")
ROOM_ORDERS = ("name", "alphabetical", "canonical_alias", *_BY_STATE, *_COUNTS, *_COLUMNS)


@dataclass(frozen=True, slots=True)
class RoomSearch:
    """Which rooms, and in which order; counts come with the largest first."""

    term: str = ""
    """Part of the name, the alias or the id."""
    public: bool | None = None
    empty: bool | None = None
    """Whether nobody is in it."""
    order_by: str = "name"
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class ShownRoom:
    """A room, with what its state says."""

    row: RoomRow
    said: dict[str, str]
    federates: bool


@dataclass(slots=True)
class Emptying:
    """A job that empties a room."""

    delete_id: str
    room_id: str
    room_nid: int
    status: str = "active"
    """active, complete or failed."""
    error: str | None = None
    left: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)


class RoomAdministration:
    """Looks rooms up, blocks and empties them."""

    def __init__(
        self,
        memory: RoomMemory,
        audit: Audit,
        memberships: Memberships,
        clock: Clock,
        entropy: Entropy,
        *,
        max_page: int = 1_000,
        most: int = 20_000,
    ) -> None:
        """Lists are of the newest `most` rooms."""
        self._memory = memory
        self._store = memory.store
        self._audit = audit
        self._memberships = memberships
        self._clock = clock
        self._entropy = entropy
        self._max_page = max_page
        self._most = most
        self.sizes = RoomSizes(memory.store)
        self._jobs: OrderedDict[str, Emptying] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- looking ---

    async def page(self, search: RoomSearch, offset: int, limit: int) -> tuple[list[ShownRoom], int]:
        """A page of rooms, and how many the search finds altogether."""
        await self.sizes.look()
        async with self._store.read() as tx:
            rows = await tx.administration.rooms(self._most)
        rows = [
            row
            for row in rows
            if (search.public is None or row.is_public is search.public)
            and (search.empty is None or (row.joined_members == 0) is search.empty)
        ]
        order = "name" if search.order_by == "alphabetical" else search.order_by
        needed = set(_NAMES if search.term else ()) | ({_STATE_KEYS[order][0]} if order in _STATE_KEYS else set())
        said = await self._said(rows, sorted(needed)) if needed else {}
        term = search.term.casefold()
        if term:
            rows = [row for row in rows if term in _words(row, said.get(row.room_nid, {}))]

        def place(row: RoomRow) -> tuple[bool, Any, int]:
            if order in _COUNTS:
                return False, -getattr(row, _COUNTS[order]), row.room_nid
            if order in _COLUMNS:
                return False, getattr(row, _COLUMNS[order]), row.room_nid
            text = said.get(row.room_nid, {}).get(order)
            return text is None, (text or "").casefold(), row.room_nid

        rows.sort(key=place, reverse=search.reverse)
        shown = rows[offset : offset + min(limit, self._max_page)]
        async with self._store.read() as tx:
            return await _shown(tx, shown), len(rows)

    async def _said(self, rows: Sequence[RoomRow], types: Sequence[str]) -> dict[int, dict[str, str]]:
        found: dict[int, dict[str, str]] = {}
        for first in range(0, len(rows), _STEP):
            nids = [row.room_nid for row in rows[first : first + _STEP]]
            async with self._store.read() as tx:
                states = await tx.rooms.current_state(nids, types=types)
            found.update((nid, _texts(events)) for nid, events in states.items())
        return found

    async def get(self, room_id: str) -> tuple[ShownRoom, int]:
        """A room, and how many devices its local members have. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        await self.sizes.look()
        row = await self._row(room_id)
        async with self._store.read() as tx:
            (shown,) = await _shown(tx, [row])
            return shown, await tx.administration.joined_local_devices(row.room_nid)

    async def members(self, room_id: str) -> list[str]:
        """Who is joined. Raises as `get`."""
        row = await self._row(room_id)
        async with self._store.read() as tx:
            members = await tx.rooms.current_members(row.room_nid, ["join"])
        return [stored.event.state_key or "" for stored in members]

    async def state(self, who: Requester, room_id: str) -> list[bytes]:
        """Every state event, rendered. Raises as `get`."""
        row = await self._row(room_id)
        history = await self._memory.histories.fetch(row.room_nid, who.user_id, self._store)
        async with self._store.read() as tx:
            states = await tx.rooms.current_state([row.room_nid])
        # Not what they may see as a member, but what they may know: state, without what erased users said.
        return stated(history, history.known(states.get(row.room_nid, [])))

    async def _row(self, room_id: str) -> RoomRow:
        parse_room_id(room_id)
        async with self._store.read() as tx:
            row = await tx.administration.room(room_id)
        if row is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such room")
        return row

    # --- blocking ---

    async def blocked(self, room_id: str) -> RoomBlock | None:
        """Who blocked the room; also of rooms that are not known here. Raises MatrixError(INVALID_PARAM)."""
        parse_room_id(room_id)
        async with self._store.read() as tx:
            return await tx.administration.blocked(room_id)

    async def set_blocked(self, who: Requester, room_id: str, blocked: bool) -> None:
        """Block a room, known here or not, or lift that. Raises MatrixError(INVALID_PARAM)."""
        parse_room_id(room_id)
        async with self._store.write() as tx:
            if blocked:
                changed = await tx.administration.block(RoomBlock(room_id, who.user_id, self._clock.now_ms()))
            else:
                changed = await tx.administration.unblock(room_id)
            if changed:
                await self._audit.note(who, "room.block" if blocked else "room.unblock", room_id)(tx)

    # --- emptying ---

    async def empty(self, who: Requester, room_id: str, *, block: bool) -> str:
        """Begin to make everybody of this server leave; returns the job's id.

        Raises MatrixError: INVALID_PARAM (it has begun already), NOT_FOUND, LIMIT_EXCEEDED.
        """
        row = await self._row(room_id)
        active = {job.room_id for job in self._jobs.values() if job.status == "active"}
        if room_id in active:
            raise MatrixError(ErrCode.INVALID_PARAM, "This room is being emptied already")
        if len(active) >= _AT_ONCE:
            raise MatrixError(ErrCode.LIMIT_EXCEEDED, "Too many rooms are being emptied", retry_after_ms=10_000)
        job = Emptying(self._entropy.letters(16), room_id, row.room_nid)
        self._jobs[job.delete_id] = job
        try:
            if block:
                await self.set_blocked(who, room_id, True)
            await self._audit.record(who, "room.delete", room_id, block=block, delete_id=job.delete_id)
        except BaseException:
            del self._jobs[job.delete_id]
            raise
        self._forget()
        task = asyncio.create_task(self._run(job), name=f"empty {room_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job.delete_id

    def job(self, delete_id: str) -> Emptying:
        """A job of this process. Raises MatrixError(NOT_FOUND)."""
        job = self._jobs.get(delete_id)
        if job is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such job")
        return job

    def jobs(self, room_id: str) -> list[Emptying]:
        """The jobs of a room. Raises MatrixError(NOT_FOUND)."""
        found = [job for job in self._jobs.values() if job.room_id == room_id]
        if not found:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no job of this room")
        return found

    def _forget(self) -> None:
        done = [job.delete_id for job in self._jobs.values() if job.status != "active"]
        for delete_id in done[: max(0, len(self._jobs) - _MOST_JOBS)]:
            del self._jobs[delete_id]

    async def _run(self, job: Emptying) -> None:
        try:
            await self._unlist(job)
            await self._all_leave(job)
        except (MatrixError, StoreUnavailable) as error:
            job.status, job.error = "failed", str(error)
            _log.warning("room_not_emptied", room_id=job.room_id, error=str(error))
        except BaseException:
            job.status, job.error = "failed", "The server failed; its log says how"
            raise
        else:
            job.status = "complete"

    async def _unlist(self, job: Emptying) -> None:
        async with self._store.write() as tx:
            job.aliases = await tx.aliases.of_room(job.room_nid)
            for alias in job.aliases:
                await tx.aliases.delete(alias)
            await tx.rooms.set_public(job.room_nid, False)

    async def _all_leave(self, job: Emptying) -> None:
        while True:
            async with self._store.read() as tx:
                users = await tx.administration.present_local_users(job.room_nid, _STEP + len(job.failed))
            seen = {*job.left, *job.failed}  # who comes back meanwhile stays: only a block keeps them out
            users = [user_id for user_id in users if user_id not in seen]
            if not users:
                return
            for user_id in users:
                try:
                    await self._memberships.leave(user_id, job.room_id)
                except MatrixError as error:
                    _log.warning("member_not_removed", room_id=job.room_id, user_id=user_id, error=str(error))
                    job.failed.append(user_id)
                else:
                    job.left.append(user_id)


async def _shown(tx: Transaction, rows: Sequence[RoomRow]) -> list[ShownRoom]:
    states = await tx.rooms.current_state([row.room_nid for row in rows], types=SHOWN) if rows else {}
    found = []
    for row in rows:
        events = states.get(row.room_nid, [])
        create = next((stored.event.content for stored in events if stored.event.type == "m.room.create"), {})
        found.append(ShownRoom(row, _texts(events), create.get("m.federate") is not False))
    return found


def _texts(events: Sequence[Any]) -> dict[str, str]:
    """What the events say, by the names of `_STATE_KEYS`."""
    content = {stored.event.type: stored.event.content for stored in events if stored.event.state_key == ""}
    said = {name: content.get(event_type, {}).get(key) for name, (event_type, key) in _STATE_KEYS.items()}
    return {name: value for name, value in said.items() if isinstance(value, str) and value}


def _words(row: RoomRow, said: dict[str, str]) -> str:
    return "\n".join((row.room_id, said.get("name", ""), said.get("canonical_alias", ""))).casefold()
