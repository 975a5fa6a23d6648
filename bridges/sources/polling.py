"""Capture by asking for what changed lately, where the database offers nothing better.

A row that commits late has an older time than rows that were seen before it: so every pass begins again `overlap`
before the newest time that was seen, and what did not change since it was seen is dropped by the hash of its image
(`bridges.capture`). With `horizon`, PostgreSQL tells how old an open transaction can be, and a pass ends there.
"""

from __future__ import annotations

import json
import time
from typing import Any

from bridges.config import seconds
from bridges.render import parse_image, parse_key
from bridges.sources import Batch, Change, SourceUnavailable
from bridges.sources.clocks import DatabaseClock
from bridges.sources.reading import poll_statement
from bridges.sources.statements import kind_of
from bridges.sources.tables import Tables

_STEP_S = 5
"""How far back is read again with `horizon`: for clocks that are set back by less than can be noticed."""
# The clock first: a transaction that is not seen begins later.
_HORIZON = """
SELECT horizon::{0}::text, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    (least(horizon::{0}, $1::text::{0}) - interval '{1} seconds')::text, extract(epoch FROM now)::float8
FROM (
    SELECT clock_timestamp() AS now, least(
        clock_timestamp(),
        (SELECT min(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database())
    ) AS horizon OFFSET 0
) AS times
"""
# Asked behind it: a transaction that is prepared meanwhile is in one of the two.
_PREPARED = "SELECT EXISTS (SELECT 1 FROM pg_prepared_xacts WHERE database = current_database())"


class PollFeed:
    """Passes over what changed lately.

    A position is how far a pass is, the newest time of the last, and a time that the database's clock has shown.
    """

    def __init__(self, source: Tables, name: str) -> None:
        self._source, self._name = source, name
        self._mapping = source.mapping(name)
        self._overlap = seconds(self._mapping.capture.overlap)
        self._horizon = self._mapping.capture.mode == "horizon"
        self._clock = DatabaseClock(0 if self._horizon else self._overlap)
        self._complete = False

    async def _type(self) -> str:
        type_name = (await self._source.types(self._mapping.table)).get(self._mapping.capture.cursor, "")
        if kind_of(type_name) != "time":
            raise SourceUnavailable(
                f"the cursor {self._mapping.capture.cursor} is no time but {type_name or 'missing'}"
            )
        return type_name

    async def open(self, position: str | None) -> str:
        """Where polling begins: at the newest row, by the time of the database. Raises SourceUnavailable."""
        if position is not None:
            return position
        type_name = await self._type()
        now = await self._source.now(type_name)
        if self._horizon:
            place, _ = await self._ending(now, type_name)
            if "before" not in place:
                raise SourceUnavailable("a prepared transaction is not ended, and horizon cannot begin before it is")
            return json.dumps({"newest": place["before"]})
        return json.dumps({"newest": await self._newest(now, type_name)})

    async def _newest(self, now: str, type_name: str) -> str:
        """The time of the newest row, which may be kept as another time zone has it; a day ago if there is none."""
        dialect = self._source.dialect
        name, table = dialect.name(self._mapping.capture.cursor), dialect.name(self._mapping.table)
        if dialect.postgres:
            at, day = f"$1::text::{type_name}", "interval '1 day'"
        else:
            at, day = "CAST(%s AS DATETIME(6))", "INTERVAL 1 DAY"
        text = dialect.text(f"least({at}, coalesce(max({name}), {at} - {day}))")
        values = (now,) if dialect.postgres else (now, now)
        return str((await self._source.fetch_all(f"SELECT {text} FROM {table}", *values))[0][0])

    async def read(self, position: str, limit: int) -> Batch:
        """One page of a pass. Raises SourceUnavailable."""
        place = json.loads(position)
        type_name = await self._type()
        rescan = False
        if "after" not in place:
            # Asked before rows are read: what is written after it makes the next question answer otherwise.
            if await self._source.quiet(self._name) and self._complete:
                return Batch([], position)
            asked = time.monotonic()
            begun, now = await (self._ending if self._horizon else self._beginning)(place["newest"], type_name)
            rescan = self._clock.is_set_back(now, asked, place.get("clock"))
            place |= {**begun, "clock": now}
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
            return Batch(changes, json.dumps({**place, "after": last}), True, rescan)
        self._complete = place.get("before") is None
        seen = last[0] if last else place["after"][0] if "after" in place else place["newest"]
        newest = place.get("before", place["newest"]) if self._horizon else seen
        if newest == place["newest"] and "after" not in place and not rescan:
            return Batch(changes, position)
        return Batch(changes, json.dumps({"newest": newest, "clock": place.get("clock")}), rescan=rescan)

    async def _ending(self, newest: str, type_name: str) -> tuple[dict[str, Any], float]:
        """From where to where a pass goes, with `horizon`; and the time at the database.

        In statements of their own, before the rows are read: what is not yet visible to them is not passed over.
        """
        statement = _HORIZON.format(type_name, _STEP_S)
        before, may_see, since, now = (await self._source.fetch_all(statement, newest))[0]
        if not may_see:
            raise SourceUnavailable("horizon needs the role pg_read_all_stats: without it, transactions are hidden")
        if (await self._source.fetch_all(_PREPARED))[0][0]:
            # Nobody knows when it began, but it was not before the last horizon: the next pass begins there as well.
            return {"since": since}, now
        return {"since": since, "before": before}, now

    async def _beginning(self, newest: str, type_name: str) -> tuple[dict[str, Any], float]:
        """Where a pass begins, with `overlap`; and the time at the database."""
        if self._source.dialect.postgres:
            statement = (
                f"SELECT (least($1::text::{type_name}, clock_timestamp()::{type_name}) - $2::text::interval)::text, "
                "extract(epoch FROM clock_timestamp())::float8"
            )
            values: tuple[Any, ...] = (newest, f"{self._overlap} seconds")
        else:
            statement = (
                "SELECT CAST(least(CAST(%s AS DATETIME(6)), now(6)) - INTERVAL %s SECOND AS CHAR), "
                "UNIX_TIMESTAMP(now(6))"
            )
            values = (newest, self._overlap)
        since, now = (await self._source.fetch_all(statement, *values))[0]
        return {"since": since}, float(now)

    async def acknowledge(self, batch: Batch) -> None:
        """There is nobody to be told."""
