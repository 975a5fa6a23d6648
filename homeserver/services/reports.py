"""Reports of content to the administrators: kept in the database and written to the log.

Whether something exists that the reporter cannot see is not told by the answer.
spec: client-server-api#reporting-content
"""

from __future__ import annotations

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import parse_room_id, parse_user_id
from homeserver.ports.clock import Clock
from homeserver.ports.reports import Report
from homeserver.ports.store import Store
from homeserver.services.rooms.access import RoomAccess

_log = structlog.get_logger(__name__)


class Reports:
    """Takes reports."""

    def __init__(self, store: Store, access: RoomAccess, clock: Clock, *, max_length: int) -> None:
        self._store = store
        self._access = access
        self._clock = clock
        self._max_length = max_length

    async def report_event(self, reporter: str, room_id: str, event_id: str, reason: str) -> None:
        """Report an event of a room that the reporter is joined to.

        Raises MatrixError: NOT_FOUND, the same for unknown events, invisible ones and those of other rooms; TOO_LARGE.
        spec: client-server-api#post_matrixclientv3roomsroomidreporteventid
        """
        window, stored = await self._access.event(room_id, event_id, reporter)
        if window.history.membership != "join":
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such event, or you may not see it")
        await self._add(reporter, reason, room_id=room_id, event_id=event_id, user_id=stored.event.sender)

    async def report_room(self, reporter: str, room_id: str, reason: str) -> None:
        """Report a room, joined or not. Raises MatrixError: INVALID_PARAM, TOO_LARGE.

        spec: client-server-api#post_matrixclientv3roomsroomidreport
        """
        parse_room_id(room_id)
        async with self._store.read() as tx:
            known = await tx.rooms.room_nids([room_id])
        await self._add(reporter, reason, room_id=room_id, keep=bool(known))

    async def report_user(self, reporter: str, user_id: str, reason: str) -> None:
        """Report a user. Raises MatrixError: INVALID_PARAM, TOO_LARGE.

        spec: client-server-api#post_matrixclientv3usersuseridreport
        """
        parse_user_id(user_id)
        await self._add(reporter, reason, user_id=user_id)

    async def _add(
        self,
        reporter: str,
        reason: str,
        *,
        user_id: str | None = None,
        room_id: str | None = None,
        event_id: str | None = None,
        keep: bool = True,
    ) -> None:
        if len(reason) > self._max_length:
            raise MatrixError(ErrCode.TOO_LARGE, f"A reason has at most {self._max_length} characters")
        if not keep:
            return
        report = Report(self._clock.now_ms(), reporter, user_id, room_id, event_id, reason.replace("\0", "\ufffd"))
        async with self._store.write() as tx:
            await tx.reports.add(report)
        # Without the reason: what people write has no place in the log.
        _log.warning("content_reported", reporter=reporter, user_id=user_id, room_id=room_id, event_id=event_id)
