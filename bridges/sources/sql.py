"""What databases of tables have in common: rows read and written by the statements of a dialect; and the outbox.

The outbox: rows that are visible are read in the order of their numbers and deleted once they are stored by us. There
is no mark of how far we are, so a transaction that commits late loses nothing; and a trigger takes its number while it
holds the row's lock, so the changes of one row have their numbers in the order of their commits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from bridges.config import Config, TableMapping
from bridges.render import parse_image, parse_key
from bridges.sources import Batch, Change, Key, Refused, Row, Scanned, SourceUnavailable, Write, Written
from bridges.sources.reading import AT_ONCE, fetch_statement, in_order, scan_statement, update_statement
from bridges.sources.statements import Binds, Dialect, equal


class SqlSource(ABC):
    """One database. What a driver does in its own way is left to a subclass."""

    dialect: Dialect

    def __init__(self, config: Config, source_name: str) -> None:
        self.config = config
        self._settings = config.source[source_name]
        self._types: dict[str, dict[str, str]] = {}
        self._applied: bool | None = None

    # ---- the driver's part ----

    @abstractmethod
    async def fetch_all(self, statement: str, *values: Any) -> list[Any]:
        """All rows of a statement. Raises SourceUnavailable."""

    @abstractmethod
    def writing(self) -> AbstractAsyncContextManager[Any]:
        """A transaction that may write: a session. Raises SourceUnavailable, Refused."""

    @abstractmethod
    async def _execute(self, session: Any, statement: str, values: Sequence[Any]) -> int:
        """Run a statement; how many rows it changed, or found as they were to be."""

    @abstractmethod
    async def _first(self, session: Any, statement: str, values: Sequence[Any]) -> Any:
        """The first column of the first row of a statement; None without one."""

    @abstractmethod
    async def _once(self, session: Any, event_id: str) -> bool:
        """Note that a write is applied; False if it was before."""

    @abstractmethod
    async def _is_there(self, session: Any, table: str) -> bool:
        """Whether there is such a table."""

    @abstractmethod
    async def columns(self, table: str) -> dict[str, str]:
        """Column → type of a table; empty if there is none. Raises SourceUnavailable."""

    @abstractmethod
    async def quiet(self, name: str) -> bool:
        """Whether nothing was written since this was asked for that mapping."""

    @abstractmethod
    async def size(self, table: str) -> int | None:
        """Bytes that a table takes, as far as the database knows; None if there is none. Raises SourceUnavailable."""

    # ---- reading ----

    def mapping(self, name: str) -> TableMapping:
        """A mapping of this source."""
        return self.config.mapping[name]

    def split(self, table: str) -> tuple[str | None, str]:
        """Schema (None for the connection's own) and table."""
        schema, _, name = table.rpartition(".")
        return schema or None, name

    async def types(self, table: str, *needed: str) -> dict[str, str]:
        """The columns, remembered until one that is needed lacks. Raises SourceUnavailable if there is no table."""
        if not set(needed) <= self._types.get(table, {}).keys() or table not in self._types:
            found = await self.columns(table)
            if not found:
                raise SourceUnavailable(f"there is no table {table}")
            self._types[table] = found
        return self._types[table]

    def forget(self, table: str) -> None:
        """The table may be another one now."""
        self._types.pop(table, None)

    async def scan(self, name: str, after: Key | None, limit: int, chosen: Any = None, ts: str = "") -> list[Scanned]:
        """Rows in the order of the key. Raises SourceUnavailable."""
        mapping = self.mapping(name)
        types = await self.types(mapping.table, *mapping.columns)
        statement, values = scan_statement(self.dialect, mapping, types, after, limit, chosen, ts)
        rows = await self.fetch_all(statement, *values)
        return [Scanned(parse_key(key), parse_image(image), bool(picked), at) for key, image, picked, at in rows]

    async def nth_last(self, name: str, n: int) -> Key | None:
        """The key of the n-th row from the end. Raises SourceUnavailable."""
        mapping, dialect = self.mapping(name), self.dialect
        order = ", ".join(f"{dialect.name(column)} DESC" for column in mapping.key)
        rows = await self.fetch_all(
            f"SELECT {dialect.text(dialect.array(mapping.key))} FROM {dialect.name(mapping.table)} "
            f"ORDER BY {order} LIMIT 1 OFFSET {int(n) - 1}"
        )
        return parse_key(rows[0][0]) if rows else None

    async def fetch(self, name: str, keys: Sequence[Key]) -> list[Row | None]:
        """Rows as they are now. Raises SourceUnavailable."""
        mapping, rows = self.mapping(name), list[Any]()
        types = await self.types(mapping.table, *mapping.columns)
        for first in range(0, len(keys), AT_ONCE):
            statement, values = fetch_statement(self.dialect, mapping, types, keys[first : first + AT_ONCE])
            rows += await self.fetch_all(statement, *values)
        return in_order(mapping, keys, rows)

    # ---- writing ----

    async def _image(self, session: Any, name: str, key: Key) -> Row | None:
        mapping, dialect = self.mapping(name), self.dialect
        types, binds = await self.types(mapping.table), Binds(dialect)
        where = equal(mapping.key, key, types, binds, dialect)
        image = dialect.text(dialect.image(mapping.columns))
        statement = f"SELECT {image} FROM {dialect.name(mapping.table)} WHERE {where}"
        return parse_image(await self._first(session, statement, binds.values))

    async def write(self, name: str, write: Write, intent: Callable[[Row | None], None]) -> Written:
        """Write in one transaction. Raises SourceUnavailable, Refused."""
        mapping = self.mapping(name)
        await self.types(mapping.table)
        statement, values = update_statement(self.dialect, write, mapping, await self.types(write.table))
        try:
            async with self.writing() as session:
                if await self._has_applied(session) and not await self._once(session, write.event_id):
                    return Written("already", await self._image(session, name, write.key))
                changed = await self._execute(session, statement, values)
                row = await self._image(session, name, write.key)
                if not changed:
                    raise _Unchanged(write, row)
                intent(row)
                return Written("applied", row)
        except _Unchanged as unchanged:  # the transaction is rolled back: nothing was applied
            return unchanged.written

    async def _has_applied(self, session: Any) -> bool:
        if not self._applied:  # it may be made later
            self._applied = await self._is_there(session, self._settings.applied)
        return self._applied

    async def change(self, statement: str, *values: Any) -> None:
        """A write of our own. Raises SourceUnavailable."""
        try:
            async with self.writing() as session:
                await self._execute(session, statement, values)
        except Refused as error:
            raise SourceUnavailable(str(error)) from error


class _Unchanged(Exception):
    """A guarded statement changed nothing; `written` says why."""

    def __init__(self, write: Write, row: Row | None) -> None:
        super().__init__()
        wanted = write.values or {}
        if write.kind == "insert":
            self.written = Written("already", row)
        elif row is None:
            self.written = Written("gone")
        else:
            same = all(column in row and str(row[column]) == str(value) for column, value in wanted.items())
            self.written = Written("already" if wanted and same else "conflict", row)


class OutboxFeed:
    """The outbox of one mapping."""

    def __init__(self, source: SqlSource, name: str) -> None:
        self._source, self._name = source, name
        mapping, dialect = source.mapping(name), source.dialect
        self._key = mapping.key
        self._table = mapping.capture.outbox("postgresql" if dialect.postgres else "mysql")
        table = dialect.name(self._table)
        columns = ["at", "old", "new"]
        at, old, new = (dialect.text(dialect.name(column)) for column in columns)
        ours = f"FROM {table} WHERE mapping = {'$1' if dialect.postgres else '%s'}"
        limit = "$2" if dialect.postgres else "%s"
        self._read = f"SELECT seq, {at}, {dialect.milliseconds('at')}, {old}, {new} {ours} ORDER BY seq LIMIT {limit}"
        # By their numbers alone: on its way by another index, InnoDB waits for changes that are not committed.
        self._delete = (
            f"DELETE {ours} AND seq = ANY($2::bigint[])"
            if dialect.postgres
            else f"DELETE o FROM {table} AS o FORCE INDEX (PRIMARY) WHERE o.mapping = %s AND o.seq IN "
        )
        self._idle = False

    async def open(self, position: str | None) -> str:
        """There is nothing to open: what is in the outbox is what is to be told."""
        return position or "outbox"

    async def read(self, position: str, limit: int) -> Batch:
        """The oldest changes that are committed. Raises SourceUnavailable."""
        if await self._source.quiet(self._name) and self._idle:
            return Batch([], position)
        rows = await self._source.fetch_all(self._read, self._name, limit)
        self._idle = not rows
        return Batch([_change(self._key, *row) for row in rows], position, len(rows) == limit)

    async def acknowledge(self, batch: Batch) -> None:
        """Delete what is stored. Raises SourceUnavailable."""
        seqs = [int(change.position.partition(":")[0]) for change in batch.changes]
        if not seqs:
            return
        if self._source.dialect.postgres:
            await self._source.change(self._delete, self._name, seqs)
        else:
            await self._source.change(f"{self._delete}({', '.join(['%s'] * len(seqs))})", self._name, *seqs)

    async def retained(self) -> int | None:
        """Bytes of the outbox, other mappings' in it and what the database has not cleaned up yet included."""
        return await self._source.size(self._table)


def _change(key: Sequence[str], seq: int, at: str, ts: int, old_text: str | None, new_text: str | None) -> Change:
    """A row of an outbox. With `at` the position names it even if the outbox was made anew."""
    old, new = parse_image(old_text), parse_image(new_text)
    op = "insert" if old is None else "delete" if new is None else "update"
    keys = [None if image is None else [image[column] for column in key] for image in (old, new)]
    now = keys[1] if keys[1] is not None else keys[0] or []
    was = keys[0] if keys[0] != now else None
    return Change(f"{seq}:{at}", op, now, new, old, was, ts)  # type: ignore[arg-type] # `op` is one of the three
