"""A visitor's conversation as text, for them to keep: what they can read in the chat, no more."""

from __future__ import annotations

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


async def text_of(history: RoomHistory, visitor: Visitor, site: LiveSite) -> str:
    """The newest 5,000 events as lines: time, name, text."""
    if visitor.room_id is None:
        return ""
    zone = ZoneInfo(site.config.hours.tz)
    names = {visitor.user_id: visitor.name or "You", site.row.bot: site.config.name}
    lines: list[str] = []
    start: str | None = None
    for _ in range(_MOST // _PAGE):
        page = await history.messages(
            Recipient(visitor.user_id), visitor.room_id, PageRequest(True, start, limit=_PAGE)
        )
        events: list[dict[str, Any]] = [msgspec.json.decode(chunk) for chunk in page.chunk]
        for event in events:
            if event.get("type") == "m.room.member" and isinstance(event["content"].get("displayname"), str):
                names.setdefault(event["sender"], event["content"]["displayname"])
            body = event["content"].get("body")
            if event.get("type") == "m.room.encrypted" and "algorithm" in event["content"]:
                body = SEALED  # the chat itself makes transcripts of what it can read
            elif event.get("type") != "m.room.message" or not isinstance(body, str):
                continue
            moment = datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC).astimezone(zone)
            lines.append(f"{moment:%Y-%m-%d %H:%M}\0{event['sender']}\0{body}")
        start = page.end
        if start is None:
            break
    rows = [line.split("\0", 2) for line in reversed(lines)]
    return "".join(f"[{time}] {clean(names.get(who, who), 60)}: {text}\n" for time, who, text in rows)
