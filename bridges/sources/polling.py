"""Capture by asking for what changed lately, where the database offers nothing better.

A row that commits late has an older time than rows that were seen before it: so every pass begins again `overlap`
before the newest time that was seen, and what did not change since it was seen is dropped by the hash of its image
(`bridges.capture`). With `horizon`, PostgreSQL tells how old an open transaction can be, and a pass ends there.
"""

from __future__ import annotations

import json
from typing import Any

from bridges.config import seconds
from bridges.render import parse_image, parse_key
from bridges.sources import Batch, Change, SourceUnavailable
from bridges.sources.reading import poll_statement
from bridges.sources.statements import kind_of
from bridges.sources.tables import Tables

_HORIZON = """
SELECT h::text, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    (CASE WHEN h < $1::text::{0} THEN h - $2::text::interval ELSE $1::text::{0} END)::text
FROM (SELECT least(
    clock_timestamp(),
    (SELECT min(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()),
    (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database())
)::{0} AS h) AS horizon
"""
"""A horizon that lies before the last one shows that the clock was set back: what was written since is read again."""


class PollFeed:
    """Passes over what changed lately. A position is how far a pass is, and the newest time of the last."""

    def __init__(self, source: Tables, name: str) -> None:
        self._source, self._name = source, name
        self._mapping = source.mapping(name)
        self._overlap = seconds(self._mapping.capture.overlap)
        self._complete = False

    async def _type(self) -> str:
        type_name = (await self._source.types(self._mapping.table)).get(self._mapping.capture.cursor, "")
        if kind_of(type_name) != "time":
            raise SourceUnavailable(
                f"the cursor {self._mapping.capture.cursor} is no time but {type_name or 'missing'}"
            )
        return type_name

    async def open(self, position: str | None) -> str:
        """Where polling begins: at the time of the database. Raises SourceUnavailable."""
        return position or json.dumps({"newest": await self._source.now(await self._type())})

    async def read(self, position: str, limit: int) -> Batch:
        """One page of a pass. Raises SourceUnavailable."""
        place = json.loads(position)
        type_name = await self._type()
        if "after" not in place:
            # Asked before rows are read: what is written after it makes the next question answer otherwise.
            if await self._source.quiet(self._name) and self._complete:
                return Batch([], position)
            place |= await self._begin(place["newest"], type_name)
        self._complete = False
        types = await self._source.types(self._mapping.table, *self._mapping.columns)
        statement, values = poll_statement(self._source.dialect, self._mapping, types, place, limit)
        rows = await self._source.fetch_all(statement, *values)
        changes, last = [], None
        for cursor, key_text, image, ts in rows:
            key = parse_key(key_text)
            last = [cursor, *key]
            changes.append(Change("", "seen", key, parse_image(image), ts=ts))
        if len(rows) == limit:
            return Batch(changes, json.dumps({**place, "after": last}), True)
        self._complete = place.get("before") is None
        newest = place.get("before") or (last[0] if last else place["newest"])
        return Batch(changes, json.dumps({"newest": newest}))

    async def _begin(self, newest: str, type_name: str) -> dict[str, Any]:
        if self._mapping.capture.mode == "horizon":
            # In a statement of its own, before the rows are read: what is not yet visible to it is not passed over.
            statement = _HORIZON.format(type_name)
            asked = (newest, f"{self._overlap} seconds")
            before, may_see, since = (await self._source.fetch_all(statement, *asked))[0]
            if not may_see:
                raise SourceUnavailable("horizon needs the role pg_read_all_stats: without it, transactions are hidden")
            return {"since": since, "before": before}
        if self._source.dialect.postgres:
            statement = (
                f"SELECT (least($1::text::{type_name}, clock_timestamp()::{type_name}) - $2::text::interval)::text"
            )
            values: tuple[Any, ...] = (newest, f"{self._overlap} seconds")
        else:
            statement = "SELECT CAST(least(CAST(%s AS DATETIME(6)), now(6)) - INTERVAL %s SECOND AS CHAR)"
            values = (newest, self._overlap)
        return {"since": (await self._source.fetch_all(statement, *values))[0][0]}

    async def acknowledge(self, batch: Batch) -> None:
        """There is nobody to be told."""
