"""A visitor's conversation as text, for them to keep: what they can read in the chat, no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from homeserver.ports.support import Visitor
from homeserver.services.rooms.history import PageRequest, RoomHistory
from homeserver.services.rooms.present import Recipient
from homeserver.services.support.sites import LiveSite
from homeserver.services.support.texts import clean

_PAGE = 500
_MOST = 5_000
SEALED = "(encrypted)"


async def text_of(history: RoomHistory, visitor: Visitor, site: LiveSite, rooms: Sequence[str]) -> str:
    """The newest 5,000 events of the visitor's conversations (`rooms`, newest first) as lines: time, name, text."""
    zone = ZoneInfo(site.config.hours.tz)
    names = {visitor.user_id: visitor.name or "You", site.row.bot: site.config.name}
    rows: list[tuple[str, str, str]] = []
    async for event in _newest(history, visitor, rooms):
        if event.get("type") == "m.room.member" and isinstance(event["content"].get("displayname"), str):
            names.setdefault(event["sender"], event["content"]["displayname"])
        body = event["content"].get("body")
        if event.get("type") == "m.room.encrypted" and "algorithm" in event["content"]:
            body = SEALED  # the chat itself makes transcripts of what it can read
        elif event.get("type") != "m.room.message" or not isinstance(body, str):
            continue
        moment = datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC).astimezone(zone)
        rows.append((f"{moment:%Y-%m-%d %H:%M}", event["sender"], body))
    return "".join(f"[{time}] {clean(names.get(who, who), 60)}: {text}\n" for time, who, text in reversed(rows))


async def _newest(history: RoomHistory, visitor: Visitor, rooms: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    """What was said, from the newest on, across the rooms of all cases: as the chat is scrolled."""
    pages = _MOST // _PAGE
    for room_id in rooms:
        start: str | None = None
        while pages > 0:
            pages -= 1
            page = await history.messages(Recipient(visitor.user_id), room_id, PageRequest(True, start, limit=_PAGE))
            for chunk in page.chunk:
                yield msgspec.json.decode(chunk)
            start = page.end
            if start is None:
                break
