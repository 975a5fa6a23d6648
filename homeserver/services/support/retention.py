"""How long what visitors leave is kept, site by site: sessions and accounts of those who do not come back, and
conversations.

Once an hour, in small steps, of several processes on one database by one (`services/duties.py`). What breaks off is
found again: a conversation's row goes last.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from homeserver.core.errors import MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.ports.support import Case
from homeserver.services.duties import Duty, NotOurs
from homeserver.services.support.cases import Cases
from homeserver.services.support.names import is_visitor
from homeserver.services.support.removal import forget_files
from homeserver.services.support.rooms import SupportRooms
from homeserver.services.support.sites import LiveSite, Sites
from homeserver.services.support.visitors import Visitors

_log = structlog.get_logger(__name__)

_EVERY_S = 3_600
_DAY_MS = 86_400_000
_STEP = 20
_MOST_STEPS = 100
_PAUSE_S = 0.1


class Retention:
    """Forgets what has had its time. `run` must be running."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        sites: Sites,
        cases: Cases,
        rooms: SupportRooms,
        visitors: Visitors,
        duty: Duty,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sites = sites
        self._cases = cases
        self._rooms = rooms
        self._visitors = visitors
        self._duty = duty

    async def run(self) -> None:
        """Once at start and every hour, while this process is the one that does, until cancelled."""
        await self._duty.perform(self._serve)

    async def _serve(self) -> None:
        while True:
            try:
                await self.once()
            except (StoreUnavailable, NotOurs) as error:
                _log.warning("support_retention_postponed", reason=str(error))
            except Exception as error:  # a fault with one visitor must not stop the server
                _log.error("support_retention_crashed", exc_info=error)
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> int:
        """Do what is due, within bounds: the rest is for the next time. How many accounts, visitors' sessions and
        conversations went.
        """
        gone = 0
        for site in await self._sites.all():
            for step in (self._visitors.expire, self._visitors.end_idle, self._end_conversations):
                for _ in range(_MOST_STEPS):
                    await self._duty.allowed()
                    done = await step(site)
                    gone += done
                    if done == 0:
                        break
                    await asyncio.sleep(_PAUSE_S)
        return gone

    async def _end_conversations(self, site: LiveSite) -> int:
        days = site.config.conversation_days
        if days == 0:
            return 0
        before_ms = self._clock.now_ms() - days * _DAY_MS
        async with self._store.read() as tx:
            cases = await tx.support.ended_cases(site.id, before_ms, _STEP)
        ended = 0
        for case in cases:
            try:
                ended += await self._end(site, case)
            except MatrixError as error:  # in one room; the others go on
                _log.warning("support_conversation_kept", room_id=case.room_id, reason=error.message)
        return ended

    async def _end(self, site: LiveSite, case: Case) -> bool:
        """Take one conversation back; False if somebody went on with it meanwhile."""
        authors = await self._cases.forget(site, case)
        async with self._store.read() as tx:
            others = await tx.support.cases_of(case.visitor_id)
            user = await tx.users.get(case.visitor_id)
        # A visitor writes in one conversation at a time: what they sent before the next one began belongs to this one.
        later = [other.opened_ms for other in others if other.opened_ms > case.opened_ms]
        span = (case.opened_ms, min([case.changed_ms + 1, *later]))
        for author in sorted(authors | {case.visitor_id}):
            if is_visitor(author, site.id):
                await forget_files(self._store, author, self._clock.now_ms(), span)
        async with self._store.write() as tx:
            await self._duty.require(tx)
            gone = await tx.support.delete_case(case)
        if gone and user is not None and user.site_id is not None and not user.deactivated:
            with suppress(MatrixError):  # shut out, or gone already
                await self._rooms.member(site.row.bot, case.room_id, case.visitor_id, "leave", by=case.visitor_id)
        return gone
