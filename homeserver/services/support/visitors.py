"""Visitors: accounts made when somebody writes for the first time, kept by a cookie, known by the site's word.

Nothing is stored before the first message or form. A browser shows a random key of its own with it, so that a
repeated request finds the account that the first one made. The cookie is a token of its own kind that stands for the
session: it serves only to get an access token of an hour, from the frame's own origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256

import msgspec

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Device, Session, User
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.ratelimits import RateLimits
from homeserver.ports.requester import CALLER_ADDRESS, Requester
from homeserver.ports.store import Store, UniqueViolation
from homeserver.ports.support import BLOCKED, RESOLVED, Case, Visitor
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.sessions import Opened, Sessions, Tokens
from homeserver.services.commit import Committer, Unit
from homeserver.services.support import cards, texts
from homeserver.services.support.blocks import Blocks, blocked
from homeserver.services.support.cases import Cases, Opening
from homeserver.services.support.form import check_form, extra
from homeserver.services.support.identity import Identities, Known, attributes_json, names_a_key, read_token
from homeserver.services.support.names import is_visitor, visitor_id
from homeserver.services.support.removal import close_visitor, end_sessions, forget_files
from homeserver.services.support.rooms import SupportRooms
from homeserver.services.support.session import Start, Started
from homeserver.services.support.site import visitors_rate
from homeserver.services.support.sites import LiveSite, Sites
from homeserver.services.support.work import is_done

TOKEN_MS = 3_600_000
KEPT_MS = 30 * 86_400_000
"""So long a handle serves that a page keeps."""
IDLE_SESSION_DAYS = 30
"""So long an anonymous visitor's session lasts without being used, and their cookie, which each use renews."""
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_SEEN_EVERY_MS = _HOUR_MS
_EXPIRED_AT_ONCE = 100
_MOST_READERS = 100


class Visitors:
    """Owns visitors and their sessions."""

    def __init__(  # noqa: PLR0913, PLR0917 - one collaborator per thing that a visitor touches
        self,
        store: Store,
        committer: Committer,
        sessions: Sessions,
        account: Account,
        sites: Sites,
        cases: Cases,
        rooms: SupportRooms,
        blocks: Blocks,
        limits: RateLimits,
        clock: Clock,
        entropy: Entropy,
        server_name: str,
    ) -> None:
        self._store = store
        self._committer = committer
        self._sessions = sessions
        self._account = account
        self._sites = sites
        self._cases = cases
        self._rooms = rooms
        self._blocks = blocks
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
        self._server_name = server_name
        self._identities = Identities(store, clock)

    async def start(self, site: LiveSite, start: Start, current: Requester | None) -> Started:
        """Begin, or go on as whom the site says one is. `current` is whose session the browser has already.

        Raises MatrixError: FORBIDDEN (the site is off, identity wanted or bad), MISSING_PARAM (form, consent),
        LIMIT_EXCEEDED.
        """
        if start.jwt and not names_a_key(site, start.jwt):
            site = await self._sites.get(site.id, fresh=True)  # sites sign with a new key as soon as they have it
        _require_enabled(site)
        before = await self._of(site, current)
        known = await self._known(site, start, before) if start.jwt else None
        is_known = known is not None or (before is not None and before.subject is not None)
        if not is_known and site.config.identity.mode == "required":
            raise MatrixError(
                ErrCode.FORBIDDEN, "Only people whom the site knows may write", reason="identity_required"
            )
        if known is None and before is not None:
            return await self._go_on(site, before, start, current)
        if known is not None:
            return await self._as_known(site, known, start, before, current)
        return await self._as_anonymous(site, start)

    async def _known(self, site: LiveSite, start: Start, before: Visitor | None) -> Known:
        if site.config.identity.mode == "anonymous" or not site.config.identity.keys:
            raise MatrixError(ErrCode.FORBIDDEN, "This site vouches for nobody", reason="identity_invalid")
        if before is None:
            known = read_token(site, start.jwt, self._clock.now_ms())
            async with self._store.read() as tx:
                is_new = await tx.support.visitor_of(site.id, known.subject) is None
            # Nothing is made of somebody new who has not written yet, or who has left something out, and their token
            # serves when they do.
            if is_new and not start.begin:
                raise MatrixError(ErrCode.NOT_FOUND, "Nobody of this name has been here")
            if is_new:
                check_form(
                    site.config.form,
                    start.answers,
                    start.consent,
                    {"name": known.name, "email": known.email, **known.attributes},
                )
        return await self._identities.take(site, start.jwt)

    async def _as_anonymous(self, site: LiveSite, start: Start) -> Started:
        begun = sha256(f"{site.id}\0{start.key}".encode()).digest()
        async with self._store.read() as tx:
            visitor = await tx.support.visitor_begun(begun)
        if visitor is None:
            await self._blocks.check(site, CALLER_ADDRESS.get())
            check_form(site.config.form, start.answers, start.consent)
            if not is_done(start.nonce, start.key, start.work, site.config.proof_of_work):
                raise MatrixError(ErrCode.FORBIDDEN, "Too little work was done", reason="work")
            self._count_visitor(site)
            visitor = self._new(site, start, None, begun)
            try:
                opened = await self._create(visitor)
            except UniqueViolation:  # the same request, at the same moment
                async with self._store.read() as tx:
                    visitor = await tx.support.visitor_begun(begun)
                if visitor is None:
                    raise
                opened = await self._open(visitor)
        else:
            opened = await self._open(visitor)
        return await self._started(site, visitor, opened, start)

    async def _as_known(
        self, site: LiveSite, known: Known, start: Start, before: Visitor | None, current: Requester | None
    ) -> Started:
        async with self._store.read() as tx:
            visitor = await tx.support.visitor_of(site.id, known.subject)
        if visitor is None:
            self._count_visitor(site)
            visitor = self._new(site, start, known, None)
            try:
                opened = await self._create(visitor)
            except UniqueViolation:
                async with self._store.read() as tx:
                    visitor = await tx.support.visitor_of(site.id, known.subject)
                if visitor is None:
                    raise
                opened = await self._open(visitor)
        elif before is not None and current is not None and before.user_id == visitor.user_id:
            visitor = await self._renamed(site, visitor, known)
            return await self._started(site, visitor, _opened(current), start, current.until_ms)
        else:
            opened = await self._open(visitor)
            visitor = await self._renamed(site, visitor, known)
        if before is not None and before.subject is None and current is not None:
            visitor = await self._hand_over(site, before, visitor)
            await self._sessions.end(current)
        return await self._started(site, visitor, opened, start)

    async def _renamed(self, site: LiveSite, visitor: Visitor, known: Known) -> Visitor:
        """The visitor by what the site says of them now; what they answered themselves stays."""
        asked = set(extra(site.config.form.fields))
        answers = {name: value for name, value in cards.told(visitor).items() if name in asked}
        changed = replace(
            visitor,
            name=known.name or visitor.name,
            email=known.email or visitor.email,
            notice=attributes_json(answers | known.attributes) if known.attributes else visitor.notice,
        )
        if changed != visitor:
            async with self._store.write() as tx:
                await tx.support.put_visitor(changed)
                if changed.name != visitor.name:
                    await tx.profiles.put(changed.user_id, "displayname", msgspec.json.encode(changed.name))
        return changed

    async def _hand_over(self, site: LiveSite, before: Visitor, now: Visitor) -> Visitor:
        """Give an anonymous visitor's conversations to whom the site says they are. Only the browser that holds the
        anonymous session gets here.
        """
        called = now.name
        now = replace(
            now,
            name=now.name or before.name,
            email=now.email or before.email,
            notice=attributes_json(cards.told(before) | cards.told(now)),
        )
        async with self._store.write() as tx:  # first, since the cards are written from it
            await tx.support.put_visitor(now)
            if now.name != called:
                await tx.profiles.put(now.user_id, "displayname", msgspec.json.encode(now.name))
            cases = await tx.support.cases_of(before.user_id)
        for case in cases:
            if case.status == BLOCKED:
                continue
            bot = site.row.bot
            await self._rooms.member(bot, case.room_id, now.user_id, "invite")
            await self._rooms.member(bot, case.room_id, now.user_id, "join", by=now.user_id)
            _, changed = await self._cases.change(case.room_id, lambda c: replace(c, visitor_id=now.user_id))
            await self._rooms.member(bot, case.room_id, before.user_id, "leave", by=before.user_id)
            if changed.card_id is not None:
                await self._cases.tell(site, changed)
        now = replace(now, room_id=now.room_id or before.room_id)
        async with self._store.write() as tx:
            await tx.support.put_visitor(now)
            await tx.support.delete_visitor(before.user_id)
        return now

    async def _go_on(self, site: LiveSite, visitor: Visitor, start: Start, current: Requester | None) -> Started:
        if current is None:
            raise MatrixError(ErrCode.UNKNOWN_TOKEN, "The session has ended", soft_logout=False)
        return await self._started(site, visitor, _opened(current), start, current.until_ms)

    async def _started(
        self, site: LiveSite, visitor: Visitor, opened: Opened, start: Start, until_ms: int | None = None
    ) -> Started:
        case = await (self._case_for(site, visitor, start) if start.begin else self._current_case(visitor))
        return await self._session(site, visitor, opened, case, until_ms)

    async def _current_case(self, visitor: Visitor) -> Case | None:
        """Where the visitor writes. Raises MatrixError(FORBIDDEN) if they are shut out of it."""
        async with self._store.read() as tx:
            case = await tx.support.case(visitor.room_id) if visitor.room_id else None
        if case is not None and case.status == BLOCKED:
            raise blocked()
        return case

    async def _case_for(self, site: LiveSite, visitor: Visitor, start: Start) -> Case:
        """Where the visitor writes: the conversation there is, or a new one."""
        case = await self._current_case(visitor)
        after_hours = site.config.routing.new_case_after_hours
        if case is not None and case.status == RESOLVED and after_hours:
            since = self._clock.now_ms() - (case.resolved_ms or 0)
            case = None if since > after_hours * _HOUR_MS else case
        if case is None:
            self._limits.take("support_cases", CALLER_ADDRESS.get())
            page = texts.page_of(start.page, keep_query=site.config.keep_query)
            opening = Opening(page, texts.title_of(start.title))
            case = await self._cases.open(site, visitor, opening)
        return case

    async def resume(self, site: LiveSite, who: Requester) -> Started:
        """Go on with a session. Raises MatrixError: FORBIDDEN, UNKNOWN_TOKEN."""
        _require_enabled(site)
        visitor = await self._of(site, who)
        if visitor is None:
            raise MatrixError(ErrCode.UNKNOWN_TOKEN, "There is no such session", soft_logout=False)
        now = self._clock.now_ms()
        if now - visitor.seen_ms > _SEEN_EVERY_MS:
            visitor = replace(visitor, seen_ms=now)
            async with self._store.write() as tx:
                await tx.support.put_visitor(visitor)
        return await self._session(site, visitor, _opened(who), await self._current_case(visitor), who.until_ms)

    async def renew(self, site: LiveSite, who: Requester) -> Started:
        """Go on as another device of the same visitor, since the keys of this one are lost; this one is gone.

        Raises MatrixError: FORBIDDEN, UNKNOWN_TOKEN.
        """
        _require_enabled(site)
        visitor = await self._of(site, who)
        if visitor is None:
            raise MatrixError(ErrCode.UNKNOWN_TOKEN, "There is no such session", soft_logout=False)
        opened = await self._open(visitor)
        await self._sessions.end(who)
        return await self._session(site, visitor, opened, await self._current_case(visitor), who.until_ms)

    def now_ms(self) -> int:
        """The time."""
        return self._clock.now_ms()

    async def of(self, site: LiveSite, who: Requester) -> Visitor:
        """The visitor behind a token. Raises MatrixError(FORBIDDEN) if it is none of this site's."""
        visitor = await self._of(site, who)
        if visitor is None:
            raise MatrixError(ErrCode.FORBIDDEN, "You are no visitor of this site")
        return visitor

    async def rooms_of(self, visitor: Visitor) -> tuple[str, ...]:
        """All of the visitor's conversations, newest first."""
        async with self._store.read() as tx:
            return tuple(found.room_id for found in await tx.support.cases_of(visitor.user_id))

    async def tell_more(self, site: LiveSite, who: Requester, said: Mapping[str, str]) -> None:
        """Show staff what the page says meanwhile, in answer to fields of the form. What is no such field, or no such
        choice, is left out; and the page takes nothing back that the site has signed.

        Raises MatrixError: FORBIDDEN, LIMIT_EXCEEDED.
        """
        visitor = await self.of(site, who)
        before = cards.told(visitor)
        asked = {field.name: field for field in site.config.form.fields if field.name in said}
        answers = {name: texts.answer_of(said[name]) for name in extra(tuple(asked.values()))}
        fits = {
            name: value
            for name, value in answers.items()
            if (asked[name].type != "select" or not value or value in asked[name].options)
            and (visitor.subject is None or name not in before)
        }
        after = {name: value for name, value in (before | fits).items() if value}
        if after == before:
            return
        self._limits.take("support_context", who.user_id)
        async with self._store.write() as tx:
            await tx.support.put_visitor(replace(visitor, notice=attributes_json(after)))
        case = await self._current_case(visitor)
        if case is not None and case.status != RESOLVED:
            # Nothing of the case itself changes, but what is told of it.
            _, case = await self._cases.change(case.room_id, lambda case: replace(case, changed_ms=case.changed_ms + 1))
            await self._cases.tell(site, case)

    async def erase(self, site: LiveSite, who: Requester) -> None:
        """Forget the visitor: their messages, files, names, the account."""
        visitor = await self.of(site, who)
        await self.forget(site, visitor)

    async def forget(self, site: LiveSite, visitor: Visitor) -> None:
        """Close a visitor's account and take back what they wrote."""
        async with self._store.read() as tx:
            cases = await tx.support.cases_of(visitor.user_id)
        authors = {visitor.user_id}
        for case in cases:
            # Those among them who became known, or another device, and went on under another name.
            authors |= await self._rooms.redact_all(site.row.bot, case.room_id, partial(is_visitor, site_id=site.id))
            _, after = await self._cases.change(
                case.room_id, lambda c: replace(c, excerpt="(erased)", page="", title="")
            )
            if after.status not in (RESOLVED, BLOCKED):
                after = await self._cases.set_status(site, case.room_id, RESOLVED, None, f"erased {case.room_id}")
        await self._forget_name(site, visitor, cases, "erased")
        for author in sorted(authors):
            await forget_files(self._store, author, self._clock.now_ms())
        await self._account.deactivate(visitor.user_id, erase=True)
        async with self._store.write() as tx:
            await tx.support.delete_visitor(visitor.user_id)

    async def _forget_name(self, site: LiveSite, visitor: Visitor, cases: Sequence[Case], why: str) -> None:
        """Take who a visitor is from what is kept of them, from the cards of their cases and the names of the rooms."""
        async with self._store.write() as tx:
            await tx.support.put_visitor(
                replace(visitor, name="", email="", subject=None, notice="", begun=None, room_id=None)
            )
        for case in cases:
            await self._cases.renew_card(site, case.room_id, f"{why} {case.room_id}")

    async def expire(self, site: LiveSite) -> int:
        """Close some accounts of visitors who were not seen for as long as their site keeps them; how many.

        What was said stays with staff; the visitor's name, address and files go. What breaks off is found again.
        """
        before_ms = self._clock.now_ms() - site.config.visitor_idle_days * _DAY_MS
        async with self._store.read() as tx:
            idle = await tx.support.idle_visitors(site.id, before_ms, _EXPIRED_AT_ONCE)
        for visitor in idle:
            async with self._store.read() as tx:
                user, cases = await tx.users.get(visitor.user_id), await tx.support.cases_of(visitor.user_id)
            if user is not None and user.site_id == site.id:  # or they go on in an account of their own
                authors = {visitor.user_id}
                for case in cases:
                    authors |= await self._rooms.known(case.room_id, partial(is_visitor, site_id=site.id))
                    if case.status not in (RESOLVED, BLOCKED):
                        await self._cases.set_status(site, case.room_id, RESOLVED, None, f"closed {case.room_id}")
                await self._forget_name(site, visitor, cases, "closed")
                for author in sorted(authors):
                    await forget_files(self._store, author, self._clock.now_ms())
            await close_visitor(self._store, self._account, visitor)
        return len(idle)

    async def end_idle(self, site: LiveSite) -> int:
        """Log out some anonymous visitors who have not come back for long; how many. The conversation stays."""
        # What is noted of their being here may be so much older than their cookie.
        before_ms = self._clock.now_ms() - IDLE_SESSION_DAYS * _DAY_MS - _SEEN_EVERY_MS
        async with self._store.read() as tx:
            idle = await tx.support.idle_sessions(site.id, before_ms, _EXPIRED_AT_ONCE)
        return sum([await end_sessions(self._committer, self._sessions, visitor, before_ms) for visitor in idle])

    # --- accounts and sessions ---

    def _new(self, site: LiveSite, start: Start, known: Known | None, begun: bytes | None) -> Visitor:
        now = self._clock.now_ms()
        answers = {name: texts.answer_of(start.answers.get(name, "")) for name in extra(site.config.form.fields)}
        attributes = answers | known.attributes if known is not None else answers
        name = (known.name if known is not None else "") or texts.name_of(start.answers.get("name", ""))
        email = (known.email if known is not None else "") or texts.mail_of(start.answers.get("email", ""))
        user_id = visitor_id(site.id, self._entropy.letters(14), self._server_name)
        subject = known.subject if known is not None else None
        notice = attributes_json({k: v for k, v in attributes.items() if v})
        return Visitor(user_id, site.id, now, now, name, email, subject, begun, notice=notice)

    async def _create(self, visitor: Visitor) -> Opened:
        user = User(visitor.user_id, visitor.created_ms, is_guest=True, site_id=visitor.site_id)
        async with self._committer.writing() as unit:
            await unit.tx.users.create(user)
            await unit.tx.support.put_visitor(visitor)
            shown = msgspec.json.encode(visitor.name or "Visitor")
            await unit.tx.profiles.put(visitor.user_id, "displayname", shown)
            opened = await self._open_in(unit, user)
        return opened

    async def _open(self, visitor: Visitor) -> Opened:
        async with self._store.read() as tx:
            user = await tx.users.get(visitor.user_id)
        if user is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such visitor")
        if user.site_id != visitor.site_id:
            # They have a password now. No word of the site, and no repeated request, opens that account.
            raise MatrixError(ErrCode.FORBIDDEN, "Go on in your account", reason="account", account=user.user_id)
        if user.locked:
            raise blocked()
        async with self._committer.writing() as unit:
            return await self._open_in(unit, user)

    async def _open_in(self, unit: Unit, user: User) -> Opened:
        opened = await self._sessions.open_in(unit, user, None, "Support chat", refresh=False)
        if address := CALLER_ADDRESS.get():
            # Processes write from where they see devices once a minute; any of them may shut this one out before that.
            seen = Device(user.user_id, opened.session.device_id, 0, seen_ms=self._clock.now_ms(), seen_ip=address)
            await unit.tx.devices.seen([seen])
        return opened

    async def _session(
        self, site: LiveSite, visitor: Visitor, opened: Opened, case: Case | None, until_ms: int | None
    ) -> Started:
        session = opened.session
        rooms = await self.rooms_of(visitor)
        token = self._sessions.short_token(session, TOKEN_MS)
        cookie = self._sessions.visitor_cookie(session, until_ms)
        keep = ""
        if site.config.persist == "host":  # scripts of the page can read it, so it ends, and is not renewed by its use
            keep = self._sessions.visitor_cookie(session, until_ms or self._clock.now_ms() + KEPT_MS)
        encrypted = await self._rooms.encrypted(rooms)
        staff: tuple[str, ...] = ()
        if encrypted:
            members = await self._sites.staff(site)
            staff = tuple([one.user_id for one in members][:_MOST_READERS])
        device_id = session.device_id
        return Started(visitor, token, TOKEN_MS, cookie, device_id, case, rooms, encrypted, until_ms, keep, staff)

    async def _of(self, site: LiveSite, who: Requester | None) -> Visitor | None:
        if who is None or who.site_id != site.id:
            return None
        async with self._store.read_committed() as tx:
            return await tx.support.visitor(who.user_id)

    def _count_visitor(self, site: LiveSite) -> None:
        address = CALLER_ADDRESS.get()
        self._limits.take("support_visitors_address", address)
        try:
            self._limits.take("support_visitors_site", site.id, within=visitors_rate(site.config.limits))
        except MatrixError:
            self._limits.give_back("support_visitors_address", address)
            raise


def _require_enabled(site: LiveSite) -> None:
    if not site.config.enabled:
        raise MatrixError(ErrCode.FORBIDDEN, "The chat of this site is switched off", reason="disabled")


def _opened(who: Requester) -> Opened:
    return Opened(Session(who.session_id or "", who.user_id, who.device_id or "", False), Tokens(""))
