"""Events that relate to other events: their lists, threads, and what is bundled with their target.

spec: client-server-api#forming-relationships-between-events
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.relations import Reader, RelationQuery
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.filtered import ignores
from homeserver.services.rooms.present import Recipient, present
from homeserver.services.rooms.tokens import timeline_order, timeline_token
from homeserver.services.rooms.writer import RoomMemory

_MAX_LIMIT = 100
_RECURSION_DEPTH = 3


@dataclass(frozen=True, slots=True)
class RelationsRequest:
    """What /relations asks for."""

    event_id: str
    rel_type: str | None = None
    event_type: str | None = None
    start: str | None = None
    stop: str | None = None
    limit: int = 50
    backwards: bool = True
    recurse: bool = False


@dataclass(frozen=True, slots=True)
class Related:
    """A page of rendered events."""

    chunk: list[bytes]
    next_batch: str | None
    recursion_depth: int | None = None


class Relations:
    """Reads of relations for a requester."""

    def __init__(self, memory: RoomMemory, access: RoomAccess) -> None:
        self._memory = memory
        self._access = access

    async def of_event(self, who: Recipient, room_id: str, request: RelationsRequest) -> Related:
        """Children of an event that the user may see.

        Raises MatrixError(NOT_FOUND, INVALID_PARAM).
        spec: client-server-api#get_matrixclientv1roomsroomidrelationseventid
        """
        query = RelationQuery(
            request.event_id,
            request.rel_type,
            request.event_type,
            depth=_RECURSION_DEPTH if request.recurse else 1,
            start=None if request.start is None else timeline_order(request.start),
            stop=None if request.stop is None else timeline_order(request.stop),
            backwards=request.backwards,
            limit=_limit(request.limit),
        )
        window, _ = await self._access.event(room_id, request.event_id, who.user_id)
        async with self._memory.store.read_committed() as tx:
            page = await tx.relations.children(window.room_nid, query)
            children = window.shown(stored for stored in page.events if not ignores(who.ignored, stored))
            chunk = await present(tx, window, who, children)
        next_batch = None if page.end is None else timeline_token(page.end)
        return Related(chunk, next_batch, _RECURSION_DEPTH if request.recurse else None)

    async def threads(
        self, who: Recipient, room_id: str, *, participated: bool, start: str | None, limit: int
    ) -> Related:
        """Thread roots, most recently active first.  spec: client-server-api#get_matrixclientv1roomsroomidthreads"""
        order = None if start is None else timeline_order(start)
        limit = max(_limit(limit), 1)
        window = await self._access.window(room_id, who.user_id)
        async with self._memory.store.read() as tx:
            reader = Reader(who.user_id, who.ignored, window.history.spans(window.room_nid, window.end))
            roots = await tx.relations.thread_roots(
                window.room_nid, reader, participated=participated, start=order, limit=limit
            )
            found = await tx.events.get_many([event_id for event_id, _ in roots])
            events = window.shown(
                stored
                for event_id, _ in roots
                if (stored := found.get(event_id)) is not None and not ignores(who.ignored, stored)
            )
            chunk = await present(tx, window, who, events)
        return Related(chunk, timeline_token(roots[-1][1] - 1) if len(roots) == limit else None)


def _limit(limit: int) -> int:
    if limit < 0:
        raise MatrixError(ErrCode.INVALID_PARAM, "limit must not be negative")
    return min(limit, _MAX_LIMIT)
