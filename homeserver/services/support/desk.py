"""The desk at work: follows the log, and does what visitors' messages and staff's reactions and words ask for.

A cursor over the log, kept in the database: after a crash it goes on where it was, and what it does twice is the same
(each of the bot's events has a transaction named after what caused it). See docs/subsystems/widget.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from homeserver.core.errors import MatrixError
from homeserver.core.event import Event
from homeserver.ports.clock import Clock
from homeserver.ports.events import HIDDEN, StoredEvent
from homeserver.ports.log import EventEntry, LogEntry
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.ports.support import BLOCKED, NEW, OPEN, PENDING, RESOLVED, Case
from homeserver.services.log import Log
from homeserver.services.support import cards, hours
from homeserver.services.support.blocks import Blocks
from homeserver.services.support.cases import Cases
from homeserver.services.support.commands import Commands, told_by_ticket
from homeserver.services.support.rooms import CASE_TYPE, RATING, TICKET, SupportRooms
from homeserver.services.support.routing import Routing
from homeserver.services.support.sites import LiveSite, Sites
from homeserver.services.support.texts import excerpt_of

_log = structlog.get_logger(__name__)

_PAGE = 500
_TICK_S = 5.0
_RETRY_S = 1.0
_HOUR_MS = 3_600_000
_STATUS_OF = {"resolve": RESOLVED, "hold": PENDING, "block": BLOCKED}
_MEMBER = "m.room.member"
_MESSAGES = ("m.room.message", "m.room.encrypted", "m.sticker")


class Desk:
    """Owns what the bots do. `run` must be running."""

    def __init__(
        self,
        store: Store,
        log: Log,
        clock: Clock,
        sites: Sites,
        cases: Cases,
        rooms: SupportRooms,
        routing: Routing,
        blocks: Blocks,
    ) -> None:
        self._store = store
        self._log = log
        self._clock = clock
        self._sites = sites
        self._cases = cases
        self._rooms = rooms
        self._routing = routing
        self._blocks = blocks
        self._commands = Commands(store, cases, rooms, sites)
        self._position = log.position
        self._stored = -1
        self._case_rooms: set[str] | None = None
        """Rooms of cases; None until there is a site."""
        self._wake = asyncio.Event()
        log.listen(self._follow, self._jumped)
        sites.listen(self._wake.set)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        # Without sites nothing is woken; when one comes, what was said since the last look is caught up with.
        if self._sites.some and any(isinstance(entry, EventEntry) for entry in entries):
            self._wake.set()

    def _jumped(self) -> None:
        if self._sites.some:
            self._wake.set()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        await self._until_done(self._begin)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick_often())
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._until_done(self._catch_up)

    async def _until_done(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
            except StoreUnavailable as error:
                _log.warning("desk_postponed", error=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _begin(self) -> None:
        async with self._store.write() as tx:
            cursor = await tx.support.cursor()
            if cursor is None:  # from here on nothing is passed over, whenever the first site comes
                cursor = self._position
                await tx.support.set_cursor(cursor)
        self._position = self._stored = min(cursor, self._log.position)
        if await self._sites.all(fresh=True):
            self._wake.set()

    async def _catch_up(self) -> None:
        while self._position < (upto := self._log.position):
            sites = await self._sites.all()
            if not sites:
                self._position, self._case_rooms = upto, None
                return
            entries = self._log.since(self._position, upto)
            if entries is None:
                async with self._store.read() as tx:
                    events = await tx.events.after(self._position, _PAGE)
                last = upto if len(events) < _PAGE else max(self._position, events[-1].position or 0)
            else:
                events = [entry.stored for entry in entries if isinstance(entry, EventEntry)]
                last = upto
            if await self._take_all(sites, events) or last - self._stored > 10 * _PAGE:
                async with self._store.write() as tx:
                    await tx.support.set_cursor(last)
                self._stored = last
            self._position = last

    async def _take_all(self, sites: list[LiveSite], events: Sequence[StoredEvent]) -> bool:
        """Do what the events ask for; whether any of them concerned a site."""
        desks = {site.row.desk_id: site for site in sites}
        by_id = {site.id: site for site in sites}
        bots = {site.row.bot for site in sites}
        news = [
            stored.event
            for stored in events
            if not stored.flags & HIDDEN
            and (stored.event.sender not in bots or (stored.event.type == _MEMBER and stored.event.room_id in desks))
            and not _is_profile(stored)
        ]
        rooms = {event.room_id for event in news} - desks.keys()
        cases: dict[str, Case] = {}
        rooms &= await self._known_rooms(events)
        if rooms:
            async with self._store.read_committed() as tx:
                cases = {case.room_id: case for case in await tx.support.cases(rooms)}
        concerned = False
        for event in news:
            try:
                if (site := desks.get(event.room_id)) is not None:
                    concerned = True
                    await self._on_desk(site, event)
                elif (case := cases.get(event.room_id)) is not None and case.site_id in by_id:
                    concerned = True
                    await self._in_case(by_id[case.site_id], event)
            except MatrixError as error:
                _log.info("desk_refused", event_id=event.event_id, reason=error.message)
            except StoreUnavailable:
                raise
            except Exception as error:  # a fault in one case must not stop all desks
                _log.error("desk_crashed", event_id=event.event_id, exc_info=error)
        return concerned

    async def _known_rooms(self, events: Sequence[StoredEvent]) -> set[str]:
        """The rooms of cases; each was begun in one of the events, or before the set was read."""
        if self._case_rooms is None:
            async with self._store.read() as tx:
                self._case_rooms = set(await tx.support.case_rooms())
        for stored in events:
            event = stored.event
            # Anybody may call a room so: it is only looked for in the database then.
            if event.type == "m.room.create" and event.content.get("type") == CASE_TYPE:
                self._case_rooms.add(event.room_id)
        return self._case_rooms

    # --- a case's room ---

    async def _in_case(self, site: LiveSite, event: Event) -> None:
        async with self._store.read_committed() as tx:
            case = await tx.support.case(event.room_id)
        if case is None:
            return
        if event.type == RATING and event.sender == case.visitor_id:
            await self._rated(site, case, event)
        elif event.type == TICKET and event.state_key == "":
            await self._ticket_was_set(site, case, event)
        elif event.type == _MEMBER and event.state_key == event.sender == case.offered and case.status == NEW:
            await self._offer_was_answered(site, case, event)
        elif event.type == _MEMBER and event.state_key == case.assignee and event.membership in ("leave", "ban"):
            await self._assignee_left(site, case, event)
        elif event.type in _MESSAGES:
            relation = event.content.get("m.relates_to")
            if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
                return
            if event.sender == case.visitor_id:
                await self._visitor_wrote(site, case, event)
            else:
                await self._staff_wrote(site, case, event)

    async def _visitor_wrote(self, site: LiveSite, case: Case, event: Event) -> None:
        body = event.content.get("body")
        other = "(encrypted: read it in the conversation)" if event.type == "m.room.encrypted" else "(no text)"
        excerpt = excerpt_of(body) if isinstance(body, str) else other

        async with self._store.read_committed() as tx:
            stored = (await tx.events.get_many([event.event_id])).get(event.event_id)
        if stored is None or stored.redacted_by is not None:
            return  # taken back before it was come to, as what is erased is: it is on no card

        def decide(now: Case) -> Case:
            status = OPEN if now.status == PENDING else NEW if now.status == RESOLVED else now.status
            again = now.status == RESOLVED
            if again and event.origin_server_ts <= (now.resolved_ms or 0):
                return now  # said before the end, and come to after it
            return replace(
                now,
                excerpt=now.excerpt if now.excerpt and not again else excerpt,
                waiting=True,
                status=status,
                resolved_ms=None,
                assignee=None if again else now.assignee,
            )

        before, after = await self._cases.change(case.room_id, decide)
        if before.status == BLOCKED or after.status == RESOLVED:
            return
        if before.status == RESOLVED:
            await self._rooms.list_case(site.row.bot, site.row.space_id, case.room_id, listed=True)
        if before.card_id is None or before.status != after.status or not before.waiting:
            if after.status == NEW and after.offered is None:
                after = await self._routing.offer(site, after)
            after = await self._cases.tell(site, after)
        if before.status == RESOLVED:
            asked = [after.offered] if after.offered is not None else None
            text = "The visitor has written again"
            await self._cases.add_note(site, after, text, f"again {event.event_id}", asked, loud=True)
        if after.assignee is not None and before.status == PENDING:
            text = f"The visitor has answered: {excerpt}"
            await self._cases.add_note(site, after, text, f"answered {event.event_id}", [after.assignee], loud=True)

    async def _staff_wrote(self, site: LiveSite, case: Case, event: Event) -> None:
        if event.content.get("msgtype") == "m.notice":
            return
        now_ms = self._clock.now_ms()
        before, after = await self._cases.change(
            case.room_id, lambda now: replace(now, waiting=False, answered_ms=now.answered_ms or now_ms, said_ms=now_ms)
        )
        if before.assignee is None and before.status in (NEW, OPEN):
            await self._cases.assign(site, case.room_id, event.sender, event.event_id)
        elif before.waiting:
            await self._cases.tell(site, after)

    async def _offer_was_answered(self, site: LiveSite, case: Case, event: Event) -> None:
        """Whose turn it is takes a case by accepting the invitation to its room, too, and passes it on by declining."""
        if event.membership == "join":
            await self._cases.assign(site, case.room_id, event.sender, event.event_id)
        elif event.membership == "leave":
            await self._routing.decline(site, case)
            text = f"{await self._cases.called(event.sender)} passes the case on"
            await self._cases.add_note(site, case, text, f"declined {event.event_id}")

    async def _assignee_left(self, site: LiveSite, case: Case, event: Event) -> None:
        """Who leaves the conversation that is theirs, is taken from it, or does not come, leaves it to the others."""
        agent = event.state_key or ""
        if await self._rooms.has(case.room_id, agent):
            return  # and is back
        text = f"{await self._cases.called(agent)} has left the conversation: who takes the case?"
        await self._pass_on(site, case, agent, text, f"left {event.event_id}")

    async def _pass_on(self, site: LiveSite, case: Case, agent: str, text: str, once: str) -> None:
        """Nobody has the case any more that was `agent`'s: ask the others."""
        case = await self._cases.release(site, case.room_id, agent)
        if case.status != NEW or case.assignee is not None:
            return
        if case.offered == agent:
            await self._routing.decline(site, case)
        async with self._store.read_committed() as tx:
            now = await tx.support.case(case.room_id) or case
        # Whose turn it is has been called already.
        await self._cases.add_note(site, now, text, once, loud=now.offered is None)

    async def _rated(self, site: LiveSite, case: Case, event: Event) -> None:
        stars = event.content.get("rating")
        if isinstance(stars, bool) or not isinstance(stars, int) or not 1 <= stars <= 5:
            return
        _, after = await self._cases.change(case.room_id, lambda now: replace(now, rating=stars))
        await self._cases.tell(site, after)
        comment = event.content.get("comment")
        words = f": {excerpt_of(comment)}" if isinstance(comment, str) and comment.strip() else ""
        await self._cases.add_note(site, after, f"Rated {stars} of 5{words}", f"rated {event.event_id}")

    async def _ticket_was_set(self, site: LiveSite, case: Case, event: Event) -> None:
        """Whoever has the case may say by its ticket what it is, too. What else they wrote there is put right."""
        said, staff = event.content, set(await self._rooms.members(site.row.desk_id)) - {site.row.bot}
        status, assignee = said.get("status"), said.get("assignee")
        if event.sender in staff:
            _, case = await self._cases.change(case.room_id, lambda now: told_by_ticket(now, said))
            if isinstance(assignee, str) and assignee in staff and assignee != case.assignee:
                case = await self._cases.assign(site, case.room_id, assignee, event.event_id)
            if status in (OPEN, PENDING, RESOLVED, BLOCKED) and status != case.status:
                await self._cases.set_status(site, case.room_id, str(status), event.sender, event.event_id)
        await self._cases.tell(site, case)

    # --- the desk ---

    async def _on_desk(self, site: LiveSite, event: Event) -> None:
        relation = event.content.get("m.relates_to")
        target = relation.get("event_id") if isinstance(relation, dict) else None
        case = None
        if isinstance(target, str) and isinstance(relation, dict):
            async with self._store.read_committed() as tx:
                case = await tx.support.case_of_card(target)
        if event.type == _MEMBER and event.content.get("membership") in ("leave", "ban"):
            await self._left(site, event.state_key or "", event.event_id)
        elif event.type == "m.reaction" and case is not None and isinstance(relation, dict):
            await self._react(site, case, event, cards.action_of(relation.get("key")))
        elif event.type == "m.room.redaction":
            await self._taken_back(site, event)
        elif event.type == "m.room.message" and event.content.get("msgtype") == "m.text":
            await self._commands.run(site, case, event)

    async def _react(self, site: LiveSite, case: Case, event: Event, action: str | None) -> None:
        if action == "claim":
            await self._cases.assign(site, case.room_id, event.sender, event.event_id)
        elif action == "reopen":
            await self._cases.set_status(site, case.room_id, OPEN, event.sender, event.event_id)
        elif action is not None:
            await self._cases.set_status(site, case.room_id, _STATUS_OF[action], event.sender, event.event_id)

    async def _taken_back(self, site: LiveSite, event: Event) -> None:
        """Who takes back what has shut a visitor out lets them in again."""
        redacts = event.content.get("redacts")
        case = await self._cases.blocked_by(site, redacts) if isinstance(redacts, str) else None
        if case is not None:
            await self._cases.set_status(site, case.room_id, OPEN, event.sender, event.event_id)

    async def _left(self, site: LiveSite, agent: str, once: str) -> None:
        """Whoever leaves the desk, or is taken from it, leaves its cases; those that they had are for the others."""
        if any(one.user_id == agent for one in await self._sites.staff(site)):
            return  # and is back
        async with self._store.read() as tx:
            rooms = [
                each.room_id for each in await tx.rooms.memberships(agent) if each.membership in ("join", "invite")
            ]
            cases = await tx.support.cases(rooms)
        cases = [case for case in cases if case.site_id == site.id and case.visitor_id != agent]
        for case in cases:
            await self._rooms.member(site.row.bot, case.room_id, agent, "leave")
            if case.assignee == agent and case.status in (OPEN, PENDING):
                text = f"{await self._cases.called(agent)} has left the desk: who takes the case?"
                await self._pass_on(site, case, agent, text, f"left {once} {case.room_id}")
            elif case.offered == agent and case.status == NEW:
                await self._routing.decline(site, case)

    # --- what time brings ---

    async def _tick_often(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                await self.tick()
            except StoreUnavailable as error:
                _log.warning("desk_postponed", error=str(error))
            except Exception as error:
                _log.error("desk_crashed", exc_info=error)

    async def tick(self) -> None:
        """Offer again what nobody took; resolve what waited long enough for its visitor; forget who was blocked from
        where, when that counts no more.
        """
        now_ms = self._clock.now_ms()
        if not self._sites.some:
            upto = self._log.position
            if not await self._sites.all(fresh=True):
                self._position = max(self._position, upto)
                self._case_rooms = None
                return
        await self._blocks.expire()
        for site in await self._sites.all():
            async with self._store.read() as tx:
                cases = await tx.support.open_cases(site.id)
            for case in cases:
                await self._routing.again(site, case)
                after_hours = site.config.routing.auto_resolve_hours
                idle = now_ms - case.changed_ms
                if after_hours and not case.waiting and idle > after_hours * _HOUR_MS:
                    await self._cases.set_status(site, case.room_id, RESOLVED, None, f"idle {case.changed_ms}")
                    note = f"Resolved: the visitor was silent for {after_hours} hours"
                    await self._cases.add_note(site, case, note, f"idle {case.room_id} {case.changed_ms}")

    async def staff(self, site: LiveSite) -> list[tuple[str, bool]]:
        """Names of some of who may answer, and whether each is there now."""
        return await self._routing.staff(site)

    def is_open(self, site: LiveSite) -> bool:
        """Whether it is within business hours."""
        return hours.is_open(site.config.hours, self._clock.now_ms())


def _is_profile(stored: StoredEvent) -> bool:
    """Whether somebody has only changed their name or picture."""
    return stored.event.type == _MEMBER and (
        stored.replaces is not None and stored.replaces.membership == stored.event.membership
    )
