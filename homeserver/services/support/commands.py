"""Words of staff in a card's thread that begin with `!`. All others there are private notes, which stay on the desk."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.event import Event
from homeserver.ports.store import Store
from homeserver.ports.support import BLOCKED, OPEN, PENDING, RESOLVED, Case
from homeserver.services.support import cards
from homeserver.services.support.cases import Cases
from homeserver.services.support.rooms import CANNED, SupportRooms
from homeserver.services.support.sites import LiveSite, Sites
from homeserver.services.support.texts import clean

_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_MOST_CANNED = 200
_MOST_TEXT = 4_000
_MOST_TAGS = 10
_PRIORITIES = ("low", "normal", "high", "urgent")

HELP = """In the thread of a card:
!assign @agent · gives them the case (!take: to you)
!resolve · !reopen · !hold · !block
!canned NAME · sends a canned reply to the visitor; !canned lists them
!canned NAME = TEXT · keeps one; !canned NAME = · forgets it
!priority low|normal|high|urgent · !tag WORD … · !untag WORD …
Anything else there is a private note: the visitor never sees it.
On the card itself: 🙋 take it · ✅ resolve · ⏸ hold · 🔁 reopen · 🚫 block"""


class Commands:
    """Does what staff says on the desk."""

    def __init__(self, store: Store, cases: Cases, rooms: SupportRooms, sites: Sites) -> None:
        self._store = store
        self._cases = cases
        self._rooms = rooms
        self._sites = sites
        self._known: dict[str, Callable[[LiveSite, Case, Event, str], Awaitable[str | None]]] = {
            "assign": self._assign,
            "take": self._take,
            "resolve": self._status(RESOLVED),
            "reopen": self._status(OPEN),
            "hold": self._status(PENDING),
            "block": self._status(BLOCKED),
            "priority": self._priority,
            "tag": self._tag,
            "untag": self._untag,
        }

    async def run(self, site: LiveSite, case: Case | None, event: Event) -> None:
        """Do what a message says, if it is a command."""
        body = event.content.get("body")
        if not isinstance(body, str) or not body.startswith("!"):
            return
        word, _, rest = body[1 : _MOST_TEXT + 100].partition(" ")
        rest = rest.strip()
        try:
            if word == "help":
                answer: str | None = HELP
            elif word == "canned":
                answer = await self._canned(site, case, event, rest)
            elif word not in self._known:
                answer = f"There is no !{clean(word, 20)}. !help says what there is."
            elif case is None:
                answer = "Say that in the thread of a card."
            else:
                answer = await self._known[word](site, case, event, rest)
        except MatrixError as error:
            answer = error.message
        if answer is not None:
            await self._answer(site, case, event, answer)

    async def _answer(self, site: LiveSite, case: Case | None, event: Event, text: str) -> None:
        once = f"command {event.event_id}"
        if case is not None:
            await self._cases.add_note(site, case, text, once)
        else:
            content = {"msgtype": "m.notice", "body": text, "m.mentions": {}}
            await self._rooms.say(site.row.bot, site.row.desk_id, content, once)

    async def _take(self, site: LiveSite, case: Case, event: Event, _rest: str) -> None:
        await self._cases.assign(site, case.room_id, event.sender, event.event_id)

    async def _assign(self, site: LiveSite, case: Case, event: Event, rest: str) -> str | None:
        mentions = event.content.get("m.mentions")
        named = mentions.get("user_ids") if isinstance(mentions, dict) else None
        candidates = [str(user_id) for user_id in named[:5]] if isinstance(named, list) else []
        wanted = rest.split(" ", maxsplit=1)[0].lstrip("@").lower() if rest else ""
        members = set(await self._rooms.members(site.row.desk_id)) - {site.row.bot}
        found = [u for u in members if u in candidates or u[1:] == wanted or u[1:].partition(":")[0] == wanted]
        if len(found) != 1:
            return "Name one person of the desk: !assign @agent"
        await self._cases.assign(site, case.room_id, found[0], event.event_id)
        return None

    def _status(self, status: str) -> Callable[[LiveSite, Case, Event, str], Awaitable[str | None]]:
        async def act(site: LiveSite, case: Case, event: Event, _rest: str) -> None:
            await self._cases.set_status(site, case.room_id, status, event.sender, event.event_id)

        return act

    async def _priority(self, site: LiveSite, case: Case, _event: Event, rest: str) -> str | None:
        if rest not in _PRIORITIES:
            return f"A priority is one of {', '.join(_PRIORITIES)}"
        await self._set(site, case, lambda now: replace(now, priority="" if rest == "normal" else rest))
        return None

    async def _tag(self, site: LiveSite, case: Case, _event: Event, rest: str) -> str | None:
        def decide(now: Case) -> Case:
            tags = list(dict.fromkeys([*filter(None, now.tags.split(",")), *_tags(rest)]))
            return replace(now, tags=",".join(tags[:_MOST_TAGS]))

        await self._set(site, case, decide)
        return None

    async def _untag(self, site: LiveSite, case: Case, _event: Event, rest: str) -> str | None:
        gone = set(_tags(rest))

        def decide(now: Case) -> Case:
            return replace(now, tags=",".join(tag for tag in now.tags.split(",") if tag not in gone))

        await self._set(site, case, decide)
        return None

    async def _set(self, site: LiveSite, case: Case, decide: Callable[[Case], Case]) -> None:
        before, after = await self._cases.change(case.room_id, decide)
        if before != after:
            await self._cases.tell(site, after)

    async def _canned(self, site: LiveSite, case: Case | None, event: Event, rest: str) -> str | None:
        replies = {**site.config.canned, **await self._kept(site)}
        if not rest:
            return "\n".join(f"{name}: {clean(text, 60)}" for name, text in sorted(replies.items())) or "None yet."
        name, sign, text = rest.partition("=")
        name, text = name.strip().lower(), text.strip()
        if not _NAME.fullmatch(name):
            return "A canned reply's name has up to 32 characters: a-z, 0-9, _ and -"
        if sign:
            return await self._keep(site, event, name, text)
        if name not in replies:
            return f"There is no canned reply {name}. !canned lists them."
        if case is None:
            return "Say that in the thread of a card."
        content = {"msgtype": "m.text", "body": replies[name], "m.mentions": {}}
        # From the bot: nobody is made to say something, and the visitor sees the site's name.
        await self._rooms.say(site.row.bot, case.room_id, content, f"canned {event.event_id}")
        _, after = await self._cases.change(case.room_id, lambda now: replace(now, waiting=False))
        await self._cases.tell(site, after)
        return None

    async def _kept(self, site: LiveSite) -> dict[str, str]:
        """Canned replies that staff keeps in the desk's state, which any client can edit."""
        found = (await self._rooms.state(site.row.desk_id, CANNED)).get("replies")
        items = list(found.items())[:_MOST_CANNED] if isinstance(found, dict) else []
        return {name: text for name, text in items if isinstance(text, str) and _NAME.fullmatch(name)}

    async def _keep(self, site: LiveSite, event: Event, name: str, text: str) -> str:
        kept = await self._kept(site)
        kept.pop(name, None)
        if text:
            if len(kept) >= _MOST_CANNED:
                raise MatrixError(
                    ErrCode.RESOURCE_LIMIT_EXCEEDED, f"A desk keeps at most {_MOST_CANNED} canned replies"
                )
            kept[name] = text[:_MOST_TEXT]
        await self._rooms.set_state(site.row.bot, site.row.desk_id, CANNED, "", {"replies": kept})
        return f"Kept {name}." if text else f"Forgot {name}."


def told_by_ticket(case: Case, said: Mapping[str, Any]) -> Case:
    """The case with the priority and the tags that its ticket was given by staff, as far as these can be any."""
    priority, tags = said.get("priority"), said.get("tags")
    if priority in _PRIORITIES:
        case = replace(case, priority="" if priority == "normal" else priority)
    if isinstance(tags, list):
        words = dict.fromkeys(_tags(" ".join(tag for tag in tags[:_MOST_TAGS] if isinstance(tag, str))))
        case = replace(case, tags=",".join(words))
    return case


def _tags(text: str) -> list[str]:
    return [tag for word in text.split()[:_MOST_TAGS] if (tag := clean(word, 30).replace(",", ""))]


__all__ = ["HELP", "Commands", "cards", "told_by_ticket"]
