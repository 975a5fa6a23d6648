"""`check` and `doctor`: whether a mapping can be captured, and what will go wrong one day."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from bridges.config import TableMapping
from bridges.sources import Finding, SourceUnavailable
from bridges.sources.statements import kind_of
from bridges.sources.tables import Tables

RETAINED_LIMIT = 1024 * 1024 * 1024
"""What a database may keep for a bridge before somebody is told, in bytes."""


def examine_columns(mapping: TableMapping, types: Mapping[str, str]) -> list[Finding]:
    """The table as the mapping wants it."""
    table = mapping.relation
    if not types:
        return [Finding(False, f"table {table} is not there, or may not be read")]
    found = [Finding(True, f"table {table}")]
    wanted = {*mapping.columns, *(c for c in (mapping.capture.cursor, mapping.backfill.ts) if c)}
    if missing := sorted(wanted - set(types)):
        found.append(Finding(False, f"columns {', '.join(missing)} are missing in {table}"))
    if binary := sorted(column for column in mapping.columns if kind_of(types.get(column, "")) == "binary"):
        found.append(Finding(False, f"columns {', '.join(binary)} are binary, which no message can carry"))
    cursor = mapping.capture.cursor
    if mapping.capture.mode in ("overlap", "horizon") and kind_of(types.get(cursor, "time")) != "time":
        found.append(Finding(False, f"the cursor {cursor} is no time"))
    return found


async def examine_postgres(source: Tables, name: str, *, deep: bool) -> list[Finding]:
    """PostgreSQL. Raises nothing: a database that does not answer is a finding."""
    mapping = source.mapping(name)
    try:
        found = examine_columns(mapping, await source.columns(mapping.table))
        if mapping.capture.mode == "outbox":
            there = bool(await source.columns(mapping.capture.outbox(_driver(source))))
            text = f"outbox {mapping.capture.table}{'' if there else ' is not there: see `hromada bridges sql`'}"
            found.append(Finding(there, text))
        if mapping.capture.mode == "logical":
            found += await _logical(source, mapping)
        if mapping.capture.mode in ("overlap", "horizon"):
            found += await _polled(source, mapping)
        if deep:
            found += await _deep(source, name, mapping)
    except SourceUnavailable as error:
        return [Finding(False, str(error))]
    return found


def _driver(source: Tables) -> str:
    return "postgresql" if source.dialect.postgres else "mysql"


async def _one(source: Tables, statement: str, *values: Any) -> Any:
    return (await source.fetch_all(statement, *values))[0]


async def _logical(source: Tables, mapping: TableMapping) -> list[Finding]:
    capture = mapping.capture
    level, may, published = await _one(
        source,
        "SELECT current_setting('wal_level'), (SELECT rolreplication OR rolsuper FROM pg_roles "
        "WHERE rolname = current_user), EXISTS (SELECT FROM pg_publication_tables p, pg_class c, pg_namespace n "
        "WHERE p.pubname = $1 AND c.oid = to_regclass($2) AND n.oid = c.relnamespace "
        "AND p.schemaname = n.nspname AND p.tablename = c.relname)",
        capture.publication,
        source.dialect.name(mapping.table),
    )
    found = [
        Finding(level == "logical", f"wal_level is {level}{'' if level == 'logical' else ', and has to be logical'}"),
        Finding(bool(may), f"the role {'has' if may else 'lacks'} REPLICATION"),
        Finding(
            bool(published), f"publication {capture.publication} {'has' if published else 'lacks'} {mapping.table}"
        ),
    ]
    identity = await _one(
        source,
        "SELECT relreplident::text FROM pg_class WHERE oid = to_regclass($1)",
        source.dialect.name(mapping.table),
    )
    if identity[0] == "n":
        found.append(Finding(False, f"{mapping.table} has no replica identity: updates and deletes are not told"))
    return found


async def _polled(source: Tables, mapping: TableMapping) -> list[Finding]:
    found = []
    cursor, table = mapping.capture.cursor, source.dialect.name(mapping.table)
    indexed, nullable = await _one(
        source,
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND "
        "a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass($1) AND a.attname = $2 AND i.indisvalid), "
        "EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attnotnull)",
        table,
        cursor,
    )
    found.append(Finding(bool(indexed), f"cursor {cursor} {'has' if indexed else 'lacks'} an index"))
    if nullable:
        found.append(
            Finding(bool(mapping.reconcile), f"cursor {cursor} may be NULL: only a reconcile scan sees such rows")
        )
    if mapping.capture.mode == "horizon":
        (may,) = await _one(source, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
        found.append(Finding(bool(may), f"the role {'has' if may else 'lacks'} pg_read_all_stats"))
    return found


async def _deep(source: Tables, name: str, mapping: TableMapping) -> list[Finding]:
    version, skew, superuser = await _one(
        source,
        "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::float8, "
        "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
    )
    found = [Finding(True, f"PostgreSQL {version}"), clock(skew)]
    if superuser:
        found.append(Finding(False, "the bridge logs in as a superuser: give it a role of its own"))
    primary = await _one(
        source,
        "SELECT coalesce(array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum)), '{}') "
        "FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
        "WHERE i.indrelid = to_regclass($1) AND i.indisprimary",
        source.dialect.name(mapping.table),
    )
    found += _primary(list(primary[0]), mapping)
    if mapping.capture.mode == "logical":
        found += await _slot(source, mapping.capture.slot or f"bridge_{name}")
    if mapping.capture.mode == "outbox":
        found.append(await _waiting(source, mapping))
    return found


async def _slot(source: Tables, slot: str) -> list[Finding]:
    rows = await source.fetch_all(
        "SELECT plugin, coalesce(wal_status, ''), pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, "
        "current_setting('max_slot_wal_keep_size') FROM pg_replication_slots WHERE slot_name = $1",
        slot,
    )
    if not rows:
        return [Finding(True, f"slot {slot} is made at the first run")]
    plugin, status, retained, most = rows[0]
    return [
        Finding(plugin == "pgoutput", f"slot {slot} is of {plugin}"),
        Finding(status in ("reserved", "extended"), f"slot {slot} is {status}"),
        Finding((retained or 0) < RETAINED_LIMIT, f"slot {slot} keeps {(retained or 0) >> 20} MiB of WAL"),
        Finding(
            most != "-1",
            f"max_slot_wal_keep_size is {most}: {'a bridge that is away may fill the disk' * (most == '-1')}",
        ),
    ]


def clock(epoch: float) -> Finding:
    """Whether the clock of a database is ours."""
    skew = epoch - time.time()
    return Finding(abs(skew) < 5, f"the clock differs by {skew:+.1f} s")


async def examine_mysql(source: Tables, name: str, *, deep: bool) -> list[Finding]:
    """MySQL and MariaDB. Raises nothing."""
    mapping = source.mapping(name)
    try:
        found = examine_columns(mapping, await source.columns(mapping.table))
        if mapping.capture.mode == "outbox":
            there = bool(await source.columns(mapping.capture.outbox(_driver(source))))
            text = f"outbox {mapping.capture.table}{'' if there else ' is not there: see `hromada bridges sql`'}"
            found.append(Finding(there, text))
        elif mapping.capture.mode == "binlog":
            found += await _binlog(source, mapping)
        else:
            found += await _polled_mysql(source, mapping)
        if deep:
            found += await _deep_mysql(source, mapping)
    except SourceUnavailable as error:
        return [Finding(False, str(error))]
    return found


async def _deep_mysql(source: Tables, mapping: TableMapping) -> list[Finding]:
    version, epoch, engine = await _one(
        source,
        "SELECT version(), UNIX_TIMESTAMP(now(6)), (SELECT engine FROM information_schema.tables "
        "WHERE table_schema = coalesce(%s, database()) AND table_name = %s)",
        *source.split(mapping.table),
    )
    found = [Finding(True, f"server {version}"), clock(float(epoch))]
    found.append(Finding(engine == "InnoDB", f"{mapping.table} is kept by {engine}"))
    primary = await source.fetch_all(
        "SELECT column_name FROM information_schema.statistics WHERE table_schema = coalesce(%s, database()) "
        "AND table_name = %s AND index_name = 'PRIMARY' ORDER BY seq_in_index",
        *source.split(mapping.table),
    )
    found += _primary([row[0] for row in primary], mapping)
    if mapping.capture.mode == "outbox":
        found.append(await _waiting(source, mapping))
    return found


def _primary(columns: list[str], mapping: TableMapping) -> list[Finding]:
    if columns == list(mapping.key):
        return []
    return [Finding(False, f"the primary key is ({', '.join(columns)}), key is ({', '.join(mapping.key)})")]


async def _waiting(source: Tables, mapping: TableMapping) -> Finding:
    outbox = source.dialect.name(mapping.capture.outbox(_driver(source)))
    (waiting,) = await _one(source, f"SELECT count(*) FROM {outbox}")
    return Finding(waiting < 100_000, f"{waiting} changes wait in the outbox")


async def _polled_mysql(source: Tables, mapping: TableMapping) -> list[Finding]:
    cursor = mapping.capture.cursor
    schema, table = source.split(mapping.table)
    rows = await source.fetch_all(
        "SELECT EXISTS (SELECT 1 FROM information_schema.statistics WHERE table_schema = coalesce(%s, database()) "
        "AND table_name = %s AND column_name = %s AND seq_in_index = 1), (SELECT is_nullable FROM "
        "information_schema.columns WHERE table_schema = coalesce(%s, database()) AND table_name = %s "
        "AND column_name = %s)",
        schema,
        table,
        cursor,
        schema,
        table,
        cursor,
    )
    indexed, nullable = rows[0]
    found = [Finding(bool(indexed), f"cursor {cursor} {'has' if indexed else 'lacks'} an index")]
    if nullable == "YES":
        found.append(
            Finding(bool(mapping.reconcile), f"cursor {cursor} may be NULL: only a reconcile scan sees such rows")
        )
    return found


async def _binlog(source: Tables, mapping: TableMapping) -> list[Finding]:
    from bridges.sources.binlog import LACKING, installed, needed, settings  # noqa: PLC0415 - an extra

    maria, wrong = await settings(source)
    found = [Finding(False, f"the binary log: {needed({name: value})}") for name, value in wrong.items()]
    if not found:
        found = [Finding(True, "the binary log has whole rows, and their columns' names")]
    found += [] if installed() else [Finding(False, LACKING)]
    grants = " ".join(str(row[0]).upper() for row in await source.fetch_all("SHOW GRANTS"))
    may = re.search(r"REPLICATION (SLAVE|REPLICA)|GRANT ALL PRIVILEGES ON \*\.\*", grants) is not None
    found.append(Finding(may, f"the role {'has' if may else 'lacks'} REPLICATION SLAVE"))
    keep = "expire_logs_days" if maria else "binlog_expire_logs_seconds"
    rows = await source.fetch_all(f"SHOW GLOBAL VARIABLES LIKE '{keep}'")
    found += (
        [Finding(True, f"{keep} is {rows[0][1]}: a bridge that is away for longer compares the table")] if rows else []
    )
    rules = await source.fetch_all(
        "SELECT constraint_name FROM information_schema.referential_constraints WHERE constraint_schema = "
        "coalesce(%s, database()) AND table_name = %s AND (delete_rule IN ('CASCADE', 'SET NULL') OR update_rule IN "
        "('CASCADE', 'SET NULL'))",
        *source.split(mapping.table),
    )
    if rules:
        text = (
            f"{', '.join(row[0] for row in rules)} cascades, which is in no binary log: only a reconcile scan sees it"
        )
        found.append(Finding(bool(mapping.reconcile), text))
    return found
