"""Letters to visitors of a site that has switched them on: answers that they did not see, and the conversation as text.

A follow-up goes to who is away and has left an address, once for what staff said since the last one; who has read it
in the chat gets none. Of several processes on one database one writes them (`services/duties.py`). Whose visitor is
with another one, that one notes that no letter is needed, and the writer gives it the time to. Transcripts go to the
visitor's own address only, and are counted like other exports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec
import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.mail import Letter, Mailer, MailFailed
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.ports.support import BLOCKED, Case, Visitor
from homeserver.services.duties import Duty, NotOurs
from homeserver.services.rooms.history import PageRequest, RoomHistory
from homeserver.services.rooms.present import Recipient
from homeserver.services.support import transcript
from homeserver.services.support.cases import Cases
from homeserver.services.support.sites import LiveSite, Sites
from homeserver.services.support.texts import clean

_log = structlog.get_logger(__name__)

_PAGE = 50
_LONGEST = 2_000
_DAY_MS = 86_400_000
_AT_ONCE = 20
_EVERY_S = 5.0
_HERE_EVERY_S = 2.0
OTHERS_MS = 6_000
"""So long the writer of letters waits for what other processes know of visitors: some of their turns."""
_LOOKED_AT = 500
_LAST_S = 5.0
_WORDS = {
    "en": (
        "{site}: an answer to your question",
        "{name} writes:",
        "Go on in the chat: {page}",
        "Your conversation",
        "An encrypted message, which only the chat can show.",
    ),
    "uk": (
        "{site}: відповідь на ваше запитання",
        "{name} пише:",
        "Продовжити в чаті: {page}",
        "Ваша розмова",
        "Зашифроване повідомлення: його показує лише чат.",
    ),
    "de": (
        "{site}: eine Antwort auf Ihre Frage",
        "{name} schreibt:",
        "Weiter im Chat: {page}",
        "Ihr Gespräch",
        "Eine verschlüsselte Nachricht, die nur der Chat zeigen kann.",
    ),
    "pl": (
        "{site}: odpowiedź na Twoje pytanie",
        "{name} pisze:",
        "Dalej na czacie: {page}",
        "Twoja rozmowa",
        "Zaszyfrowana wiadomość, którą pokaże tylko czat.",
    ),
    "ar": (
        "{site}: رد على سؤالك",
        "{name}:",
        "تابع في المحادثة: {page}",
        "محادثتك",
        "رسالة مشفّرة لا تظهر إلا في المحادثة.",
    ),
}


@dataclass(frozen=True, slots=True)
class _Unread:
    lines: list[tuple[str, str]]
    """Who of staff said what, oldest first; empty if the visitor has read it."""


class SupportLetters:
    """Writes letters to visitors; `run` must be running. `mailer` is None where the server has no mail."""

    def __init__(
        self,
        store: Store,
        history: RoomHistory,
        sites: Sites,
        cases: Cases,
        clock: Clock,
        mailer: Callable[[], Mailer] | None,
        is_online: Callable[[str], bool],
        duty: Duty,
    ) -> None:
        self._store = store
        self._history = history
        self._sites = sites
        self._cases = cases
        self._clock = clock
        self._mailer = mailer
        self._is_online = is_online
        self._duty = duty

    async def run(self) -> None:
        """Write follow-ups, while this process is the one that does, until cancelled."""
        if self._mailer is None:
            return
        async with asyncio.TaskGroup() as group:
            if self._duty.is_shared:
                group.create_task(self._often(self.note_who_is_here, _HERE_EVERY_S))
            await self._duty.perform(lambda: self._often(self.follow_up, _EVERY_S))

    async def _often(self, act: Callable[[LiveSite], Awaitable[int]], every_s: float) -> None:
        while True:
            try:
                for site in await self._sites.all() if self._sites.some else ():
                    await act(site)
            except (StoreUnavailable, NotOurs) as error:
                _log.info("support_letters_postponed", reason=str(error))
            except Exception as error:  # a fault in one conversation must not stop all letters
                _log.error("support_letters_crashed", exc_info=error)
            await asyncio.sleep(every_s)

    def offered(self, site: LiveSite) -> bool:
        """Whether visitors of the site get letters."""
        return self._mailer is not None and site.config.letters.enabled

    async def transcript(self, visitor: Visitor, site: LiveSite) -> None:
        """Send the conversation to the visitor's own address.

        Raises MatrixError: NOT_FOUND (no letters, or no address is known), LIMIT_EXCEEDED and others of reading,
        UNKNOWN if the mail server does not take it.
        """
        if self._mailer is None or not site.config.letters.enabled or not visitor.email:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no address for it")
        async with self._store.read() as tx:
            rooms = [case.room_id for case in await tx.support.cases_of(visitor.user_id)]
        text = await transcript.text_of(self._history, visitor, site, rooms)
        subject = f"{site.config.name}: {_words(site)[3]}"
        html = f"<pre>{escape(text)}</pre>"
        try:
            await self._mailer().send(Letter(visitor.email, clean(subject, 150), text or "-", html))
        except MailFailed as error:
            _log.warning("support_letter_failed", reason=str(error))
            raise MatrixError(ErrCode.UNKNOWN, "The letter could not be sent; try again later", status=503) from None

    async def follow_up(self, site: LiveSite) -> int:
        """One step of writing to visitors who are away; how many letters went out.

        Raises NotOurs when another process has taken over: what went out is then for that one to know or to repeat.
        """
        if self._mailer is None or not site.config.letters.enabled:
            return 0
        now = self._clock.now_ms()
        cases = await self._unmailed(site, now, _AT_ONCE, wait_ms=OTHERS_MS if self._duty.is_shared else 0)
        sent = 0
        for case in cases:
            visitor = await self._cases.visitor(case)
            unread = _Unread([])
            if case.status != BLOCKED and visitor.email and not self._is_online(visitor.user_id):
                unread = await self._unread(case, visitor, _words(site)[4])
            letter = self._letter(site, case, visitor, unread) if unread.lines else None
            await self._duty.allowed()
            if not await _to_its_end(self._post(case, letter, now)):
                return sent
            sent += letter is not None
        return sent

    async def note_who_is_here(self, site: LiveSite) -> int:
        """One step of saying of which answers no letter is needed, since the visitor is here; how many they are.

        For processes that share a database: each does so, whether it writes letters or not.
        """
        if not site.config.letters.enabled:
            return 0
        cases = await self._unmailed(site, self._clock.now_ms(), _LOOKED_AT)
        here = [case for case in cases if self._is_online(case.visitor_id)]
        if here:
            async with self._store.write() as tx:
                for case in here:
                    await tx.support.set_mailed(case.room_id, case.said_ms or 0)
        return len(here)

    async def _unmailed(self, site: LiveSite, now_ms: int, limit: int, *, wait_ms: int = 0) -> list[Case]:
        before_ms = now_ms - site.config.letters.after_minutes * 60_000 - wait_ms
        async with self._store.read() as tx:
            return await tx.support.unmailed_cases(site.id, now_ms - _DAY_MS, before_ms, limit)

    async def _post(self, case: Case, letter: Letter | None, now: int) -> bool:
        """Send a letter, and note that what was said so far needs none any more; False if it was not taken."""
        if letter is not None and self._mailer is not None:
            try:
                await self._mailer().send(letter)
            except MailFailed as error:
                _log.warning("support_letter_failed", reason=str(error))
                return False
        async with self._store.write() as tx:
            await self._duty.require(tx)
            await tx.support.set_mailed(case.room_id, case.said_ms or now)
        return True

    async def _unread(self, case: Case, visitor: Visitor, sealed: str) -> _Unread:
        page = await self._history.messages(Recipient(visitor.user_id), case.room_id, PageRequest(True, limit=_PAGE))
        events: list[dict[str, Any]] = [msgspec.json.decode(chunk) for chunk in page.chunk]
        async with self._store.read() as tx:
            nid = (await tx.rooms.room_nids([case.room_id])).get(case.room_id)
            read = None if nid is None else await tx.receipts.get(nid, visitor.user_id, "m.read", None)
        said: list[tuple[str, str]] = []
        for event in events:  # newest first
            content, sender = event.get("content", {}), event["sender"]
            if (
                event["event_id"] == read
                or sender == visitor.user_id
                or event["origin_server_ts"] <= (case.mailed_ms or 0)
            ):
                break
            body = content.get("body")
            if event["type"] == "m.room.encrypted" and "algorithm" in content:
                body = sealed
            elif event["type"] != "m.room.message" or content.get("msgtype") == "m.notice":
                continue
            if not isinstance(body, str):
                continue
            if (content.get("m.relates_to") or {}).get("rel_type") == "m.replace":
                continue
            said.append((clean(await self._cases.called(sender), 60), body[:_LONGEST]))
        return _Unread(said[::-1])

    def _letter(self, site: LiveSite, case: Case, visitor: Visitor, unread: _Unread) -> Letter:
        subject, writes, on, _, _ = _words(site)
        place = case.page or next((one for one in site.config.origins if "*" not in one and one != "null"), "")
        parts: list[tuple[str, str]] = [(writes.format(name=name), body) for name, body in unread.lines]
        foot = on.format(page=place) if place else ""
        text = "\n\n".join(f"{who}\n{body}" for who, body in parts) + (f"\n\n{foot}\n" if foot else "\n")
        direction = "rtl" if site.config.locale == "ar" else "ltr"
        html = f'<div dir="{direction}">'
        html += "".join(
            f"<p><b>{escape(who)}</b><br>{escape(body).replace(chr(10), '<br>')}</p>" for who, body in parts
        )
        if foot:
            link = f'<a href="{escape(place, quote=True)}">{escape(place)}</a>'
            html += f"<p>{escape(on).replace('{page}', link)}</p>"
        return Letter(visitor.email, clean(subject.format(site=site.config.name), 150), text, html + "</div>")


def _words(site: LiveSite) -> tuple[str, str, str, str, str]:
    return _WORDS[site.config.locale]


async def _to_its_end(doing: Coroutine[Any, Any, bool]) -> bool:
    """Do something that is not to be left half done when the server stops, which waits for it a while."""
    task = asyncio.ensure_future(doing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_LAST_S)
        raise
