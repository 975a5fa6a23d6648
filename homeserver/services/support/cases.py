"""Cases: begun by visitors, changed by staff, shown as tickets and cards. The only writer of what a case is.

A change is first committed to the case's row and then told to the rooms; telling is safe to repeat, so a crash between
the two leaves nothing behind that the next change does not mend.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store
from homeserver.ports.support import BLOCKED, NEW, OPEN, PENDING, RESOLVED, Case, Visitor
from homeserver.services.rooms.create import topic_content
from homeserver.services.rooms.profiles import MemberProfiles
from homeserver.services.support import cards
from homeserver.services.support.blocks import Blocks
from homeserver.services.support.rooms import TICKET, SupportRooms
from homeserver.services.support.sites import LiveSite
from homeserver.services.support.template import AGENT_POWER, called
from homeserver.services.support.texts import clean

_log = structlog.get_logger(__name__)

_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known when a visitor begins."""

    page: str = ""
    title: str = ""


class Cases:
    """Owns cases."""

    def __init__(
        self,
        store: Store,
        rooms: SupportRooms,
        profiles: MemberProfiles,
        clock: Clock,
        blocks: Blocks,
        server_name: str,
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._profiles = profiles
        self._clock = clock
        self._blocks = blocks
        self._server_name = server_name
        self._telling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(self, site: LiveSite, visitor: Visitor, opening: Opening) -> Case:
        """Begin a case: its number, its room with the visitor in it, its row. The card comes with the first message."""
        now = self._clock.now_ms()
        async with self._store.write() as tx:
            number = await tx.support.next_case(site.id)
        case = Case("", site.id, number, visitor.user_id, now, now, page=opening.page, title=opening.title)
        room_id = await self._rooms.make_case(
            site.row.bot,
            site.row.space_id,
            site.row.desk_id,
            visitor.user_id,
            _called(site, case, visitor),
            cards.ticket(case, visitor, site.row.desk_id),
            site.config.room_template,
            encrypted=site.config.encryption == "on",
        )
        case = replace(case, room_id=room_id)
        async with self._store.write() as tx:
            await tx.support.put_case(case)
            current = await tx.support.visitor(visitor.user_id) or visitor
            await tx.support.put_visitor(replace(current, room_id=room_id, seen_ms=now))
        return case

    async def change(
        self, room_id: str, decide: Callable[[Case], Case], *, in_passing: bool = False
    ) -> tuple[Case, Case]:
        """Change a case's row; returns it as it was and as it is. `decide` is pure. Raises MatrixError(NOT_FOUND).

        No two changes have one time, however close they are: the card's edits are told apart, and put in order, by it.
        How long a case has been as it is does not change by what is done `in_passing`, such as another card.
        """
        async with self._store.write() as tx:
            before = await tx.support.lock_case(room_id)
            if before is None:
                raise MatrixError(ErrCode.NOT_FOUND, "There is no such case")
            after = decide(before)
            if after != before:
                now_ms = before.changed_ms if in_passing else self._clock.now_ms()
                after = replace(after, changed_ms=max(now_ms, before.changed_ms + 1))
                await tx.support.put_case(after)
        return before, after

    async def set_status(self, site: LiveSite, room_id: str, status: str, by: str | None, once: str) -> Case:
        """Set what a case is, on the word of `by` (None: the server's own), and tell the rooms."""

        gone = await self._gone(room_id)

        def decide(case: Case) -> Case:
            resolved = self._clock.now_ms() if status == RESOLVED else None
            # Who had it and has left the conversation since does not get it back.
            assignee = None if status == NEW or (case.assignee == gone and status in (OPEN, PENDING)) else case.assignee
            if assignee is None and status in (OPEN, PENDING):
                assignee = by
            since, who = (case.blocked_ms, case.blocked_by) if case.status == BLOCKED else (self._clock.now_ms(), by)
            return replace(
                case,
                status=status,
                assignee=assignee,
                offered=None,
                offered_ms=None,
                resolved_ms=resolved,
                blocked_ms=since if status == BLOCKED else None,
                blocked_by=who if status == BLOCKED else None,
            )

        before, after = await self.change(room_id, decide)
        if before.status == after.status:
            return after
        if after.assignee not in (None, before.assignee):
            await self._hand(site, after, after.assignee)
        bot, visitor = site.row.bot, await self.visitor(after)
        if status == BLOCKED:
            await self._quietly(self._rooms.member(bot, room_id, visitor.user_id, "ban"))
            await self._blocks.shut(site, after)
        elif before.status == BLOCKED:
            await self._quietly(self._rooms.member(bot, room_id, visitor.user_id, "leave"))
            await self._quietly(self._rooms.member(bot, room_id, visitor.user_id, "invite"))
            await self._quietly(self._rooms.member(bot, room_id, visitor.user_id, "join", by=visitor.user_id))
            await self._blocks.lift(site, after)
        done, was_done = status in (RESOLVED, BLOCKED), before.status in (RESOLVED, BLOCKED)
        if done != was_done:
            await self._quietly(self._rooms.list_case(bot, site.row.space_id, room_id, listed=not done))
        await self.tell(site, after)
        if by is not None:
            await self.add_note(site, after, f"{await self.called(by)}: {status}", _told_once(status, once))
        return after

    async def shut(self, site: LiveSite, number: int) -> Case:
        """The case of this number, whose visitor is shut out. Raises MatrixError: NOT_FOUND, INVALID_PARAM."""
        async with self._store.read() as tx:
            case = await tx.support.case_numbered(site.id, number)
        if case is None:
            raise MatrixError(ErrCode.NOT_FOUND, f"There is no case #{number}")
        if case.status != BLOCKED:
            raise MatrixError(ErrCode.INVALID_PARAM, f"Case #{number} is not blocked")
        return case

    async def let_in(self, site: LiveSite, case: Case) -> None:
        """Let the visitor in again who is shut out, on the word of an administrator, who need not be of staff."""
        is_theirs = case.assignee is not None and await self._rooms.has(case.room_id, case.assignee)
        once = f"unblock {case.changed_ms}"
        case = await self.set_status(site, case.room_id, OPEN if is_theirs else NEW, None, once)
        await self.add_note(site, case, "An administrator has let the visitor in again", once)

    async def blocked_by(self, site: LiveSite, event_id: str) -> Case | None:
        """The case that is blocked because of an event on the desk, if there is one.

        What the bot has said of it names the card: in a reaction that was taken back there is nothing to be read.
        """
        once = f"note {_told_once(BLOCKED, event_id)}"
        if (note := await self._rooms.said_once(site.row.bot, site.row.desk_id, once)) is None:
            return None
        relation = note.content.get("m.relates_to")
        card_id = relation.get("event_id") if isinstance(relation, dict) else None
        async with self._store.read() as tx:
            case = await tx.support.case_of_card(str(card_id))
        return case if case is not None and case.status == BLOCKED else None

    async def assign(self, site: LiveSite, room_id: str, agent: str, once: str) -> Case:
        """Give a case to somebody of the desk: they are invited and may moderate its room."""
        before, after = await self.change(
            room_id,
            lambda case: replace(
                case,
                assignee=agent,
                offered=None,
                offered_ms=None,
                status=case.status if case.status in (OPEN, PENDING, BLOCKED) else OPEN,
                resolved_ms=None,
            ),
        )
        await self._hand(site, after, agent)
        if before.status == RESOLVED:
            await self._quietly(self._rooms.list_case(site.row.bot, site.row.space_id, room_id, listed=True))
        if before != after:
            await self.tell(site, after)
            await self.add_note(site, after, f"{await self.called(agent)} has the case", f"assign {once}", [agent])
        return after

    async def release(self, site: LiveSite, room_id: str, agent: str) -> Case:
        """Take a case that goes on from `agent`, if it is theirs: nobody has it then, as if they had declined it.

        The caller passes it on, and tells.
        """

        def decide(case: Case) -> Case:
            if case.assignee != agent or case.status not in (OPEN, PENDING):
                return case
            return replace(case, assignee=None, status=NEW, offered=agent, offered_ms=self._clock.now_ms())

        _, after = await self.change(room_id, decide)
        if after.assignee is None:
            await self._quietly(self._raise(site.row.bot, room_id, None))
        return after

    async def _hand(self, site: LiveSite, case: Case, agent: str) -> None:
        """Bring whoever has the case into its room."""
        bot = site.row.bot
        await self._quietly(self._rooms.invite(bot, case.room_id, agent, f"You have case #{case.number}"))
        await self._quietly(self._raise(bot, case.room_id, agent))

    async def _raise(self, bot: str, room_id: str, agent: str | None) -> None:
        levels = await self._rooms.state(room_id, "m.room.power_levels")
        # Only who has the case: those who had it before are ordinary members again.
        users = {} if agent is None else {agent: AGENT_POWER}
        if levels.get("users", {}) != users:
            await self._rooms.set_state(bot, room_id, "m.room.power_levels", "", {**levels, "users": users})

    async def _gone(self, room_id: str) -> str | None:
        """Who has a case and is not in its room any more."""
        async with self._store.read_committed() as tx:
            case = await tx.support.case(room_id)
        if case is None or case.assignee is None:
            return None
        return None if await self._rooms.has(room_id, case.assignee) else case.assignee

    async def tell(self, site: LiveSite, case: Case) -> Case:
        """Bring ticket and card up to the case's row; makes the card if there is none yet."""
        async with self._alone(case.room_id):
            return await self._tell(site, case.room_id)

    @asynccontextmanager
    async def _alone(self, room_id: str) -> AsyncIterator[None]:
        """Nobody else writes the case's card meanwhile."""
        lock = self._telling.setdefault(room_id, asyncio.Lock())  # there as long as somebody has it or waits
        async with lock:
            yield

    async def _tell(self, site: LiveSite, room_id: str) -> Case:
        async with self._store.read() as tx:
            case = await tx.support.case(room_id)
        if case is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such case")
        bot, desk, visitor = site.row.bot, site.row.desk_id, await self.visitor(case)
        assignee = await self.called(case.assignee) if case.assignee else None
        offered = await self.called(case.offered) if case.offered else None
        content = cards.card(case, visitor, self._server_name, assignee, offered)
        if case.card_id is None:
            if case.offered is not None:
                content["m.mentions"] = {"user_ids": [case.offered]}
            card_id = await self._rooms.say(bot, desk, content, f"card {room_id} {case.renewed}")
            _, case = await self.change(room_id, lambda now: replace(now, card_id=card_id), in_passing=True)
            await self._set_ticket(site, case, visitor)
        else:
            card_id = case.card_id
            await self._set_ticket(site, case, visitor)
            again = cards.replaced(card_id, content)
            # The one of the latest change is shown, whenever it was sent.  spec: client-server-api#event-replacements
            once = f"card {room_id} {case.renewed} {case.changed_ms}"
            await self._rooms.say(bot, desk, again, once, at_ms=case.changed_ms)
        for sign in cards.offered_signs(case.status):
            relation = {"rel_type": "m.annotation", "event_id": card_id, "key": sign}
            await self._quietly(
                self._rooms.say(bot, desk, {"m.relates_to": relation}, f"sign {card_id} {sign}", kind="m.reaction")
            )
        await self._summon(site, case)
        return case

    async def _summon(self, site: LiveSite, case: Case) -> None:
        """Invite the agent to whom a case is offered to its room, and nobody to whom it was offered before.

        Any client notifies of an invitation. One that is declined is not sent again for the same offer.
        """
        bot, kept = site.row.bot, (case.assignee, case.offered)
        await self._quietly(
            self._rooms.withdraw(bot, case.room_id, kept, f"Case #{case.number} is not offered any more")
        )
        if case.status == NEW and case.offered is not None:
            reason = f"Case #{case.number} is offered to you: accept to take it, decline to pass it on"
            once = f"offer {case.offered} {case.offered_ms}"
            await self._quietly(self._rooms.invite(bot, case.room_id, case.offered, reason, once))

    async def _set_ticket(self, site: LiveSite, case: Case, visitor: Visitor) -> None:
        ticket = cards.ticket(case, visitor, site.row.desk_id)
        await self._quietly(self._rooms.set_state(site.row.bot, case.room_id, TICKET, "", ticket))

    async def renew_card(self, site: LiveSite, room_id: str, once: str) -> None:
        """Replace a card, what was edited into it included, by one that says what the case's row says now."""
        async with self._store.read() as tx:
            case = await tx.support.case(room_id)
        if case is None or case.card_id is None:
            return
        bot, desk = site.row.bot, site.row.desk_id
        # What is being told at this moment may still hold what is to go: it comes first, and goes too.
        async with self._alone(room_id):
            for event_id in [*await self._rooms.children(desk, case.card_id, bot), case.card_id]:
                await self._quietly(self._rooms.redact(bot, desk, event_id, once))
            await self.change(room_id, lambda now: replace(now, card_id=None, renewed=now.renewed + 1), in_passing=True)
        name, topic = _called(site, case, await self.visitor(case))
        await self._quietly(self._rooms.set_state(bot, room_id, "m.room.name", "", {"name": name}))
        await self._quietly(self._rooms.set_state(bot, room_id, "m.room.topic", "", topic_content(topic)))
        await self.tell(site, case)

    async def forget(self, site: LiveSite, case: Case) -> set[str]:
        """Take back all that was said in a case, its card and what stands below that; whose it was. Safe to repeat.

        The case's row stays: what was begun is found again by it.
        """
        bot, desk, once = site.row.bot, site.row.desk_id, f"kept {case.room_id}"
        authors = await self._rooms.redact_all(bot, case.room_id, lambda _: True)
        async with self._alone(case.room_id):
            if case.card_id is not None:
                for event_id in [*await self._rooms.children(desk, case.card_id, None), case.card_id]:
                    await self._quietly(self._rooms.redact(bot, desk, event_id, once))
        nobody = Visitor(case.visitor_id, case.site_id, case.opened_ms, case.opened_ms)
        blank = replace(case, card_id=None, page="", title="", tags="", excerpt="")
        name, topic = _called(site, blank, nobody)
        for kind, content in (
            ("m.room.name", {"name": name}),
            ("m.room.topic", topic_content(topic)),
            (TICKET, cards.ticket(blank, nobody, desk)),
        ):
            await self._quietly(self._rooms.set_state(bot, case.room_id, kind, "", content))
        return authors

    async def add_note(
        self, site: LiveSite, case: Case, text: str, once: str, mentions: list[str] | None = None, *, loud: bool = False
    ) -> None:
        """Say something in the card's thread. Staff is notified of it only if it is `loud`."""
        if case.card_id is not None:
            content = cards.note(case.card_id, text, mentions, loud=loud)
            await self._quietly(self._rooms.say(site.row.bot, site.row.desk_id, content, f"note {once}"))

    async def visitor(self, case: Case) -> Visitor:
        """Who began a case; of somebody forgotten only the account's name is left."""
        async with self._store.read_committed() as tx:
            found = await tx.support.visitor(case.visitor_id)
        return found or Visitor(case.visitor_id, case.site_id, case.opened_ms, case.opened_ms)

    async def called(self, user_id: str) -> str:
        """A user's name."""
        return (await self._profiles.member_profile(user_id)).get("displayname") or user_id

    async def _quietly(self, act: Awaitable[object]) -> None:
        """Something that may have been done already, or that staff has made impossible."""
        try:
            await act
        except MatrixError as error:
            _log.info("support_left_out", reason=error.message)


def _told_once(status: str, once: str) -> str:
    return f"status {status} {once}" if status == BLOCKED else f"status {once}"


def _called(site: LiveSite, case: Case, visitor: Visitor) -> tuple[str, str]:
    """The name and the topic of a case's room."""
    shown, named = cards.shown_name(visitor), clean(site.config.name, _LONGEST_NAME)
    return called(site.config.room_template, case.number, shown, case.page, case.title, named)


__all__ = ["BLOCKED", "NEW", "OPEN", "PENDING", "RESOLVED", "Cases", "Opening"]
