"""What a database holds and how it is set up, for operators. Reads only: nothing is migrated or repaired here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.ports.store import StoreUnavailable
from homeserver.storage.dialect import Connection, Sql
from homeserver.storage.engine import Engine
from homeserver.storage.migrations import NEWEST, revision
from homeserver.storage.repos.rows import opened
from homeserver.storage.sealing import UnknownKey

_COUNTED_EXACTLY = 1 << 30
"""Beyond this size of the events table PostgreSQL's own estimate must do: counting would take minutes."""

_USERS = """SELECT count(*), sum(CASE WHEN is_admin THEN 1 ELSE 0 END), sum(CASE WHEN is_guest THEN 1 ELSE 0 END),
    sum(CASE WHEN locked OR suspended THEN 1 ELSE 0 END), sum(CASE WHEN deactivated THEN 1 ELSE 0 END) FROM users"""
_COUNTS = {
    "devices": "SELECT count(*) FROM devices",
    "sessions": "SELECT count(*) FROM sessions",
    "rooms": "SELECT count(*) FROM rooms",
    "published rooms": "SELECT count(*) FROM rooms WHERE is_public",
    "aliases": "SELECT count(*) FROM room_aliases",
    "log position": "SELECT value FROM counters WHERE name = 'log'",
    "reports": "SELECT count(*) FROM reports",
}


@dataclass(slots=True)
class DatabaseFacts:
    """What `inspect` found."""

    engine: str
    settings: dict[str, str] = field(default_factory=dict)
    schema: str | None = None
    """The revision of the tables; None if there are none yet."""
    newest_schema: str = NEWEST
    bytes: int = 0
    now_ms: int | None = None
    """The clock of the database server, if it has one of its own."""
    last_event_ms: int | None = None
    writable: bool = True
    damage: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    estimated: frozenset[str] = frozenset()


async def inspect(engine: Engine, *, thorough: bool = False) -> DatabaseFacts:
    """Look at a database; `thorough` also reads every page of SQLite. Raises what the database raises."""
    async with engine.read_committed() as connection:
        facts = await (_sqlite(connection, thorough) if engine.is_sqlite else _postgres(connection))
        facts.schema = await revision(connection)
        if facts.schema == NEWEST:
            await _count(connection, facts)
    facts.writable = facts.writable and await _may_write(engine)
    return facts


async def _sqlite(connection: Connection, thorough: bool) -> DatabaseFacts:
    facts = DatabaseFacts(f"SQLite {await _value(connection, 'SELECT sqlite_version()')}")
    facts.settings["journal_mode"] = str(await _value(connection, "PRAGMA journal_mode"))
    facts.settings["synchronous"] = {1: "NORMAL", 2: "FULL", 3: "EXTRA"}.get(
        await _value(connection, "PRAGMA synchronous"), "OFF"
    )
    facts.bytes = await _value(connection, "PRAGMA page_count") * await _value(connection, "PRAGMA page_size")
    if thorough and (found := await _value(connection, "PRAGMA quick_check")) != "ok":
        facts.damage = str(found)
    return facts


async def _postgres(connection: Connection) -> DatabaseFacts:
    facts = DatabaseFacts(f"PostgreSQL {await _value(connection, 'SHOW server_version')}")
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "server_encoding", "max_connections"):
        facts.settings[setting] = str(await _value(connection, f"SHOW {setting}"))
    facts.settings["collation"] = str(
        await _value(connection, "SELECT datcollate FROM pg_database WHERE datname = current_database()")
    )
    facts.bytes = await _value(connection, "SELECT pg_database_size(current_database())")
    facts.now_ms = await _value(connection, "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
    facts.writable = not await _value(connection, "SELECT pg_is_in_recovery()")
    return facts


async def _count(connection: Connection, facts: DatabaseFacts) -> None:
    row = await Sql(_USERS).first(connection)
    names = ("users", "administrators", "guests", "locked users", "deactivated users")
    facts.counts.update(zip(names, (value or 0 for value in row), strict=True))
    for name, query in _COUNTS.items():
        facts.counts[name] = await _value(connection, query) or 0
    facts.counts["events"], is_estimate = await _events(connection)
    facts.estimated = frozenset({"events"}) if is_estimate else frozenset()
    newest = await Sql("SELECT json FROM events ORDER BY nid DESC LIMIT 1").first(connection)
    if newest is not None:
        with suppress(UnknownKey):  # whoever only looks at a database need not have its keys
            facts.last_event_ms = orjson.loads(opened(newest[0], connection.sealing)).get("origin_server_ts")


async def _events(connection: Connection) -> tuple[int, bool]:
    """How many events there are, and whether that is an estimate."""
    if not connection.is_sqlite:
        size = await _value(connection, "SELECT pg_relation_size('events')")
        estimate = await _value(
            connection, "SELECT CAST(reltuples AS bigint) FROM pg_class WHERE oid = 'events'::regclass"
        )
        if size > _COUNTED_EXACTLY and estimate > 0:
            return estimate, True
    return await _value(connection, "SELECT count(*) FROM events"), False


async def _may_write(engine: Engine) -> bool:
    """Whether a transaction that writes can begin; it is rolled back."""
    try:
        async with engine.write() as connection:
            await Sql("CREATE TABLE hromada_probe (probe INTEGER)").run(connection)
            raise _Enough
    except _Enough:
        return True
    except (StoreUnavailable, engine.errors):
        return False


class _Enough(Exception):
    """The probe's table could be made, and shall not be there."""


async def _value(connection: Connection, query: str) -> Any:
    return (await Sql(query).first(connection))[0]
