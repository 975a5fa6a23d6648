"""Relations between events: written with their child, read by their target.

Whether a child was redacted is asked when reading, so a redaction need not know about relations.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from homeserver.core.canonical import MAX_INTEGER
from homeserver.core.relations import relation_of
from homeserver.ports.events import StoredEvent, TimelinePage
from homeserver.ports.relations import Aggregate, Annotation, Reader, RelationQuery, RelationRepo
from homeserver.storage.dialect import (
    HIGHEST,
    LOWEST,
    Connection,
    Fragment,
    Sql,
    in_texts,
    is_storable,
    json_rows,
    json_texts,
    rows_of,
)
from homeserver.storage.repos.rows import EventReader

_MAX_NAME = 255
_DIGITS = 17  # of twice as much: a time may be as far below zero

INSERT_RELATION = Sql(
    """INSERT INTO event_relations (event_nid, room_nid, target_event_id, rel_type, type, sender, key, recency)
    VALUES (:event_nid, :room_nid, :target_event_id, :rel_type, :type, :sender, :key, :recency)"""
)
_TREE = """WITH RECURSIVE tree(event_nid, depth) AS (
        SELECT r.event_nid, 1 FROM event_relations r WHERE r.target_event_id = :target AND r.room_nid = :room_nid
        UNION
        SELECT r.event_nid, t.depth + 1 FROM tree t JOIN events p ON p.nid = t.event_nid
        JOIN event_relations r ON r.target_event_id = p.event_id AND r.room_nid = :room_nid
        WHERE t.depth < :depth)
    SELECT """
_TREE_END = """ FROM (SELECT DISTINCT event_nid FROM tree) t JOIN event_relations c ON c.event_nid = t.event_nid
    JOIN events e ON e.nid = c.event_nid """
_WANTED = """ WHERE e.redacted_by IS NULL AND e.ord > :low AND e.ord <= :high
    AND {rel_type} AND {type} ORDER BY e.ord """


def _optional(column: str, parameter: str) -> Fragment:
    condition = f"(CAST(:{parameter} AS text) IS NULL OR {column} = :{parameter})"
    return Fragment(condition, condition)


_FILTERS = {"rel_type": _optional("c.rel_type", "rel_type"), "type": _optional("c.type", "type")}
_CHILDREN_UP = Sql(_TREE + "e.nid" + _TREE_END + _WANTED + "LIMIT :count", **_FILTERS)
_CHILDREN_DOWN = Sql(_TREE + "e.nid" + _TREE_END + _WANTED + "DESC LIMIT :count", **_FILTERS)
_SEEN = """NOT ({ignored}) AND EXISTS (SELECT 1 FROM {spans} WHERE s.room_nid = r.room_nid
            AND e.ord > s.low AND e.ord <= s.high)"""
_READER = {
    "ignored": in_texts("r.sender", "ignored"),
    "spans": rows_of("spans", "s", room_nid="bigint", low="bigint", high="bigint"),
}
_AGGREGATES = Sql(
    """SELECT g.target_event_id, g.rel_type, g.amount, l.event_id, g.recency, g.participated FROM (
        SELECT r.room_nid, r.target_event_id, r.rel_type, count(*) AS amount, max(e.ord) AS latest,
            max(r.recency) AS recency,
            max(CASE WHEN r.sender = :user_id OR t.sender = :user_id THEN 1 ELSE 0 END) AS participated
        FROM event_relations r JOIN events e ON e.nid = r.event_nid AND e.redacted_by IS NULL
        JOIN events t ON t.event_id = r.target_event_id AND t.room_nid = r.room_nid
        WHERE {ids} AND (r.rel_type = 'm.thread' OR (r.rel_type = 'm.replace' AND r.sender = t.sender
            AND r.type = t.type AND t.state_key IS NULL AND t.redacted_by IS NULL
            AND NOT EXISTS (SELECT 1 FROM event_relations q WHERE q.event_nid = t.nid AND q.rel_type = 'm.replace')))
            AND """
    + _SEEN
    + """
        GROUP BY r.room_nid, r.target_event_id, r.rel_type) g
    JOIN events l ON l.room_nid = g.room_nid AND l.ord = g.latest""",
    ids=in_texts("r.target_event_id", "ids"),
    **_READER,
)
_REFERENCES = Sql(
    """SELECT r.target_event_id, e.event_id FROM event_relations r
    JOIN events e ON e.nid = r.event_nid AND e.redacted_by IS NULL
    JOIN events t ON t.event_id = r.target_event_id AND t.room_nid = r.room_nid
    WHERE {ids} AND r.rel_type = 'm.reference' AND """
    + _SEEN
    + " ORDER BY e.ord",
    ids=in_texts("r.target_event_id", "ids"),
    **_READER,
)
_THREADS = Sql(
    """SELECT r.target_event_id, max(e.ord) AS latest FROM event_relations r
    JOIN events e ON e.nid = r.event_nid AND e.redacted_by IS NULL
    JOIN events t ON t.event_id = r.target_event_id AND t.room_nid = :room_nid
    WHERE r.room_nid = :room_nid AND r.rel_type = 'm.thread' AND """
    + _SEEN
    + """
    GROUP BY r.target_event_id
    HAVING max(e.ord) <= :high
        AND (:everyone = 1 OR max(CASE WHEN r.sender = :user_id OR t.sender = :user_id THEN 1 ELSE 0 END) = 1)
    ORDER BY latest DESC LIMIT :count""",
    **_READER,
)
_ANNOTATED = Sql(
    """SELECT DISTINCT r.target_event_id, r.type, r.sender, r.key FROM {wanted}
    JOIN event_relations r ON r.target_event_id = w.target AND r.rel_type = 'm.annotation'
        AND r.type = w.type AND r.sender = w.sender AND r.key = w.key
    JOIN events e ON e.nid = r.event_nid AND e.redacted_by IS NULL""",
    wanted=rows_of("wanted", "w", target="text", type="text", sender="text", key="text"),
)


def relation_row(stored: StoredEvent) -> dict[str, Any] | None:
    """The row of an event that relates to another one; malformed relations are none."""
    relation = None if stored.event.is_state else relation_of(stored.event.content)
    if relation is None or (relation.rel_type == "m.replace" and not _replaces(stored)):
        return None
    if any(len(name) > _MAX_NAME or not is_storable(name) for name in (relation.event_id, relation.rel_type)):
        return None
    key = relation.key
    return {
        "event_nid": stored.nid,
        "room_nid": stored.room_nid,
        "target_event_id": relation.event_id,
        "rel_type": relation.rel_type,
        "type": stored.event.type,
        "sender": stored.event.sender,
        "recency": _recency(stored) if relation.rel_type == "m.replace" else None,
        "key": key if key is not None and is_storable(key) and len(key) <= _MAX_NAME else None,
    }


def _recency(stored: StoredEvent) -> str:
    """What of two replacements the later one has the greater of: the time that its sender says, then its id.

    Of fixed width in front of the id, and never below zero, so that texts compare as the numbers do.
    spec: client-server-api#server-side-aggregation-of-mreplace-relationships
    """
    return f"{stored.event.origin_server_ts + MAX_INTEGER:0{_DIGITS}d}{stored.event.event_id}"


def _id_in(recency: str) -> str:
    return recency[_DIGITS:]


def _replaces(stored: StoredEvent) -> bool:
    """Whether the event says what it replaces the other one by; in encrypted ones nobody here can see it.

    spec: client-server-api#validity-of-replacement-events
    """
    return stored.event.type == "m.room.encrypted" or isinstance(stored.event.content.get("m.new_content"), dict)


def _of_reader(reader: Reader) -> dict[str, str]:
    spans = [{"room_nid": span.room_nid, "low": span.low, "high": span.high} for span in reader.spans]
    return {"ignored": json_texts(reader.ignored), "spans": json_rows(spans)}


class SqlRelationRepo(RelationRepo):
    """Implements `ports.relations.RelationRepo`."""

    def __init__(self, connection: Connection, reader: EventReader) -> None:
        self._connection = connection
        self._reader = reader

    async def children(self, room_nid: int, query: RelationQuery) -> TimelinePage:
        if not all(is_storable(name) for name in (query.target, query.rel_type or "", query.type or "")):
            return TimelinePage()
        low, high = (query.stop, query.start) if query.backwards else (query.start, query.stop)
        rows = await (_CHILDREN_DOWN if query.backwards else _CHILDREN_UP).rows(
            self._connection,
            room_nid=room_nid,
            target=query.target,
            depth=query.depth,
            rel_type=query.rel_type,
            type=query.type,
            low=LOWEST if low is None else low,
            high=HIGHEST if high is None else high,
            count=query.limit + 1,
        )
        events = await self._reader.at([row[0] for row in rows[: query.limit]])
        if len(rows) <= query.limit or not events:
            return TimelinePage(events)
        last = events[-1].order or 0
        return TimelinePage(events, end=last - 1 if query.backwards else last)

    async def aggregates(self, targets: Collection[str], reader: Reader) -> list[Aggregate]:
        rows = await _AGGREGATES.rows(
            self._connection, ids=json_texts(targets), user_id=reader.user_id, **_of_reader(reader)
        )
        return [
            Aggregate(target, rel_type, amount, latest if recency is None else _id_in(recency), bool(participated))
            for target, rel_type, amount, latest, recency, participated in rows
        ]

    async def references(self, targets: Collection[str], reader: Reader) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        rows = await _REFERENCES.rows(self._connection, ids=json_texts(targets), **_of_reader(reader))
        for target, event_id in rows:
            found.setdefault(target, []).append(event_id)
        return found

    async def thread_roots(
        self, room_nid: int, reader: Reader, *, participated: bool, start: int | None, limit: int
    ) -> list[tuple[str, int]]:
        rows = await _THREADS.rows(
            self._connection,
            room_nid=room_nid,
            user_id=reader.user_id,
            **_of_reader(reader),
            everyone=0 if participated else 1,
            high=HIGHEST if start is None else start,
            count=limit,
        )
        return [(row[0], row[1]) for row in rows]

    async def annotated(self, annotations: Collection[Annotation]) -> set[Annotation]:
        wanted = [
            {"target": one.target, "type": one.type, "sender": one.sender, "key": one.key}
            for one in annotations
            if all(map(is_storable, (one.target, one.type, one.key)))
        ]
        return {Annotation(*row) for row in await _ANNOTATED.rows(self._connection, wanted=json_rows(wanted))}
