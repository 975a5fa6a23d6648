"""What staff sees of a case: its room's name, its ticket, and the card on the desk that any client can show."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from homeserver.ports.support import BLOCKED, NEW, OPEN, PENDING, RESOLVED, Case, Visitor
from homeserver.services.support.template import RoomTemplate, called
from homeserver.services.support.texts import html

CLAIM, RESOLVE, REOPEN, HOLD, BLOCK = "🙋", "✅", "🔁", "⏸", "🚫"
ACTIONS = {CLAIM: "claim", RESOLVE: "resolve", REOPEN: "reopen", HOLD: "hold", BLOCK: "block"}
_OFFERED = {
    NEW: (CLAIM, RESOLVE, BLOCK),
    OPEN: (RESOLVE, HOLD, CLAIM, BLOCK),
    PENDING: (RESOLVE, CLAIM, BLOCK),
    RESOLVED: (REOPEN,),
    BLOCKED: (REOPEN,),
}
_SIGNS = {NEW: "🆕", OPEN: "💬", PENDING: "⏸", RESOLVED: "✅", BLOCKED: "🚫"}
_WORDS = {NEW: "new", OPEN: "open", PENDING: "on hold", RESOLVED: "resolved", BLOCKED: "blocked"}
_LEGEND = {CLAIM: "take it", RESOLVE: "resolve", REOPEN: "reopen", HOLD: "hold", BLOCK: "block"}

_VARIATION = "\ufe0f"


def action_of(key: object) -> str | None:
    """What a reaction asks for; clients send emoji with and without a variation selector."""
    return ACTIONS.get(key.replace(_VARIATION, "")) if isinstance(key, str) and len(key) < 16 else None


def room_name(number: int, visitor: Visitor, page: str) -> str:
    """`#1042 Ada · /pricing`, as its card calls a case, whatever its room is called."""
    return called(RoomTemplate(), number, shown_name(visitor), page)[0]


def shown_name(visitor: Visitor) -> str:
    """What a visitor is called."""
    return visitor.name or "Visitor"


def ticket(case: Case, visitor: Visitor, desk_id: str) -> dict[str, Any]:
    """The room's `chat.hromada.support.ticket`: for clients that show cases, and for those who look it up.

    Where its card is says nothing to the visitor, who cannot read the desk.
    """
    content: dict[str, Any] = {
        "number": case.number,
        "site": case.site_id,
        "status": case.status,
        "visitor": visitor.user_id,
        "verified": visitor.subject is not None,
        "opened_ts": case.opened_ms,
    }
    for name, value in (
        ("assignee", case.assignee),
        ("page", case.page),
        ("title", case.title),
        ("priority", case.priority),
        ("tags", case.tags.split(",") if case.tags else None),
        ("resolved_ts", case.resolved_ms),
        ("rating", case.rating),
        ("card", {"room_id": desk_id, "event_id": case.card_id} if case.card_id else None),
    ):
        if value:
            content[name] = value
    return content


def card(case: Case, visitor: Visitor, server_name: str, assignee: str | None, offered: str | None) -> dict[str, Any]:
    """The card: who writes from where, what they want, what can be done. `assignee` and `offered` are shown names.

    It is a text and no notice, since of notices nobody is notified; not so one that takes another's place.
    spec: client-server-api#predefined-rules
    """
    link = f"https://matrix.to/#/{quote(case.room_id, safe='')}?via={quote(server_name, safe='')}"
    name = room_name(case.number, visitor, case.page)
    state = "unassigned" if case.status == NEW and case.answered_ms is not None else _WORDS[case.status]
    if case.status == NEW and offered:
        state = f"offered to {offered}"
    elif assignee and case.status in (OPEN, PENDING):
        state += f", with {assignee}"
    if case.waiting and case.status == OPEN:
        state += ", waits for an answer"
    facts = [state]
    if case.priority:
        facts.append(f"priority {case.priority}")
    if case.tags:
        facts.append(case.tags.replace(",", ", "))
    if case.rating is not None:
        facts.append(f"rated {case.rating} of 5")
    who = [("verified by the site" if visitor.subject is not None else "not verified")]
    if visitor.email:
        who.append(visitor.email)
    if case.page:
        who.append(case.page)
    who += [f"{name}: {value}" for name, value in told(visitor).items()]
    legend = " · ".join(f"{sign} {_LEGEND[sign]}" for sign in _OFFERED[case.status])
    body = "\n".join(
        (f"{_SIGNS[case.status]} {name}: {' · '.join(facts)}", f"> {case.excerpt}", " · ".join(who), link, legend)
    )
    markup = (
        f'<p>{_SIGNS[case.status]} <b><a href="{html(link)}">{html(name)}</a></b>: {html(" · ".join(facts))}</p>'
        f"<blockquote>{html(case.excerpt)}</blockquote><p>{html(' · '.join(who))}<br>{legend}</p>"
    )
    return {
        "msgtype": "m.notice" if case.renewed else "m.text",
        "body": body,
        "format": "org.matrix.custom.html",
        "formatted_body": markup,
        "m.mentions": {},
        "chat.hromada.support.case": {"room_id": case.room_id, "number": case.number, "status": case.status},
    }


def told(visitor: Visitor) -> dict[str, str]:
    """What the form asked besides, and what the site has signed."""
    return msgspec.json.decode(visitor.notice, type=dict[str, str]) if visitor.notice else {}


def replaced(event_id: str, content: dict[str, Any]) -> dict[str, Any]:
    """The card edited in place.  spec: client-server-api#event-replacements"""
    return {
        **content,
        "body": f"* {content['body']}",
        "m.new_content": content,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


def note(event_id: str, text: str, mentions: list[str] | None = None, *, loud: bool = False) -> dict[str, Any]:
    """A word of the bot in the card's thread; `loud` ones notify.  spec: client-server-api#threading"""
    return {
        "msgtype": "m.text" if loud else "m.notice",
        "body": text,
        "m.mentions": {"user_ids": mentions} if mentions else {},
        "m.relates_to": {
            "rel_type": "m.thread",
            "event_id": event_id,
            "is_falling_back": True,
            "m.in_reply_to": {"event_id": event_id},
        },
    }


def offered_signs(status: str) -> tuple[str, ...]:
    """What can be done to a case, to be pressed under its card."""
    return _OFFERED[status]
