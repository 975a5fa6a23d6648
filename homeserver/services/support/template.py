"""What the room of a case is made with, as far as a site chooses that: name, topic, power levels, further state.

What the chat stands on is not the site's to choose: who comes in and reads, whether messages are encrypted, that
visitors write and do nothing else. All of it is checked when it is set, since what a room cannot be made with would
shut out every visitor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from homeserver.core.canonical import encode
from homeserver.core.content import check_client_content
from homeserver.core.errors import MatrixError
from homeserver.core.versions import DEFAULT_ROOM_VERSION
from homeserver.services.support.texts import clean, path_of

CASE_PREFIX = "chat.hromada.support."
AGENT_POWER = 50
NEVER = 101
"""More than anybody can be given: the bot, which has made the room, stands above all levels."""

_SLOT = re.compile(r"\{([^{}]*)\}")
_SLOTS = ("number", "name", "page", "path", "title", "site")
_JOINTS = " ·|,;:-\u2013\u2014"
_USUAL_NAME, _LONGEST_NAME = "#{number} {name} · {path}", 200
_USUAL_TOPIC, _LONGEST_TOPIC = "{page}", 500
_MOST_BYTES = 32_768
_HELD = (
    *("m.room.name", "m.room.encryption", "m.room.power_levels", "m.room.join_rules"),
    *("m.room.guest_access", "m.room.history_visibility", "m.space.parent"),
)
_NOT_STATE = frozenset(
    (
        *_HELD,
        *("m.room.create", "m.room.member", "m.room.topic", "m.room.canonical_alias", "m.room.tombstone"),
        *("m.room.third_party_invite", "m.room.redaction", "m.room.server_acl"),
    )
)
_OF_VISITORS = frozenset(("m.room.message", "m.room.encrypted", "m.room.redaction", "m.reaction", "m.sticker"))

Pattern = Annotated[str, Meta(max_length=200)]
Level = Annotated[int, Meta(ge=1, le=100)]
"""Visitors have 0, whoever has the case 50, and nobody but the bot more."""
EventType = Annotated[str, Meta(min_length=1, max_length=255)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the template."""


class PowerLevels(_Part, frozen=True):
    """What takes which power. Nothing of it can be given to visitors, nor writing be taken from them."""

    invite: Level = AGENT_POWER
    kick: Level = AGENT_POWER
    ban: Level = AGENT_POWER
    redact: Level = AGENT_POWER
    state_default: Level = AGENT_POWER
    events: Annotated[dict[EventType, Level], Meta(max_length=50)] = {}
    notifications: dict[Literal["room"], Level] = {}


class Piece(_Part, frozen=True):
    """A piece of state. Visitors read it, too."""

    type: EventType
    content: dict[str, Any]
    state_key: Annotated[str, Meta(max_length=255)] = ""


class RoomTemplate(_Part, frozen=True):
    """How the room of a new case is made; rooms that there are stay as they are."""

    name: Pattern = ""
    """With {number}, {name} (the visitor's), {page}, {path} (of it), {title} (its title) and {site}."""
    topic: Pattern = ""
    """With the same. Empty: the page's address."""
    power_levels: PowerLevels = PowerLevels()
    initial_state: Annotated[tuple[Piece, ...], Meta(max_length=20)] = ()


def fault_of(template: RoomTemplate) -> str:
    """What is wrong with it; nothing if it serves."""
    for part, pattern in (("name", template.name), ("topic", template.topic)):
        unknown = [slot for slot in _SLOT.findall(pattern) if slot not in _SLOTS]
        if unknown:
            return f"room_template.{part}: there is no {{{clean(unknown[0], 40)}}}; there are {', '.join(_SLOTS)}"
    for kind in template.power_levels.events:
        if kind in _HELD or kind in _OF_VISITORS or kind.startswith(CASE_PREFIX):
            return f"room_template.power_levels.events: {clean(kind, 60)} is not the site's to choose"
    seen, size = set(), 0
    for piece in template.initial_state:
        if (fault := _fault_of_piece(piece)) or (piece.type, piece.state_key) in seen:
            return f"room_template.initial_state: {clean(piece.type, 60)} {fault or 'is there twice'}"
        seen.add((piece.type, piece.state_key))
        size += len(encode(piece.content))
    return f"room_template.initial_state has more than {_MOST_BYTES:,} bytes" if size > _MOST_BYTES else ""


def _fault_of_piece(piece: Piece) -> str:
    if piece.type in _NOT_STATE or piece.type in _OF_VISITORS or piece.type.startswith(CASE_PREFIX):
        return "is not the site's to choose"
    if piece.state_key.startswith("@"):
        return "belongs to one user"  # none but they may set it.  spec: rooms/v12#authorisation-rules
    try:
        check_client_content(piece.type, piece.state_key, piece.content, DEFAULT_ROOM_VERSION)
    except MatrixError as error:
        return f"cannot be sent: {error.message}"
    return ""


def levels_of(template: RoomTemplate) -> dict[str, Any]:
    """The room's power levels before somebody has the case."""
    chosen = template.power_levels
    return {
        "users_default": 0,
        "events_default": 0,
        "state_default": chosen.state_default,
        "events": {**chosen.events, **dict.fromkeys(_HELD, NEVER)},
        "invite": chosen.invite,
        "kick": chosen.kick,
        "ban": chosen.ban,
        "redact": chosen.redact,
        **({"notifications": dict(chosen.notifications)} if chosen.notifications else {}),
    }


def called(
    template: RoomTemplate, number: int, visitor: str, page: str, title: str = "", site: str = ""
) -> tuple[str, str]:
    """The room's name and topic: `#1042 Ada · /pricing` and the page's address, or what the site wants of them.

    What the slots are filled with is clean already, and no pattern itself. The topic may be empty.
    """
    values = {"number": str(number), "name": visitor, "page": page, "path": path_of(page), "title": title, "site": site}
    name = _filled(template.name or _USUAL_NAME, values, _LONGEST_NAME).strip(_JOINTS)
    return name or f"#{number}", _filled(template.topic or _USUAL_TOPIC, values, _LONGEST_TOPIC)


def _filled(pattern: str, values: Mapping[str, str], most: int) -> str:
    return clean(_SLOT.sub(lambda slot: values[slot[1]], pattern), most)
