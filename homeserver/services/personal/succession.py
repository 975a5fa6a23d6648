"""A user who enters the replacement of a room they know finds their settings there: tags, push rules, direct chats.

Only where both rooms say so: the new one names its predecessor and the old one's tombstone names the new one, for
anybody can claim a predecessor. What the user has set in the new room already stays as it is.
spec: client-server-api#room-upgrades
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import structlog

from homeserver.core.errors import MatrixError
from homeserver.core.event import StateKey
from homeserver.core.pushrules import KINDS, Rule
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.pushrules import PushRules
from homeserver.services.personal.tags import TAG
from homeserver.services.rooms.writer import RoomMemory

_log = structlog.get_logger(__name__)

_CREATE: StateKey = ("m.room.create", "")
_TOMBSTONE: StateKey = ("m.room.tombstone", "")
_DIRECT = "m.direct"


class Succession:
    """Carries personal settings from a room to its replacement."""

    def __init__(self, memory: RoomMemory, edits: AccountDataEdits, push_rules: PushRules) -> None:
        self._memory = memory
        self._edits = edits
        self._push_rules = push_rules

    async def follow(self, user_id: str, room_id: str) -> None:
        """Take over what the user had in the predecessor of `room_id`, if it has one and they were there.

        Nobody waits in vain for it: what cannot be taken over is left. Raises StoreUnavailable.
        """
        old = await self._predecessor(user_id, room_id)
        if old is None:
            return
        try:
            await self._tags(user_id, old, room_id)
            await self._direct(user_id, old, room_id)
            await self._rules(user_id, old, room_id)
        except MatrixError as error:
            _log.info("settings_left_behind", room_id=room_id, error=error.message)

    async def _predecessor(self, user_id: str, room_id: str) -> str | None:
        named = (await self._content(room_id, _CREATE)).get("predecessor")
        old = named.get("room_id") if isinstance(named, dict) else None
        if not isinstance(old, str):
            return None
        if (await self._content(old, _TOMBSTONE)).get("replacement_room") != room_id:
            return None
        return old if await self._content(old, ("m.room.member", user_id)) else None

    async def _content(self, room_id: str, key: StateKey) -> Mapping[str, Any]:
        """Content of a piece of state of a room; empty if there is none."""
        memory = self._memory
        head = await memory.heads.fetch(room_id, memory.store)
        stored = None if head is None else (await memory.read_events(head.state, [key])).get(key)
        return {} if stored is None else stored.event.content

    async def _tags(self, user_id: str, old: str, new: str) -> None:
        content = await self._edits.read(user_id, old, TAG)

        async def edit(stored: bytes | None) -> bytes | None:
            return content if stored is None else None

        if content is not None:
            await self._edits.edit(user_id, new, TAG, edit)

    async def _direct(self, user_id: str, old: str, new: str) -> None:
        """Whoever had the old room as a direct chat has the new one as such.  spec: client-server-api#mdirect"""

        async def edit(stored: bytes | None) -> bytes | None:
            direct: dict[str, Any] = {} if stored is None else orjson.loads(stored)
            for person, rooms in direct.items():
                if isinstance(rooms, list) and old in rooms and new not in rooms:
                    direct[person] = [*rooms, new]
            return orjson.dumps(direct) if stored is not None else None

        await self._edits.edit(user_id, None, _DIRECT, edit)

    async def _rules(self, user_id: str, old: str, new: str) -> None:
        rules = await self._push_rules.of(user_id)
        known = {(kind, rule.rule_id) for kind, rule in rules.all()}
        for kind in KINDS:
            for rule in rules.own.get(kind, ()):
                copied = _renamed(rule, old, new)
                if copied is not None and (kind, copied.rule_id) not in known:
                    await self._push_rules.add(user_id, kind, copied)


def _renamed(rule: Rule, old: str, new: str) -> Rule | None:
    """The rule for the new room, if it is one about the old room: by its id, as clients make them."""
    if rule.rule_id != old:
        return None
    conditions = tuple(
        {**condition, "pattern": new}
        if condition.get("kind") == "event_match" and condition.get("pattern") == old
        else condition
        for condition in rule.conditions
    )
    return replace(rule, rule_id=new, conditions=conditions)
