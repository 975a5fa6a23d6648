"""The tree of rooms below a space, walked depth first, a page at a time.

A page's token is a place in the walk, which starts anew for each page: nothing is kept between them. Rooms that
exist elsewhere only, and those that the user may not know of, are left out.
spec: client-server-api#discovering-rooms-within-spaces
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.ids import parse_room_id
from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction
from homeserver.services.rooms.previews import Preview, previews
from homeserver.services.rooms.render import stripped
from homeserver.services.rooms.writer import RoomMemory

_TOKEN = re.compile(r"h([0-9]{1,9})_([0-9]{1,9}|-)_([01])", re.ASCII)
_ORDER = re.compile(r"[\x20-\x7e]{1,50}", re.ASCII)
_BATCH = 50


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """What is asked for; `max_depth` None is without end."""

    suggested_only: bool = False
    limit: int | None = None
    max_depth: int | None = None
    start: str | None = None


class Hierarchy:
    """Walks spaces for requesters."""

    def __init__(self, memory: RoomMemory, *, max_page: int, max_walk: int) -> None:
        """`max_page` rooms at most make a page, and no walk goes beyond `max_walk` rooms."""
        self._memory = memory
        self._max_page = max_page
        self._max_walk = max_walk

    async def of_space(self, user_id: str, room_id: str, request: HierarchyRequest) -> dict[str, Any]:
        """A page of the tree below a room.

        Raises MatrixError: INVALID_PARAM for a bad limit, depth or token, or a token of other parameters; FORBIDDEN
        for a room that is unknown or that the user may not know of.
        spec: client-server-api#get_matrixclientv1roomsroomidhierarchy
        """
        parse_room_id(room_id)
        if (request.limit is not None and request.limit < 1) or (request.max_depth or 0) < 0:
            raise MatrixError(ErrCode.INVALID_PARAM, "limit must be positive, and max_depth not negative")
        limit = min(request.limit or self._max_page, self._max_page)
        offset = _offset(request)
        async with self._memory.store.read() as tx:
            mine = {m.room_id: m.membership for m in await tx.rooms.memberships(user_id)}
            walk = _Walk(tx, mine, request)
            if not await walk.begin(room_id):
                raise NotAllowed("You may not see this room, or it does not exist")
            rooms: list[dict[str, Any]] = []
            count = 0
            while (found := await walk.next()) is not None and count < self._max_walk:
                count += 1
                if count <= offset:
                    continue
                if len(rooms) == limit:
                    return {"rooms": rooms, "next_batch": _token(offset + limit, request)}
                rooms.append(_shown(found, request))
        return {"rooms": rooms}


class _Walk:
    """One walk. Rooms are loaded some at a time, in the order in which the walk will come to them."""

    def __init__(self, tx: Transaction, mine: dict[str, str], request: HierarchyRequest) -> None:
        self._tx = tx
        self._mine = mine
        self._request = request
        self._known: dict[str, Preview | None] = {}
        self._seen: set[str] = set()  # spaces can contain one another
        self._ahead: list[tuple[str, int]] = []  # room id and depth, the next one last

    async def begin(self, room_id: str) -> bool:
        """Start at a room; whether the user may know of it."""
        self._ahead = [(room_id, 0)]
        await self._load()
        return self._known[room_id] is not None

    async def next(self) -> Preview | None:
        """The next room; None at the end."""
        while self._ahead:
            room_id, depth = self._ahead[-1]
            if room_id in self._seen:
                self._ahead.pop()
                continue
            if room_id not in self._known:
                await self._load()
            self._ahead.pop()
            self._seen.add(room_id)
            found = self._known.pop(room_id)
            if found is None:
                continue
            if self._request.max_depth is None or depth < self._request.max_depth:
                children = _children(found, self._request)
                self._ahead += [(child.event.state_key or "", depth + 1) for child in reversed(children)]
            return found
        return None

    async def _load(self) -> None:
        wanted: list[str] = []
        for room_id, _ in reversed(self._ahead):
            if room_id not in self._known and room_id not in self._seen and room_id not in wanted:
                wanted.append(room_id)
            if len(wanted) == _BATCH:
                break
        found = await previews(self._tx, wanted, self._mine)
        self._known.update({room_id: found.get(room_id) for room_id in wanted})


def _children(space: Preview, request: HierarchyRequest) -> list[StoredEvent]:
    """The valid children of a space in their order.

    spec: client-server-api#ordering-of-children-within-a-space
    """
    valid = [
        stored
        for stored in space.children
        if isinstance(stored.event.content.get("via"), list)
        and (not request.suggested_only or stored.event.content.get("suggested") is True)
    ]
    return sorted(valid, key=_order)


def _order(stored: StoredEvent) -> tuple[bool, str, int, str]:
    event = stored.event
    order = event.content.get("order")
    given = order if isinstance(order, str) and _ORDER.fullmatch(order) else ""
    return (not given, given, event.origin_server_ts, event.state_key or "")


def _shown(found: Preview, request: HierarchyRequest) -> dict[str, Any]:
    children = [
        {**stripped(stored), "origin_server_ts": stored.event.origin_server_ts} for stored in _children(found, request)
    ]
    return {**found.summary, "children_state": children}


def _token(offset: int, request: HierarchyRequest) -> str:
    depth = "-" if request.max_depth is None else request.max_depth
    return f"h{offset}_{depth}_{int(request.suggested_only)}"


def _offset(request: HierarchyRequest) -> int:
    """The place in the walk that the request's token names. Raises MatrixError(INVALID_PARAM)."""
    if request.start is None:
        return 0
    match = _TOKEN.fullmatch(request.start)
    if match is None:
        raise MatrixError(ErrCode.INVALID_PARAM, "The pagination token is not one of this server's")
    offset = int(match[1])
    if request.start != _token(offset, request):
        raise MatrixError(ErrCode.INVALID_PARAM, "suggested_only and max_depth must stay the same on all pages")
    return offset
