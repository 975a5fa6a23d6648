"""PostgreSQL: an outbox table that triggers fill in the transactions of the application.

Rows that are visible are read in the order of their numbers and deleted once they are stored by us. There is no mark
of how far we are, so a transaction that commits late loses nothing; and a trigger takes its number while it holds the
row's lock, so the changes of one row have their numbers in the order of their commits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridges.config import Config, ConfigError, TableMapping, seconds

try:
    import asyncpg
except ImportError:  # pragma: no cover - the distribution asks for it
    asyncpg = None

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}\Z")


class SourceUnavailable(Exception):
    """The database does not answer, or not as expected; it is tried again."""


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change of one row, as the trigger wrote it down."""

    seq: int
    at: str
    """When the trigger ran; with `seq` it names the change, even if the outbox was made anew."""
    ts: int
    """The same in milliseconds since 1970."""
    old: str | None
    """JSON of the mapped columns before, None for an insert."""
    new: str | None
    """JSON of the mapped columns after, None for a delete."""


class PostgresOutbox:
    """The outbox of one mapping. Connects when it is needed, and again after every failure."""

    def __init__(self, config: Config, name: str) -> None:
        """Raises ConfigError if asyncpg is missing, or the URL cannot be read."""
        if asyncpg is None:
            raise ConfigError(["PostgreSQL needs asyncpg: pip install 'hromada[bridges]'"])
        mapping = config.mapping[name]
        source = config.source[mapping.source]
        self._name = name
        self._url = source.url.read()
        self._timeout = seconds(source.statement_timeout)
        self._connect_timeout = seconds(source.connect_timeout)
        table = quoted(mapping.capture.table)
        columns = "seq, at::text, (extract(epoch FROM at) * 1000)::bigint, old::text, new::text"
        self._read = f"SELECT {columns} FROM {table} WHERE mapping = $1 ORDER BY seq LIMIT $2"  # noqa: S608 - quoted
        self._delete = f"DELETE FROM {table} WHERE mapping = $1 AND seq = ANY($2::bigint[])"  # noqa: S608 - quoted names
        self._connection: Any = None

    async def read(self, limit: int) -> list[Change]:
        """The oldest changes that are committed. Raises SourceUnavailable."""
        rows = await self._run("fetch", self._read, self._name, limit)
        return [Change(*row) for row in rows]

    async def acknowledge(self, seqs: Sequence[int]) -> None:
        """Delete changes that are stored here. Raises SourceUnavailable."""
        await self._run("execute", self._delete, self._name, list(seqs))

    async def columns(self, table: str) -> set[str]:
        """The columns of a table, empty if there is none. Raises SourceUnavailable."""
        rows = await self._run(
            "fetch",
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            quoted(table),
        )
        return {row[0] for row in rows}

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _run(self, how: str, statement: str, *values: Any) -> Any:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(
                    self._url, timeout=self._connect_timeout, command_timeout=self._timeout
                )
            return await getattr(self._connection, how)(statement, *values)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            await self.close()
            raise SourceUnavailable(f"{type(error).__name__}: {error}") from error


def quoted(name: str) -> str:
    """`schema.table`, quoted. Raises ConfigError for what is no plain name."""
    parts = name.split(".")
    if len(parts) > 2 or not all(_NAME.match(part) for part in parts):
        raise ConfigError([f"{name!r} is not the name of a table"])
    return ".".join(f'"{part}"' for part in parts)


def outbox_sql(name: str, mapping: TableMapping, role: str) -> str:
    """What an administrator of the database runs once: the outbox, its trigger, and what the bridge may do."""
    outbox, table = quoted(mapping.capture.table), quoted(mapping.table)
    index = quoted(f"{mapping.capture.table.rsplit('.', 1)[-1]}_by_mapping")
    function = quoted(f"bridge_capture_{name}")
    columns = [quoted(column) for column in mapping.columns]

    def image(row: str) -> str:
        return "jsonb_build_object(" + ", ".join(f"'{column[1:-1]}', {row}.{column}" for column in columns) + ")"

    return f"""CREATE TABLE IF NOT EXISTS {outbox} (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    old jsonb,
    new jsonb
);
CREATE INDEX IF NOT EXISTS {index} ON {outbox} (mapping, seq);

CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {outbox} (mapping, old, new) VALUES (
        '{name}',
        CASE WHEN TG_OP <> 'INSERT' THEN {image("OLD")} END,
        CASE WHEN TG_OP <> 'DELETE' THEN {image("NEW")} END
    );
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS {function} ON {table};
CREATE TRIGGER {function} AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function}();

GRANT SELECT, DELETE ON {outbox} TO {quoted(role)};
"""  # noqa: S608 - every name is checked and quoted
