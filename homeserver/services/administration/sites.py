"""Sites with a support chat, as administrators see and change them: the same functions as `hromada site`.

Removing a site is a job of this process: the site is switched off, its visitors' accounts are closed one after the
other, and then it is forgotten. What it has done stays done when the process ends, and asking again goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec
import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store
from homeserver.ports.support import Case, Visitor
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.names import user_id_at_login
from homeserver.services.audit import Audit
from homeserver.services.support.cases import Cases
from homeserver.services.support.removal import close_visitors
from homeserver.services.support.rooms import Staff
from homeserver.services.support.site import Key, contrast, merged, parse_config, public, readable
from homeserver.services.support.sites import LiveSite, Sites

_log = structlog.get_logger(__name__)

_DAY_MS = 86_400_000
_MOST_CASES = 10_000
"""Figures are of no more than so many of the newest cases."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How a site does. Times are in milliseconds."""

    open: int
    waiting: int
    """How many open cases wait for staff."""
    longest_ms: int
    """For how long the one of them that waits longest does."""
    week: int
    week_before: int
    """Cases begun in the last seven days, and in the seven before."""
    first_answer_ms: int | None
    """Median from the beginning of a case to staff's first word, of the last seven days."""
    by_day: tuple[int, ...]
    """Cases of each of the last 14 days, the newest last."""
    rating: float | None
    ratings: int
    """Mean of the last 30 days, and of how many."""


@dataclass(frozen=True, slots=True)
class ShutOut:
    """A visitor whom staff has blocked."""

    case: Case
    visitor: Visitor
    until_ms: int | None
    """Until when nobody new may begin from where they were; None if somebody may."""


@dataclass(slots=True)
class Removing:
    """A site that is being removed."""

    closed: int = 0
    error: str | None = None


class SiteAdministration:
    """Owns what administrators do with sites."""

    def __init__(
        self, store: Store, sites: Sites, cases: Cases, account: Account, audit: Audit, clock: Clock, name: str
    ) -> None:
        """`name` is the server's."""
        self._store = store
        self._sites = sites
        self._cases = cases
        self._account = account
        self._audit = audit
        self._clock = clock
        self._name = name
        self._removing: dict[str, Removing] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- looking ---

    async def all(self) -> list[tuple[LiveSite, Figures, Removing | None]]:
        """All sites with their figures, and how far those are that are being removed."""
        jobs = dict(self._removing)
        sites = await self._sites.all(fresh=True)
        return [(site, await self.figures(site), self._job(site.id, jobs)) for site in sites]

    async def get(self, site_id: str) -> tuple[LiveSite, Figures, Removing | None]:
        """One site. Raises MatrixError(NOT_FOUND)."""
        jobs = dict(self._removing)
        site = await self._sites.get(site_id, fresh=True)
        return site, await self.figures(site), self._job(site_id, jobs)

    def _job(self, site_id: str, before: Mapping[str, Removing]) -> Removing | None:
        # One that ended while its site was looked at: a site that is gone shall not look like one that stays.
        return self._removing.get(site_id) or before.get(site_id)

    async def staff(self, site: LiveSite) -> list[Staff]:
        """Who is on the desk or invited to it."""
        return await self._sites.staff(site)

    async def figures(self, site: LiveSite) -> Figures:
        """How a site does."""
        now = self._clock.now_ms()
        async with self._store.read() as tx:
            cases = await tx.support.open_cases(site.id)
            recent = await tx.support.recent_cases(site.id, now - 30 * _DAY_MS, _MOST_CASES)
        waiting = [case for case in cases if case.waiting and case.card_id is not None]
        week, before = now - 7 * _DAY_MS, now - 14 * _DAY_MS
        answers = [c.answered_ms - c.opened_ms for c in recent if c.answered_ms is not None and c.opened_ms >= week]
        ratings = [case.rating for case in recent if case.rating is not None]
        days = [0] * 14
        for case in recent:
            if (ago := (now - case.opened_ms) // _DAY_MS) < len(days):
                days[-1 - max(ago, 0)] += 1
        return Figures(
            open=len(cases),
            waiting=len(waiting),
            longest_ms=max((now - case.changed_ms for case in waiting), default=0),
            week=sum(case.opened_ms >= week for case in recent),
            week_before=sum(before <= case.opened_ms < week for case in recent),
            first_answer_ms=int(median(answers)) if answers else None,
            by_day=tuple(days),
            rating=round(sum(ratings) / len(ratings), 2) if ratings else None,
            ratings=len(ratings),
        )

    async def shut_out(self, site_id: str, below: int | None, limit: int) -> list[ShutOut]:
        """Visitors whom staff has blocked, the highest case's number first. Raises MatrixError(NOT_FOUND)."""
        site = await self._sites.get(site_id)
        async with self._store.read() as tx:
            cases = await tx.support.blocked_cases(site.id, below, limit)
            until_ms = await tx.support.blocked_by_case(site.id)
        now_ms = self._clock.now_ms()
        ends = {number: until for number, until in until_ms.items() if until > now_ms}
        return [ShutOut(case, await self._cases.visitor(case), ends.get(case.number)) for case in cases]

    async def preview(self, site_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """What the widget would be told after changes, and the contrast of white on the wanted colour.

        Raises MatrixError: NOT_FOUND, INVALID_PARAM.
        """
        site = await self._sites.get(site_id)
        config = merged(site.config, changes)
        accent = config.theme.accent
        return {"given": public(config), "contrast": round(contrast(accent), 1), "readable": readable(accent)}

    # --- changing ---

    async def add(self, who: Requester, site_id: str, settings: dict[str, Any], agents: Sequence[str]) -> LiveSite:
        """Make a site. Raises MatrixError: INVALID_PARAM, NOT_FOUND (an agent), RESOURCE_LIMIT_EXCEEDED."""
        config = parse_config(settings)
        ids = [self._user_id(name) for name in agents]
        note = self._audit.note(who, "site.create", site_id, agents=ids)
        return await self._sites.add(site_id, config, ids, note)

    async def edit(self, who: Requester, site_id: str, changes: dict[str, Any]) -> LiveSite:
        """Change settings, merged into those there are. Raises MatrixError: NOT_FOUND, INVALID_PARAM."""
        site = await self._sites.get(site_id, fresh=True)
        self._check_stays(site_id)
        config = merged(site.config, changes)
        if config == site.config:
            return site
        parts = sorted(
            name for name in msgspec.structs.asdict(config) if getattr(config, name) != getattr(site.config, name)
        )
        return await self._sites.edit(site_id, config, self._audit.note(who, "site.change", site_id, parts=parts))

    async def invite(self, who: Requester, site_id: str, name: str) -> None:
        """Bring somebody to the desk. Raises MatrixError(NOT_FOUND)."""
        site, agent = await self._sites.get(site_id), self._user_id(name)
        if any(one.user_id == agent for one in await self._sites.staff(site)):
            return
        await self._audit.record(who, "site.invite", site_id, agent=agent)
        await self._sites.invite(site, agent)

    async def dismiss(self, who: Requester, site_id: str, agent: str) -> None:
        """Take somebody from the desk. Raises MatrixError(NOT_FOUND)."""
        site = await self._sites.get(site_id)
        if not any(one.user_id == agent for one in await self._sites.staff(site)):
            raise MatrixError(ErrCode.NOT_FOUND, f"{agent} is not on the desk")
        await self._audit.record(who, "site.dismiss", site_id, agent=agent)
        await self._sites.dismiss(site, agent)

    async def let_in(self, who: Requester, site_id: str, number: int) -> None:
        """Let a visitor in again whom staff has blocked. Raises MatrixError: NOT_FOUND, INVALID_PARAM."""
        site = await self._sites.get(site_id)
        self._check_stays(site_id)
        case = await self._cases.shut(site, number)
        await self._audit.record(who, "site.unblock", site_id, case=number, visitor=case.visitor_id)
        await self._cases.let_in(site, case)

    async def rotate_key(self, who: Requester, site_id: str, alg: str, public_key: str) -> Key:
        """Give a site a new identity key; its secret is shown this once. Raises MatrixError."""
        self._check_stays(site_id)
        note = self._audit.note(who, "site.rotate_key", site_id, alg=alg)
        return await self._sites.rotate_key(site_id, alg=alg, public_key=public_key, note=note)

    async def remove(self, who: Requester, site_id: str) -> Removing:
        """Begin to remove a site, or say how far it is. Raises MatrixError(NOT_FOUND)."""
        site = await self._sites.get(site_id, fresh=True)
        job = self._removing.get(site_id)
        if job is not None and job.error is None:
            return job
        off = msgspec.structs.replace(site.config, enabled=False)
        await self._sites.edit(site_id, off, self._audit.note(who, "site.remove", site_id))
        job = self._removing[site_id] = Removing()
        task = asyncio.create_task(self._remove(site_id, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _remove(self, site_id: str, job: Removing) -> None:
        def tell(count: int) -> None:
            job.closed = count

        try:
            await close_visitors(self._store, self._account, site_id, tell)
            await self._sites.remove(site_id)
            await close_visitors(self._store, self._account, site_id)  # who came in just before it was switched off
            del self._removing[site_id]
        except Exception as error:  # the job's state says so, and asking again goes on
            job.error = "It broke off; remove the site again to go on"
            _log.error("site_removal_failed", site_id=site_id, exc_info=error)

    def _check_stays(self, site_id: str) -> None:
        job = self._removing.get(site_id)
        if job is not None and job.error is None:
            raise MatrixError(ErrCode.INVALID_PARAM, "This site is being removed")

    def _user_id(self, name: str) -> str:
        user_id = user_id_at_login(name, self._name)
        if user_id is None:
            raise MatrixError(ErrCode.NOT_FOUND, f"There is no account {name}")
        return user_id
