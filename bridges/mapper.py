"""What a change means for its room: the one place that decides."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bridges.config import Config, Each, Message
from bridges.filters import Filter
from bridges.render import BadTemplate, Template
from bridges.sources import Key, Row, key_text
from bridges.state import Delivery, RoomRow

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """A change as it is to be told: rows that do not meet the mapping's filter are None."""

    position: str
    """Names it for ever."""
    old: Row | None
    new: Row | None
    ts: int | None = None
    quiet: bool = False
    """The room is kept right, and nobody is told: it was us."""
    existed: bool = False
    """The row was there before, even if nobody knows how: it is no insert."""


class Mapper:
    """What changes of one mapping make."""

    def __init__(self, config: Config, name: str) -> None:
        self._service = config.appservice
        self._name = name
        self._mapping = mapping = config.mapping[name]
        room = mapping.room
        self._alias, self._room_name, self._topic = Template(room.alias), Template(room.name), Template(room.topic)
        self._invite = [Template(text) for text in room.invite]
        self._url = Template(mapping.external_url)
        self._messages = [(m, Template(m.text), Template(m.html, html=True)) for m in mapping.message]
        self._each = [(e, Template(e.text), Template(e.html, html=True), Filter(e.skip_if)) for e in mapping.each]
        self._ghosts = {column: (Template(g.name), Template(g.avatar)) for column, g in mapping.ghost.items()}
        self.bot = f"@{self._service.bot}:{self._service.server_name}"

    def deliveries(self, event: Event, known: RoomRow | None) -> tuple[list[Delivery], RoomRow | None]:
        """What a change of a row makes, and how its room is from now on.

        `known` is the room of the row. A change that cannot be told makes a dead delivery.
        """
        row = event.new if event.new is not None else event.old
        if row is None:
            return [], None
        lane = self.lane(self.key(row))
        try:
            return self._deliveries(event, lane, row, known)
        except (BadTemplate, KeyError, ValueError, TypeError) as error:
            text = f"{type(error).__name__}: {error}"
            _log.warning("change_not_rendered", mapping=self._name, lane=lane, error=text)
            content = {"error": text, "old": event.old, "new": event.new}
            return [self._delivery(event, f"{self._name}:?", "failed", self.bot, content, f"failed{lane}")], None

    def _deliveries(
        self, event: Event, lane: str, row: Row, known: RoomRow | None
    ) -> tuple[list[Delivery], RoomRow | None]:
        existed = event.old is not None or event.existed
        kind = "delete" if event.new is None else "update" if existed else "insert"
        on_delete = self._mapping.on_delete
        if kind == "delete" and (on_delete == "ignore" or known is None):
            return [], None  # nobody was told of it
        made, room = self._room(event, lane, known, row) if event.new is not None else ([], known)
        if not event.quiet:
            made += self._told(event, lane, kind, row)
            made += self._elements(event, lane, row) if kind != "delete" else []
        if kind == "delete" and room is not None and on_delete in ("archive", "redact"):
            if on_delete == "redact":
                made.append(self._delivery(event, lane, "redact", self.bot, {}, "redact"))
                made.append(self._delivery(event, lane, "state:m.room.name", self.bot, {"name": ""}, "name"))
                made.append(self._delivery(event, lane, "state:m.room.topic", self.bot, {"topic": ""}, "topic"))
                room = replace(room, name="", topic="")
            made.append(self._delivery(event, lane, "archive", self.bot, {}, "archive"))
            room = replace(room, archived=True)
        return made, room

    def _room(self, event: Event, lane: str, known: RoomRow | None, row: Row) -> tuple[list[Delivery], RoomRow]:
        old = event.old
        name, topic = self._room_name.render(row, old), self._topic.render(row, old)
        if known is None:
            room = RoomRow(lane, localpart(self._alias.render(row, old)), name, topic)
            settings = self._mapping.room
            invited = [user for user in (template.render(row, old) for template in self._invite) if user]
            content = {"invite": invited, "federate": settings.federate, "name": name, "topic": topic}
            content |= {"space": settings.space, "power": settings.power}
            return [self._delivery(event, lane, "room", self.bot, content, "room")], room
        made = []
        if known.archived:
            made.append(self._delivery(event, lane, "open", self.bot, {}, "open"))
        if name != known.name:
            made.append(self._delivery(event, lane, "state:m.room.name", self.bot, {"name": name}, "name"))
        if topic != known.topic:
            made.append(self._delivery(event, lane, "state:m.room.topic", self.bot, {"topic": topic}, "topic"))
        return made, replace(known, name=name, topic=topic, archived=False)

    def _told(self, event: Event, lane: str, kind: str, row: Row) -> list[Delivery]:
        made = []
        for number, (message, text, html) in enumerate(self._messages):
            if message.on != kind or not _applies(message, row, event.old):
                continue
            content = self._content(message, text.render(row, event.old), html.render(row, event.old), row)
            sender, profile = self._sender(event, lane, message.sender, row, row)
            made += [*profile, self._delivery(event, lane, "m.room.message", sender, content, str(number))]
        return made

    def _elements(self, event: Event, lane: str, row: Row) -> list[Delivery]:
        made = []
        for number, (each, text, html, skip) in enumerate(self._each):
            before = {str(element[each.element_key]) for element in _list(event.old, each.array)}
            for element in _list(row, each.array):
                name = str(element[each.element_key])
                if name in before or (each.skip_if is not None and skip.holds(element)):
                    continue
                before.add(name)
                values = {**row, "el": element}
                content = self._content(each, text.render(values, event.old), html.render(values, event.old), row)
                sender, profile = self._sender(event, lane, each.sender, element, row)
                index = f"each{number}:{name}"
                made += [*profile, self._delivery(event, lane, "m.room.message", sender, content, index)]
        return made

    def _content(self, message: Message | Each, text: str, html: str, row: Row) -> dict[str, Any]:
        content: dict[str, Any] = {"msgtype": message.msgtype, "body": text, "m.mentions": {}}
        if message.html:
            content |= {"format": "org.matrix.custom.html", "formatted_body": html}
        if url := self._url.render(row):
            content["external_url"] = url
        return content

    def _sender(
        self, event: Event, lane: str, who: str, values: Mapping[str, Any], row: Row
    ) -> tuple[str, list[Delivery]]:
        if who == "bot":
            return self.bot, []
        column = who.removeprefix("ghost:")
        value = values[column] if column in values else row[column]
        if value is None or value == "":
            return self.bot, []
        ghost = self.ghost(value)
        if column not in self._ghosts:
            return ghost, []
        name, avatar = (template.render(row) for template in self._ghosts[column])
        content = {"name": name, "avatar": avatar}
        return ghost, [self._delivery(event, lane, "profile", ghost, content, f"profile:{column}:{name}:{avatar}")]

    def ghost(self, value: Any) -> str:
        """The user that a value makes."""
        local = f"{self._service.prefix}{self._mapping.source}_{localpart(str(value))}"
        return f"@{local}:{self._service.server_name}"

    def key(self, row: Row) -> list[Any]:
        """The key of a row."""
        return [row[column] for column in self._mapping.key]

    def lane(self, key: Key) -> str:
        """The lane of a row's room."""
        return f"{self._name}:{key_text(key)}"

    def _delivery(
        self, event: Event, lane: str, kind: str, sender: str, content: dict[str, Any], index: str
    ) -> Delivery:
        txn = transaction_id(self._service.id, lane, event.position, index, sender)
        return Delivery(txn, self._name, lane, kind, sender, content, event.ts)


def transaction_id(*parts: str) -> str:
    """A transaction id that is the same for the same, and for nothing else."""
    return base64.b32encode(hashlib.sha256(json.dumps(parts).encode()).digest()).decode().rstrip("=").lower()


def image_hash(row: Row | None) -> str | None:
    """What tells images of a row apart."""
    if row is None:
        return None
    text = json.dumps(row, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _applies(message: Message, row: Row, old: Row | None) -> bool:
    changed = message.when.changed
    return not changed or old is None or any(row[column] != old.get(column) for column in changed)


def _list(row: Row | None, column: str) -> list[dict[str, Any]]:
    value = None if row is None else row.get(column)
    return [element for element in value if isinstance(element, dict)] if isinstance(value, list) else []


def localpart(text: str) -> str:
    """Any text as a part of a user id or alias, no two alike.  spec: appendices#mapping-from-other-character-sets"""
    return re.sub(r"[^a-z0-9._/-]", lambda match: "".join(f"={byte:02x}" for byte in match[0].encode()), text)
