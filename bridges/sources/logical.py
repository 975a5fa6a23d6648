"""PostgreSQL's logical decoding, asked for through SQL: what the log has is looked at, stored here, and then let go.

The end of what is asked for is taken before it is asked for, and flushed: a slot is never advanced past what was
decoded. What a crash lets us read twice is known by the end of its commit.
"""

from __future__ import annotations

import time
from typing import Any

from bridges.sources import Batch, Change, Gap, Row, SourceUnavailable
from bridges.sources.pgoutput import Decoder, Tuple
from bridges.sources.tables import Tables
from bridges.sources.values import Converter

_PEEK = (
    "SELECT xid::text, data FROM pg_logical_slot_peek_binary_changes("
    "$1, $2::text::pg_lsn, $3::int, 'proto_version', '1', 'publication_names', $4)"
)
_IDLE_ADVANCE_S = 10.0


class LogicalFeed:
    """The changes of one mapping's table in its slot. A position is the end of the last commit that is stored."""

    def __init__(self, source: Tables, name: str) -> None:
        self._source, self._name = source, name
        self._mapping = mapping = source.mapping(name)
        self._slot = mapping.capture.slot or f"bridge_{name}"
        self._table = mapping.table if "." in mapping.table else f"public.{mapping.table}"
        self._converter = Converter(source)
        self._idle = False
        self._advanced = 0.0

    async def open(self, position: str | None) -> str:
        """Find the slot, or make it. Raises SourceUnavailable; Gap if it went, or its log did."""
        rows = await self._source.fetch_all(
            "SELECT plugin, coalesce(wal_status, ''), confirmed_flush_lsn::text FROM pg_replication_slots "
            "WHERE slot_name = $1",
            self._slot,
        )
        if rows and (rows[0][0] != "pgoutput" or rows[0][1] == "lost"):
            if position is not None:
                raise Gap(f"The log of slot {self._slot} is gone ({rows[0][1] or rows[0][0]}).")
            await self._source.fetch_all("SELECT pg_drop_replication_slot($1)", self._slot)
            rows = []
        if rows and position is None:
            # Left over from a beginning that did not end, or from another state: it begins where it is.
            return str(rows[0][2])
        if rows:
            return str(position)
        if position is not None:
            raise Gap(f"Slot {self._slot} is gone.")
        made = await self._source.fetch_all(
            "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", self._slot
        )
        return str(made[0][0])

    async def read(self, position: str, limit: int) -> Batch:
        """Whole transactions, about `limit` changes. Raises SourceUnavailable, Gap."""
        if await self._source.quiet(self._name) and self._idle:
            return Batch([], position)
        upto = str((await self._source.fetch_all("SELECT pg_current_wal_flush_lsn()::text"))[0][0])
        try:
            rows = await self._source.fetch_all(_PEEK, self._slot, upto, limit, self._mapping.capture.publication)
        except SourceUnavailable as error:
            if getattr(error.__cause__, "sqlstate", None) in ("55000", "42704", "58P01") and await self._is_lost():
                raise Gap(f"The log of slot {self._slot} is gone: {error}") from error
            raise
        changes, end, rescan = await self._decode(rows, position)
        self._idle = not rows
        if not rows:
            return Batch([], self._advance_idle(upto, position))
        if end == position and len(rows) >= limit and not rescan:
            # A server that was killed has forgotten how far we were: all of this is stored, and what follows is not
            # seen before it is let go.
            await self._let_go(position)
        return Batch(changes, end, len(rows) >= limit, rescan)

    async def _is_lost(self) -> bool:
        rows = await self._source.fetch_all(
            "SELECT coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = $1", self._slot
        )
        return not rows or rows[0][0] == "lost"

    async def acknowledge(self, batch: Batch) -> None:
        """Let go of what is stored. Raises SourceUnavailable."""
        await self._let_go(batch.position)

    async def _let_go(self, position: str) -> None:
        await self._source.fetch_all("SELECT pg_replication_slot_advance($1, $2::text::pg_lsn)", self._slot, position)
        self._advanced = time.monotonic()

    def _advance_idle(self, upto: str, position: str) -> str:
        """Nothing for us was written: from time to time the server may forget the rest as well."""
        if time.monotonic() - self._advanced < _IDLE_ADVANCE_S or lsn(upto) <= lsn(position):
            return position
        return upto

    async def retained(self) -> int | None:
        """Bytes of the log that the slot keeps; None as long as there is none. Raises SourceUnavailable."""
        rows = await self._source.fetch_all(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots "
            "WHERE slot_name = $1",
            self._slot,
        )
        return int(rows[0][0]) if rows and rows[0][0] is not None else None

    async def _decode(self, rows: list[Any], position: str) -> tuple[list[Change], str, bool]:
        decoder, changes, rescan = Decoder(self._table), list[Change](), False
        end, done = position, lsn(position)
        waiting: list[Any] = []
        for _, data in rows:
            message = decoder.read(bytes(data))
            if message.kind == "commit":
                if message.end > done:
                    end = lsn_text(message.end)
                    for number, row in enumerate(waiting):
                        change = await self._change(row, f"{end}/{number}", message.ts)
                        rescan = rescan or change is None
                        changes += [] if change is None else [change]
                waiting = []
            elif message.kind != "other":
                waiting.append(message)
        return changes, end, rescan

    async def _change(self, message: Any, position: str, ts: int) -> Change | None:
        if message.kind == "truncate":
            return None
        key = self._mapping.key
        new, unchanged = await self._row(message.relation, message.new)
        old, _ = await self._row(message.relation, message.old)
        old_key = await self._row(message.relation, message.key)
        before = old if old is not None else old_key[0]
        now = new if new is not None else before
        if now is None or any(column not in now for column in key):
            raise SourceUnavailable(f"the log does not tell the key of {self._table}: see its REPLICA IDENTITY")
        keys = [now[column] for column in key]
        was = None if before is None or new is None else [before[column] for column in key]
        kept = unchanged & set(self._mapping.columns)
        if kept and old is not None and new is not None:  # the whole old row has it
            new, kept = {**new, **{column: old[column] for column in kept}}, frozenset()
        return Change(position, message.kind, keys, new, old, was if was != keys else None, ts, frozenset(kept))

    async def _row(self, relation: Any, values: Tuple | None) -> tuple[Row | None, frozenset[str]]:
        if values is None:
            return None, frozenset()
        row: dict[str, Any] = {}
        unchanged = set()
        for (column, type_oid), value in zip(relation.columns, values, strict=True):
            if column not in self._mapping.columns:
                continue
            if value is Ellipsis:
                unchanged.add(column)
            else:
                row[column] = await self._converter.value(type_oid, value)
        return row, frozenset(unchanged)


def lsn(text: str) -> int:
    """`16/B374D848` as a number."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(number: int) -> str:
    """The other way."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
