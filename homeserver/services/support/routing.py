"""Who is asked to take a case: everybody on the desk, or one agent after the other.

Whose turn it is is invited to the case's room (`Cases.tell`): to accept takes the case, to decline passes it on. An
offer that nobody takes in time goes to the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from homeserver.ports.clock import Clock
from homeserver.ports.store import Store
from homeserver.ports.support import NEW, Case
from homeserver.services.support import hours
from homeserver.services.support.cases import Cases
from homeserver.services.support.rooms import SupportRooms
from homeserver.services.support.sites import LiveSite

IsOnline = Callable[[str], bool]
_SHOWN = 3


class Routing:
    """Offers cases."""

    def __init__(self, store: Store, clock: Clock, cases: Cases, rooms: SupportRooms, is_online: IsOnline) -> None:
        self._store = store
        self._clock = clock
        self._cases = cases
        self._rooms = rooms
        self._is_online = is_online

    async def offer(self, site: LiveSite, case: Case) -> Case:
        """Give a new case to whose turn it is; to nobody if all are asked, or none is there."""
        return await self._give(case, await self._next(site, case.offered))

    async def _give(self, case: Case, agent: str | None) -> Case:
        if agent is None and case.offered is None:
            return case
        now_ms = self._clock.now_ms()

        def decide(now: Case) -> Case:
            # Another process may have seen the same, and have given it on already.
            is_same = now.status == NEW and (now.offered, now.offered_ms) == (case.offered, case.offered_ms)
            return replace(now, offered=agent, offered_ms=now_ms) if is_same else now

        _, after = await self._cases.change(case.room_id, decide)
        return after

    async def again(self, site: LiveSite, case: Case) -> None:
        """Offer a case to the next agent, if the one before let it lie."""
        routing = site.config.routing
        if case.status != NEW or case.card_id is None:
            return
        if routing.mode == "broadcast":
            if case.offered is not None:  # before the site chose to ask all, or by what broke off
                await self._move(site, case, None)
            return
        if case.offered_ms is None:
            if case.offered is None and not hours.is_open(site.config.hours, self._clock.now_ms()):
                return
        elif self._clock.now_ms() - case.offered_ms < routing.requeue_seconds * 1000:
            return
        await self._move(site, case, await self._next(site, case.offered))

    async def decline(self, site: LiveSite, case: Case) -> None:
        """Offer a case to the next agent, since the one before does not want it; if there is no other, everybody may
        take it until its time is up.
        """
        agent = await self._next(site, case.offered)
        await self._move(site, case, agent if agent != case.offered else None)

    async def _move(self, site: LiveSite, case: Case, agent: str | None) -> None:
        after = await self._give(case, agent)
        if after.offered == case.offered:
            return
        after = await self._cases.tell(site, after)
        if after.offered is not None:
            name = await self._cases.called(after.offered)
            text = f"{name}: it is your turn. Accept the invitation, or press 🙋 on the card, to take the case."
            once = f"offer {case.room_id} {after.offered_ms}"
            await self._cases.add_note(site, after, text, once, [after.offered], loud=True)

    async def _next(self, site: LiveSite, before: str | None) -> str | None:
        mode = site.config.routing.mode
        if mode == "broadcast":
            return None
        there = [user_id for user_id in await self.agents(site) if self._is_online(user_id)]
        if not there:
            return None
        if mode == "round_robin":
            async with self._store.write() as tx:
                turn = await tx.support.next_turn(site.id)
            candidates = [user_id for user_id in there if user_id != before] or there
            return candidates[turn % len(candidates)]
        async with self._store.read() as tx:
            cases = await tx.support.open_cases(site.id)
        load = Counter(case.assignee or case.offered for case in cases)
        return min((u for u in there if u != before or len(there) == 1), key=lambda user_id: (load[user_id], user_id))

    async def agents(self, site: LiveSite) -> list[str]:
        """Who is on the desk, in a lasting order."""
        return sorted(set(await self._rooms.members(site.row.desk_id)) - {site.row.bot})

    async def staff(self, site: LiveSite) -> list[tuple[str, bool]]:
        """Names of some of who may answer, those who are there first, and whether they are."""
        agents = sorted((not self._is_online(user_id), user_id) for user_id in await self.agents(site))
        return [(await self._cases.called(user_id), not away) for away, user_id in agents[:_SHOWN]]
