"""What people in a room write: commands, questions, messages and redactions, as bound statements of the configuration.

Each event is applied once, whatever is killed when: the database remembers its id in the same transaction
(`bridge_applied`), or a comparison cannot succeed a second time. Answers have transaction ids made of the event's.
"""

from __future__ import annotations

import datetime
import html
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridges.config import Config, Query, TableMapping, Update
from bridges.faults import reach
from bridges.mapper import image_hash, transaction_id
from bridges.matrix import Homeserver, MatrixFailure, part
from bridges.render import BadTemplate, Template
from bridges.sources import Refused, Row, Source, Write, Written, key_text
from bridges.state import Delivery, RoomRow, State

_NAMESPACE = uuid.UUID("5b1d8f0e-6c0c-5a1e-9d6a-3f0f5d0c7a11")
_LONGEST_BODY = 32 * 1024
ADMIN = "admin"
_CONFLICT = {
    "conflict": "The row is not as it has to be for that",
    "gone": "The row is not there any more",
}

Handled = tuple[str, list[Delivery]]


class No(Exception):
    """A reason that the sender is told."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An event in a room of ours."""

    event: Mapping[str, Any]
    sender: str
    room: RoomRow
    mapping_name: str
    mapping: TableMapping | None
    """None in the admin room."""

    @property
    def event_id(self) -> str:
        """Its id."""
        return str(self.event["event_id"])

    @property
    def key(self) -> list[Any]:
        """The key of the room's row."""
        key: list[Any] = json.loads(self.room.lane.partition(":")[2])
        return key


class Writeback:
    """Decides what an event does, does it, and says what is to be answered."""

    def __init__(self, config: Config, state: State, homeserver: Homeserver, sources: Mapping[str, Source]) -> None:
        self._config, self._state, self._homeserver, self._sources = config, state, homeserver, sources
        self._service = config.appservice
        self._bot = f"@{self._service.bot}:{self._service.server_name}"

    async def handle(self, event: Mapping[str, Any], sender: str) -> Handled:
        """What became of it, for metrics, and the answers. Raises SourceUnavailable, TryAgain: it is handled again."""
        room = self._state.room_by_id(str(event["room_id"]))
        if room is None or "state_key" in event:
            return "ignored", []
        name = room.lane.partition(":")[0]
        asked = Asked(event, sender, room, name, self._config.mapping.get(name))
        if asked.mapping is None and name != ADMIN:
            return "ignored", []
        try:
            return await self._decide(asked)
        except No as reason:
            return "refused", [self._notice(asked, str(reason))]
        except Refused as error:
            return "refused", [self._notice(asked, f"The database refuses: {error}")]
        except BadTemplate as error:
            return "refused", [self._notice(asked, f"That cannot be written: {error}")]

    async def _decide(self, asked: Asked) -> Handled:
        kind, content = asked.event.get("type"), asked.event.get("content") or {}
        if kind == "m.room.encrypted":
            raise No("This room is encrypted: the bridge cannot read it")
        if kind == "m.room.redaction":
            return await self._redaction(asked)
        if kind != "m.room.message" or not isinstance(content.get("body"), str):
            return "ignored", []
        relation = content.get("m.relates_to")
        if content.get("msgtype") == "m.notice" or (
            isinstance(relation, dict) and relation.get("rel_type") == "m.replace"
        ):
            return "ignored", []  # of other bots, and edits
        body = content["body"]
        if body.startswith("!"):
            return await self._command(asked, body[1:].split())
        return await self._message(asked, body[:_LONGEST_BODY])

    # ---- commands and questions ----

    async def _command(self, asked: Asked, words: Sequence[str]) -> Handled:
        name, arguments = (words[0].lower(), list(words[1:])) if words else ("help", [])
        mapping = asked.mapping
        if mapping is not None and name in mapping.command:
            change = mapping.command[name].change
            await self._permit(asked, change.power_level, change.users)
            written = await self._update(asked, mapping, change, " ".join(arguments))
            return self._answer(asked, written)
        query = self._config.query.get(name)
        if query is not None and (mapping is None or asked.mapping_name in query.mappings):
            await self._permit(asked, query.power_level, ())
            return "answered", [await self._query(asked, name, query, arguments)]
        if name == "help":
            return "answered", [self._notice(asked, self._help(asked))]
        raise No(f"There is no command !{name[:40]}; !help lists them")

    def _help(self, asked: Asked) -> str:
        lines = []
        if asked.mapping is not None:
            lines += [f"!{name} {command.help}".rstrip() for name, command in asked.mapping.command.items()]
        for name, query in self._config.query.items():
            if asked.mapping is None or asked.mapping_name in query.mappings:
                lines.append(
                    " ".join(["!" + name, *(f"<{argument}>" for argument in query.arguments), query.help]).rstrip()
                )
        return "\n".join(lines) or "There are no commands here."

    async def _update(self, asked: Asked, mapping: TableMapping, update: Update, args: str) -> Written:
        values = self._render(asked, update.set, args)
        write = Write(asked.event_id, "update", mapping.relation, asked.key, values, update.require)
        return await self._write(asked, update.writer or mapping.source, write)

    async def _query(self, asked: Asked, name: str, query: Query, arguments: list[str]) -> Delivery:
        row = self._row(asked) or {}
        values: dict[str, str] = {}
        for argument in query.arguments:
            if arguments:
                values[argument] = arguments.pop(0)[:1000]
            elif argument in row:
                values[argument] = str(row[argument])
            else:
                raise No(f"!{name} needs a value for {argument}")
        columns, rows = await self._sources[query.source].query(name, values)
        lines = ["\t".join(columns), *("\t".join(row) for row in rows)]
        text = "\n".join(lines)[:_LONGEST_BODY] if rows else "Nothing was found."
        return self._notice(asked, text, _table(columns, rows) if rows else "")

    # ---- messages and redactions ----

    async def _message(self, asked: Asked, body: str) -> Handled:
        mapping = asked.mapping
        if mapping is None or (write := mapping.write.message) is None:
            return "ignored", []
        await self._permit(asked, write.power_level, write.users)
        values = self._render(asked, write.value or write.values or write.set, "", body)
        source = write.writer or mapping.source
        if write.push:
            values["mx_event_id"] = asked.event_id
            statement = Write(
                asked.event_id, "push", mapping.relation, asked.key, values, array=write.push, bump=write.bump
            )
        elif write.insert:
            statement = Write(asked.event_id, "insert", write.insert, asked.key, values)
        else:
            statement = Write(asked.event_id, "update", mapping.relation, asked.key, values, bump=write.bump)
        return self._answer(asked, await self._write(asked, source, statement))

    async def _redaction(self, asked: Asked) -> Handled:
        mapping, event = asked.mapping, asked.event
        target = event.get("redacts") or (event.get("content") or {}).get("redacts")
        if mapping is None or (write := mapping.write.redaction) is None or not isinstance(target, str):
            return "ignored", []
        values = self._render(asked, write.mark.set, "")
        statement = Write(
            asked.event_id, "mark", mapping.relation, asked.key, values, array=write.mark.array, target=target
        )
        await self._write(asked, write.writer or mapping.source, statement)
        return "applied", []

    # ---- parts ----

    async def _permit(self, asked: Asked, power_level: int, users: Sequence[str]) -> None:
        if users and asked.sender not in users:
            raise No("You may not do that")
        if power_level <= 0:
            return
        path = f"/rooms/{part(str(asked.room.room_id))}/state/m.room.power_levels/"
        try:
            levels = await self._homeserver.call("GET", path)
        except MatrixFailure as failure:
            raise No(f"The power levels of this room cannot be read: {failure}") from failure
        have = (levels.get("users") or {}).get(asked.sender, levels.get("users_default", 0))
        if not isinstance(have, int) or have < power_level:
            raise No(f"That needs a power level of {power_level}")

    def _row(self, asked: Asked) -> Row | None:
        known = self._state.row(asked.mapping_name, key_text(asked.key)) if asked.mapping is not None else None
        return None if known is None else known.image

    def _render(self, asked: Asked, values: Mapping[str, Any], args: str, body: str = "") -> dict[str, Any]:
        """The values of a statement. Raises No, BadTemplate."""
        row = self._row(asked) or {}
        context = {
            **row,
            "sender": asked.sender,
            "body": body,
            "args": args,
            "event_id": asked.event_id,
            "event_uuid": str(uuid.uuid5(_NAMESPACE, asked.event_id)),
            "now": _time(asked.event.get("origin_server_ts")),
        }
        rendered: dict[str, Any] = {}
        for column, value in values.items():
            if not isinstance(value, str):
                rendered[column] = value
                continue
            template = Template(value)
            if "db_user" in template.names:
                if (user := self._state.linked(asked.sender)) is None:
                    raise No("Your account does not belong to a user of the database")
                context["db_user"] = user
            rendered[column] = template.render(context)
        return rendered

    async def _write(self, asked: Asked, source: str, write: Write) -> Written:
        name, key = asked.mapping_name, key_text(asked.key)

        def intent(row: Row | None) -> None:
            # Before the commit: whoever reads the change first knows then that it is ours.
            mapping = self._config.mapping[name]
            hash_ = image_hash(row if mapping.predicate.holds(row) else None)
            known = self._state.row(name, key)
            if known is None or known.hash != hash_:
                self._state.expect_echo(name, key, hash_, asked.event_id)

        try:
            written = await self._sources[source].write(name, write, intent)
        except Refused:
            self._state.forget_echo(name, asked.event_id)
            raise
        reach("written")
        return written

    def _answer(self, asked: Asked, written: Written) -> Handled:
        if written.verdict in ("applied", "already"):
            content = {
                "m.relates_to": {"rel_type": "m.annotation", "event_id": asked.event_id, "key": "✅"},
            }
            return "applied", [self._delivery(asked, "m.reaction", content)]
        raise No(_CONFLICT[written.verdict])

    def _notice(self, asked: Asked, text: str, formatted: str = "") -> Delivery:
        """spec: client-server-api#threading"""
        relation = (asked.event.get("content") or {}).get("m.relates_to")
        inside = isinstance(relation, dict) and relation.get("rel_type") == "m.thread"
        root = relation["event_id"] if isinstance(relation, dict) and inside else asked.event_id
        content: dict[str, Any] = {
            "msgtype": "m.notice",
            "body": text,
            "m.mentions": {},
            "m.relates_to": {
                "rel_type": "m.thread",
                "event_id": root,
                "is_falling_back": True,
                "m.in_reply_to": {"event_id": asked.event_id},
            },
        }
        if formatted:
            content |= {"format": "org.matrix.custom.html", "formatted_body": formatted}
        return self._delivery(asked, "m.room.message", content)

    def _delivery(self, asked: Asked, kind: str, content: dict[str, Any]) -> Delivery:
        txn = transaction_id(self._service.id, asked.event_id, "answer")
        return Delivery(txn, asked.mapping_name, asked.room.lane, kind, self._bot, content)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"[:_LONGEST_BODY]


def _time(ts: Any) -> str:
    moment = ts / 1000 if isinstance(ts, int) and 0 < ts < 4102444800000 else time.time()
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
