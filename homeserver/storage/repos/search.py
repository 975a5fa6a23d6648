"""The index of words: a row for each event that can be searched, written with it and gone with its redaction.

A row's words are the text's, one for the room and one for the kind of text. Those two begin with a character of the
private use area, which no word of a text can hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from homeserver.core.event import Event
from homeserver.core.searching import TYPES, Kind, searchable, words_of
from homeserver.ports.search import IndexQuery, SearchRepo
from homeserver.storage.dialect import Connection, Fragment, Sql, SqlByValues, in_ints, json_ints
from homeserver.storage.repos.rows import EventReader

_ROOM = "\ue000"
_KIND = {Kind.BODY: "\ue001b", Kind.NAME: "\ue001n", Kind.TOPIC: "\ue001t"}
_MAX_ROOMS_IN_INDEX = 64
"""Of more rooms, each match's own is looked up: the index would have to merge as many lists."""

INSERT_WORDS = Sql(
    "INSERT INTO event_search {row}",
    row=Fragment(
        "(rowid, words) VALUES (:nid, :words)",
        "(nid, words) VALUES (:nid, array_to_tsvector(string_to_array(:words, ' ')))",
    ),
)
DROP_WORDS = Sql("DELETE FROM event_search WHERE {nid} = :nid", nid=Fragment("rowid", "nid"))
_MATCH = {
    "nid": Fragment("s.rowid", "s.nid"),
    "matches": Fragment("event_search MATCH :sqlite", "s.words @@ CAST(:postgres AS tsquery)"),
}
# Of a frequent word the newest events are looked through, of a rare one all its matches are taken and sorted.
_FIND = SqlByValues(
    "SELECT {nid} FROM event_search s WHERE {matches} AND {nid} < :before ORDER BY {nid} DESC LIMIT :limit",
    **_MATCH,
)
_FIND_IN_ROOMS = SqlByValues(
    """SELECT {nid} FROM event_search s {cross} JOIN events e ON e.nid = {nid} WHERE
        {matches} AND {rooms} AND {nid} < :before ORDER BY {nid} DESC LIMIT :limit""",
    # SQLite keeps the order of a CROSS JOIN: from the matches to their events.
    cross=Fragment("CROSS", ""),
    rooms=in_ints("e.room_nid", "rooms"),
    **_MATCH,
)
_NAMES = ", ".join(f"'{name}'" for name in TYPES)
_SEARCHABLE = Sql(f"SELECT nid FROM events WHERE nid > :after AND type IN ({_NAMES}) ORDER BY nid LIMIT :limit")
_SEARCHABLE_COUNT = Sql(f"SELECT count(*) FROM events WHERE type IN ({_NAMES})")


def words_row(nid: int, room_nid: int, event: Event) -> dict[str, Any] | None:
    """The row of an event; None if nothing in it can be searched."""
    found = searchable(event)
    words = [] if found is None else words_of(found[1])
    if found is None or not words:
        return None
    return {"nid": nid, "words": " ".join([f"{_ROOM}{room_nid}", _KIND[found[0]], *words])}


class SqlSearchRepo(SearchRepo):
    """Implements `ports.search.SearchRepo`."""

    def __init__(self, connection: Connection, reader: EventReader) -> None:
        self._connection = connection
        self._reader = reader

    async def find(self, query: IndexQuery, before: int, limit: int) -> list[int]:
        in_index = len(query.room_nids) <= _MAX_ROOMS_IN_INDEX
        rooms = [f"{_ROOM}{room_nid}" for room_nid in query.room_nids] if in_index else []
        groups = [[(word, term.is_prefix)] for term in query.terms for word in term.words]
        groups.extend([(word, False) for word in words] for words in (rooms, _kinds(query.kinds)) if words)
        parameters = {
            "before": before,
            "limit": limit,
            "sqlite": " AND ".join(_either(groups, " OR ", '"{}"', '"{}" *')),
            "postgres": " & ".join(_either(groups, " | ", "'{}'", "'{}':*")),
        }
        if in_index:
            rows = await _FIND.rows(self._connection, **parameters)
        else:
            rows = await _FIND_IN_ROOMS.rows(self._connection, rooms=json_ints(query.room_nids), **parameters)
        return [row[0] for row in rows]

    async def searchable(self) -> int:
        row = await _SEARCHABLE_COUNT.first(self._connection)
        return int(row[0])

    async def following(self, after: int, limit: int) -> Sequence[int]:
        return [row[0] for row in await _SEARCHABLE.rows(self._connection, after=after, limit=limit)]

    async def put(self, nids: Collection[int]) -> None:
        await DROP_WORDS.run_many(self._connection, [{"nid": nid} for nid in nids])
        found = await self._reader.at(list(nids))
        rows = [words_row(stored.nid, stored.room_nid, stored.event) for stored in found if stored.order is not None]
        await INSERT_WORDS.run_many(self._connection, [row for row in rows if row is not None])


def _kinds(kinds: Collection[Kind]) -> list[str]:
    return [] if len(kinds) == len(Kind) else [_KIND[kind] for kind in kinds]


def _either(groups: Iterable[list[tuple[str, bool]]], between: str, exact: str, prefix: str) -> Iterable[str]:
    """The words hold letters, digits and marks only: nothing in them is syntax."""
    for group in groups:
        yield "(" + between.join((prefix if is_prefix else exact).format(word) for word, is_prefix in group) + ")"
