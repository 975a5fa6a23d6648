"""The state of a bridge out of its file into PostgreSQL, once, while no bridge runs."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bridges.config import Config
from bridges.database import Connection, SqliteDatabase
from bridges.operate import write
from bridges.state import State
from bridges.webhooks import incoming, outgoing

_PAGE = 1_000
_OURS = ("lease",)
"""What belongs to the database, not to what is remembered."""


def move(config: Config, options: argparse.Namespace) -> int:
    """Copy everything that the file knows, in one transaction; the file stays as it is.

    Raises StateInUse if a bridge runs on either of the two, StateAway.
    """
    if not isinstance(config.state, str):
        write("appservice.state is a file: set it to the URL of the PostgreSQL database that the state shall be in")
        return 1
    file = Path(options.file)
    if not file.is_file():
        write(f"{file}: there is no such file")
        return 1
    source, target = SqliteDatabase(file, shared=False), State(config.state)
    with closing(source), closing(target):
        target.define(incoming.SCHEMA)
        target.define(outgoing.SCHEMA)
        tables = [table for table in _tables(source.db) if table not in _OURS]
        with target.transaction(durable=True) as db:
            # Names come from the file's own schema, which the bridge has made.
            probes = {table: f"SELECT 1 FROM {table} LIMIT 1" for table in tables}  # noqa: S608 - see above
            filled = [table for table, probe in probes.items() if db.execute(probe).fetchone()]
            if filled:
                write(f"the state in PostgreSQL is not empty ({', '.join(filled)}): nothing was copied")
                return 1
            for table in tables:
                write(f"{table}: {_copy(source.db, db, table):,} rows")
    write("Done. The bridge may run on it; keep the file until you have seen that it does.")
    return 0


def _tables(db: sqlite3.Connection) -> list[str]:
    rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    return [name for (name,) in rows]


def _copy(source: sqlite3.Connection, target: Connection, table: str) -> int:
    columns = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
    key = [row[1] for row in source.execute(f"PRAGMA table_info({table})") if row[5]]
    # In the order of arrival, where the table keeps it; rows of tables without it have none.
    order = ", ".join(key) if _is_clustered(source, table) else "rowid"
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    done = 0
    for page in _pages(source, f"SELECT {names} FROM {table} ORDER BY {order}"):  # noqa: S608 - as above
        target.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", page)  # noqa: S608 - as above
        done += len(page)
    if key == ["id"]:
        last = f"(SELECT coalesce(max(id), 0) + 1 FROM {table})"  # noqa: S608 - as above
        target.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {last}, false)")
    return done


def _is_clustered(db: sqlite3.Connection, table: str) -> bool:
    sql = db.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()[0]
    return "WITHOUT ROWID" in str(sql).upper()


def _pages(db: sqlite3.Connection, statement: str) -> Iterator[list[tuple[object, ...]]]:
    found = db.execute(statement)
    while page := found.fetchmany(_PAGE):
        yield page
