"""What an event is worth to those who never changed a push rule, decided once for all of them when it is stored.

The bits say what `PushMatcher` says with the default rules, for a member who is neither the sender nor mentioned by
name; who is mentioned is kept apart. So counting what is unread needs no rule, and nothing is written per member.
spec: client-server-api#predefined-rules
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homeserver.core.event import Event

NOTIFIES = 1
HIGHLIGHTS = 2
"""Beside NOTIFIES."""
ENTERS = 4
"""The member event by which its user comes into the room: what was before is not unread for them."""

_COUNTED = frozenset({"m.call.invite", "m.room.message", "m.room.encrypted"})
_MAX_MENTIONS = 200
"""Further names in one event stand out for nobody."""


def default_push(event: Event, may_notify_room: Callable[[], bool]) -> int:
    """The bits of an event. `may_notify_room` says whether its sender's power suffices to call for everybody."""
    content, kind = event.content, event.type.lower()
    if _is_quiet(kind, content):
        return 0
    mentions = content.get("m.mentions")
    if isinstance(mentions, dict) and mentions.get("room") is True and may_notify_room():
        return NOTIFIES | HIGHLIGHTS
    if event.state_key == "" and kind in {"m.room.tombstone", "m.room.server_acl"}:
        return NOTIFIES | HIGHLIGHTS if kind == "m.room.tombstone" else 0
    relation = content.get("m.relates_to")
    if kind == "m.reaction" or (isinstance(relation, dict) and relation.get("rel_type") == "m.replace"):
        return 0
    return NOTIFIES if kind in _COUNTED else 0


def mentioned_users(event: Event) -> list[str]:
    """Those for whom the event stands out because it mentions them, each once."""
    content = event.content
    mentions = content.get("m.mentions")
    users = mentions.get("user_ids") if isinstance(mentions, dict) else None
    if not isinstance(users, list) or _is_quiet(event.type.lower(), content):
        return []
    named = dict.fromkeys(user for user in users if isinstance(user, str) and user != event.sender)
    return list(named)[:_MAX_MENTIONS]


def _is_quiet(kind: str, content: dict[str, Any]) -> bool:
    """Whether one of the rules before those on mentions says that nobody is told."""
    msgtype = content.get("msgtype")
    return kind == "m.room.member" or (isinstance(msgtype, str) and msgtype.lower() == "m.notice")
