"""Redactions that take effect: the content goes from every place where the store holds it.

That is the event itself and, for a state event, `prev_content` of the events that replaced it.
spec: client-server-api#redactions
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.core.canonical import encode_lenient
from homeserver.core.event import Event
from homeserver.core.redact import redact
from homeserver.ports.events import NewEvent, StoredEvent
from homeserver.storage.dialect import Connection, Sql, in_texts, json_texts
from homeserver.storage.repos.plan import AppendPlan
from homeserver.storage.repos.rows import client_form, column_json, column_unsigned, opened
from homeserver.storage.repos.search import DROP_WORDS

_TARGETS = Sql(
    """SELECT e.event_id, e.nid, e.room_nid, e.json, s.nid, s.unsigned, s.replaces
    FROM events e LEFT JOIN events s ON s.room_nid = e.room_nid AND s.type = e.type AND s.state_key = e.state_key
        AND s.nid <> e.nid AND s.unsigned IS NOT NULL
    WHERE {ids}""",
    ids=in_texts("e.event_id", "ids"),
)
_REDACT = Sql(
    """UPDATE events SET json = :json, unsigned = NULL, redacted_by = :redacted_by
    WHERE nid = :nid AND redacted_by IS NULL"""
)
_SET_UNSIGNED = Sql("UPDATE events SET unsigned = :unsigned WHERE nid = :nid")


@dataclass(slots=True)
class _Target:
    event_id: str
    nid: int
    room_nid: int
    json: bytes
    successors: dict[int, dict[str, Any]] = field(default_factory=dict)  # row id → its unsigned, if it replaced this


class Redactions:
    """The redactions of one transaction: `read` before positions are known, `write` after the events are in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._targets: dict[str, _Target] = {}

    async def read(self, plans: Iterable[AppendPlan]) -> None:
        """Look the stored targets up: one statement, none without redactions."""
        wanted = {
            event_id for plan in plans for item in plan.append.events if (event_id := _target_of(item)) is not None
        }
        if not wanted:
            return
        sealing = self._connection.sealing
        for event_id, nid, room_nid, json, successor, unsigned, replaces in await _TARGETS.rows(
            self._connection, ids=json_texts(wanted)
        ):
            target = self._targets.setdefault(event_id, _Target(event_id, nid, room_nid, opened(json, sealing)))
            if replaces is not None and orjson.loads(replaces)[0] == event_id:
                target.successors[successor] = orjson.loads(sealing.open(unsigned, "unsigned"))

    async def write(self, plans: Iterable[AppendPlan]) -> None:
        """Prune what was stored before this transaction."""
        redacted: list[dict[str, Any]] = []
        stripped: list[dict[str, Any]] = []
        sealing = self._connection.sealing
        for plan in plans:
            for item in plan.append.events:
                target = self._targets.get(_target_of(item) or "")
                # An event of another room is none of this redaction's business, whatever its id says.
                if target is None or target.room_nid != plan.room_nid:
                    continue
                pruned = redact(orjson.loads(target.json), plan.append.head.room_version)
                json = column_json(pruned["type"], encode_lenient(pruned), sealing)
                redacted.append({"nid": target.nid, "json": json, "redacted_by": item.event.event_id})
                stripped.extend(
                    {"nid": nid, "unsigned": column_unsigned(left, sealing)}
                    for nid, unsigned in target.successors.items()
                    if (left := _without(unsigned)) is not unsigned
                )
            redacted.extend(
                {
                    "nid": item.known_as,
                    "json": column_json(*_pruned(item.event), sealing),
                    "redacted_by": item.redacted_by.event.event_id,
                }
                for item in plan.append.events
                if item.redacted_by is not None and item.known_as is not None
            )
        await _REDACT.run_many(self._connection, redacted)
        await DROP_WORDS.run_many(self._connection, [{"nid": row["nid"]} for row in redacted])
        await _SET_UNSIGNED.run_many(self._connection, stripped)


def prune_new(plan: AppendPlan, events: list[StoredEvent]) -> None:
    """Apply the append's redactions to its own events, before they are stored for the first time."""
    new = {item.event.event_id: item for item in events}
    for item in plan.append.events:
        if item.redacted_by is not None:
            _prune(new[item.event.event_id], item.redacted_by.event, item.redacted_by.order)
        target_id = _target_of(item)
        if target_id is None:
            continue
        for event in events:
            if event.replaces is not None and event.replaces.event_id == target_id:
                event.unsigned = _without(event.unsigned)
        if (target := new.get(target_id)) is not None and target.redacted_by is None:
            _prune(target, item.event, new[item.event.event_id].order)


def _target_of(item: NewEvent) -> str | None:
    return item.event.redacts if item.redacts_allowed else None


def _prune(target: StoredEvent, redaction: Event, order: int | None) -> None:
    event = target.event
    pruned = redact(event.pdu, event.version)
    target.event = Event(pruned, encode_lenient(pruned), event.version, event.event_id, event.room_id)
    target.unsigned = None
    target.redacted_by = redaction.event_id
    target.redaction_json = client_form(redaction)
    target.redaction_order = order


def _pruned(event: Event) -> tuple[str, bytes]:
    """Type and bytes of what is left of an event."""
    return event.type, encode_lenient(redact(event.pdu, event.version))


def _without(unsigned: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """`unsigned` itself, or a copy without the content it has from the event before."""
    if unsigned is None or "prev_content" not in unsigned:
        return unsigned
    return {key: value for key, value in unsigned.items() if key != "prev_content"}
