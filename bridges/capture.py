"""From committed changes to deliveries: the one place that decides what a change means for its room.

The order is fixed: read, store here in one transaction, acknowledge to the source. Whatever ends the process between
two of these steps, the change is read again or acknowledged again, and is not stored twice.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from bridges.config import Config, Message, seconds
from bridges.render import BadTemplate, Template, parse_image
from bridges.sources.postgres import Change, PostgresOutbox, SourceUnavailable
from bridges.state import Delivery, RoomRow, State

_LONGEST_WAIT_S = 30.0
_log = structlog.get_logger(__name__)

Row = Mapping[str, Any]


class Mapper:
    """What changes of one mapping make."""

    def __init__(self, config: Config, name: str) -> None:
        self._config = config
        self._service = config.appservice
        self._name = name
        self._mapping = config.mapping[name]
        room = self._mapping.room
        self._predicate = self._mapping.predicate
        self._alias, self._room_name, self._topic = Template(room.alias), Template(room.name), Template(room.topic)
        self._messages = [(m, Template(m.text), Template(m.html, html=True)) for m in self._mapping.message]
        self._bot = f"@{self._service.bot}:{self._service.server_name}"

    def deliveries(
        self, change: Change, room_of: Callable[[str], RoomRow | None]
    ) -> tuple[list[Delivery], RoomRow | None]:
        """What a change makes, and how its room is rendered from now on. A change that fails makes a dead delivery."""
        try:
            return self._deliveries(change, room_of)
        except (BadTemplate, KeyError, ValueError) as error:
            text = f"{type(error).__name__}: {error}"
            _log.warning("change_not_rendered", mapping=self._name, seq=change.seq, error=text)
            content = {"error": text, "old": change.old, "new": change.new}
            return [self._delivery(change, f"{self._name}:?", "failed", self._bot, content, "failed")], None

    def _deliveries(
        self, change: Change, room_of: Callable[[str], RoomRow | None]
    ) -> tuple[list[Delivery], RoomRow | None]:
        old, new = parse_image(change.old), parse_image(change.new)
        if old is not None and new is not None and self._lane(old) != self._lane(new):
            # The row has become another one, in another room.
            gone, room = self._deliveries(replace(change, new=None), room_of)
            come, other = self._deliveries(replace(change, old=None), room_of)
            return [*gone, *come], other or room
        before = old if self._predicate.holds(old) else None
        after = new if self._predicate.holds(new) else None
        row = after if after is not None else before
        if row is None:
            return [], None
        kind = "insert" if before is None else "delete" if after is None else "update"
        lane = self._lane(row)
        known = room_of(lane)
        if kind == "delete" and self._mapping.on_delete == "ignore":
            return [], None
        made, room = self._room(change, lane, known, row, before) if after is not None else ([], known)
        made += self._told(change, lane, kind, row, before)
        if kind == "delete" and self._mapping.on_delete == "archive" and room is not None:
            made.append(self._delivery(change, lane, "archive", self._bot, {}, "archive"))
            room = replace(room, archived=True)
        return made, room

    def _room(
        self, change: Change, lane: str, known: RoomRow | None, row: Row, old: Row | None
    ) -> tuple[list[Delivery], RoomRow]:
        name, topic = self._room_name.render(row, old), self._topic.render(row, old)
        if known is None:
            room = RoomRow(lane, _localpart(self._alias.render(row, old)), name, topic)
            settings = self._mapping.room
            content = {"invite": list(settings.invite), "federate": settings.federate, "name": name, "topic": topic}
            return [self._delivery(change, lane, "room", self._bot, content, "room")], room
        made = []
        if known.archived:
            made.append(self._delivery(change, lane, "open", self._bot, {}, "open"))
        if name != known.name:
            made.append(self._delivery(change, lane, "state:m.room.name", self._bot, {"name": name}, "name"))
        if topic != known.topic:
            made.append(self._delivery(change, lane, "state:m.room.topic", self._bot, {"topic": topic}, "topic"))
        return made, replace(known, name=name, topic=topic, archived=False)

    def _told(self, change: Change, lane: str, kind: str, row: Row, old: Row | None) -> list[Delivery]:
        made = []
        for number, (message, text, html) in enumerate(self._messages):
            if message.on != kind or not _applies(message, row, old):
                continue
            content: dict[str, Any] = {"msgtype": message.msgtype, "body": text.render(row, old), "m.mentions": {}}
            if message.html:
                content |= {"format": "org.matrix.custom.html", "formatted_body": html.render(row, old)}
            sender = self._sender(message, row)
            made.append(self._delivery(change, lane, "m.room.message", sender, content, str(number)))
        return made

    def _sender(self, message: Message, row: Row) -> str:
        if message.sender == "bot":
            return self._bot
        value = row[message.sender.removeprefix("ghost:")]
        if value is None:
            return self._bot
        local = f"{self._service.prefix}{self._mapping.source}_{_localpart(str(value))}"
        return f"@{local}:{self._service.server_name}"

    def _lane(self, row: Row) -> str:
        return f"{self._name}:{json.dumps([row[column] for column in self._mapping.key], separators=(',', ':'))}"

    def _delivery(
        self, change: Change, lane: str, kind: str, sender: str, content: dict[str, Any], index: str
    ) -> Delivery:
        name = json.dumps([self._service.id, lane, change.seq, change.at, index, sender])
        txn = base64.b32encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=").lower()
        return Delivery(txn, self._name, lane, kind, sender, content, change.ts)


def _applies(message: Message, row: Row, old: Row | None) -> bool:
    changed = message.when.changed
    return not changed or old is None or any(row[column] != old[column] for column in changed)


def _localpart(text: str) -> str:
    """Any text as a part of a user id or alias, no two alike.  spec: appendices#mapping-from-other-character-sets"""
    return re.sub(r"[^a-z0-9._/-]", lambda match: "".join(f"={byte:02x}" for byte in match[0].encode()), text)


class Capture:
    """Follows the outbox of one mapping. `run` ends when it is cancelled, and at nothing else."""

    def __init__(self, config: Config, name: str, state: State, stored: Callable[[], None]) -> None:
        """`stored` is called when there is something to deliver. Raises ConfigError."""
        self._name = name
        self._state = state
        self._stored = stored
        self._mapper = Mapper(config, name)
        self._outbox = PostgresOutbox(config, name)
        capture = config.mapping[name].capture
        self._poll, self._batch, self._most = seconds(capture.poll), capture.batch, config.appservice.max_queue

    async def run(self) -> None:
        """Until cancelled."""
        wait = self._poll
        try:
            while True:
                try:
                    more = await self.step()
                    wait = self._poll
                except SourceUnavailable as error:
                    more, wait = False, min(wait * 2, _LONGEST_WAIT_S)
                    _log.warning("source_unavailable", mapping=self._name, error=str(error), again_in=wait)
                if not more:
                    await asyncio.sleep(wait)
        finally:
            await self._outbox.close()

    async def step(self) -> bool:
        """Read, store, acknowledge; whether there may be more at once. Raises SourceUnavailable.

        With too much waiting for the homeserver nothing is read: the source keeps it.
        """
        if left := self._state.taken(self._name):  # stored before a crash, or before the source went away
            await self._acknowledge(left)
        if self._state.waiting() >= self._most:
            return False
        changes = await self._outbox.read(self._batch)
        if not changes:
            return False
        self._store(changes)
        self._stored()
        await self._acknowledge([change.seq for change in changes])
        return len(changes) == self._batch

    def _store(self, changes: Sequence[Change]) -> None:
        rooms: dict[str, RoomRow] = {}
        deliveries: list[Delivery] = []
        for change in changes:
            made, room = self._mapper.deliveries(change, lambda lane: rooms.get(lane) or self._state.room(lane))
            deliveries += made
            if room is not None:
                rooms[room.lane] = room
        self._state.take(self._name, [change.seq for change in changes], deliveries, rooms.values())

    async def _acknowledge(self, seqs: Sequence[int] | set[int]) -> None:
        await self._outbox.acknowledge(list(seqs))
        self._state.forget_taken(self._name, seqs)
