"""Where the bridge's state lies: an SQLite file, or a PostgreSQL that several machines reach.

Statements are written once, in the SQL that both know, with `?` for values. A connection of SQLite is used as it is;
PostgreSQL's is wrapped so that it looks the same. Both answer at once or nearly so: the state is asked in between, not
awaited, and what is read together with what follows from it cannot be interrupted.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bridges.config import POSTGRES, ConfigError
from bridges.sources.tls import is_local

if TYPE_CHECKING:
    import psycopg

_LEASE = "CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL)"
_FIRST = "INSERT INTO lease VALUES (1, 0) ON CONFLICT DO NOTHING"
_NEXT = "UPDATE lease SET epoch = epoch + 1 RETURNING epoch"
_LOCK = 1_215_459_117
"""The first half of the number that the bridge that runs holds locked; the second is made of the schema's name."""
_BEGIN = "BEGIN; SELECT epoch FROM lease FOR UPDATE"
_BEGIN_DURABLY = "BEGIN; SET LOCAL synchronous_commit = on; SELECT epoch FROM lease FOR UPDATE"
_WAIT_S = 10


class StateLost(Exception):
    """The state cannot be used any more by this process, or not now."""


class StateInUse(StateLost):
    """Another bridge runs on this state, or has taken it over."""


class StateAway(StateLost):
    """The database of the state does not answer. What was asked may have happened, or not."""


class Rows(Protocol):
    """What a statement found."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """The next row as a tuple, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All of them."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Runs statements with `?` for values. Raises StateAway."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Rows:
        """One statement."""
        ...

    def executemany(self, sql: str, values: Sequence[Sequence[Any]], /) -> Any:
        """One statement for each of these."""
        ...


class Database(Protocol):
    """An open state."""

    arrival: str
    """What to order rows by that have no number of their own."""
    numbered: str
    """The definition of that column, where a table has none by itself."""

    @property
    def db(self) -> Connection:
        """For reading outside of transactions."""
        ...

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[Connection]:
        """One transaction; see `State.transaction`."""
        ...

    def define(self, schema: str) -> None:
        """Make tables and indexes that are missing; statements end with semicolons."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_database(at: Path | str, *, shared: bool) -> Database:
    """The state in a file, or at a URL of PostgreSQL. Raises StateInUse, StateAway."""
    if isinstance(at, str) and at.startswith(POSTGRES):
        return PostgresDatabase(at, shared=shared)
    return SqliteDatabase(Path(at), shared=shared)


class SqliteDatabase:
    """A file. Implements `Database`."""

    arrival = "rowid"
    numbered = ""

    def __init__(self, path: Path, *, shared: bool) -> None:
        """Raises StateInUse."""
        self._lock = -1
        self._epoch: int | None = None
        if not shared:
            self._lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._lock)
                raise StateInUse(f"{path}: another bridge uses this file") from None
        self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.define(f"{_LEASE};{_FIRST};")
        if not shared:
            # A lock can fail to hold (a network file system, a copied folder): whoever came last has the number.
            self._epoch = self.db.execute(_NEXT).fetchone()[0]

    def define(self, schema: str) -> None:
        self.db.executescript(schema)

    def close(self) -> None:
        self.db.close()
        if self._lock >= 0:
            os.close(self._lock)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Connection]:
        db = self.db
        if durable:
            db.execute("PRAGMA synchronous = FULL")
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                if self._epoch is not None and db.execute("SELECT epoch FROM lease").fetchone()[0] != self._epoch:
                    raise StateInUse("another bridge has taken over the state file")
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            if durable:
                db.execute("PRAGMA synchronous = NORMAL")


class PostgresDatabase:
    """A schema of a PostgreSQL database: the first of the connection's `search_path`. Implements `Database`.

    Two locks keep two bridges apart. One is held by the session for as long as it lives, so that a second bridge ends
    at once, or waits. The other is the lease's row: each transaction locks it and compares its number, so a bridge
    whose session was thought dead, and whose place was taken, can write nothing any more.
    """

    arrival = "id"
    numbered = "id BIGINT GENERATED ALWAYS AS IDENTITY, "

    def __init__(self, url: str, *, shared: bool) -> None:
        """Raises StateInUse, StateAway."""
        self._epoch: int | None = None
        self.db = _Postgres(url)
        try:
            if not shared:
                locked = self.db.execute("SELECT pg_try_advisory_lock(?, hashtext(current_schema()))", (_LOCK,))
                if not locked.fetchone()[0]:
                    raise StateInUse("another bridge uses this state")
            self.define(f"{_LEASE};{_FIRST};")
            if not shared:
                self._epoch = self.db.execute(_NEXT).fetchone()[0]
        except BaseException:
            self.db.close()
            raise

    def define(self, schema: str) -> None:
        # Two processes that make the same table at once disturb each other: one waits.
        self.db.run(f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK + 1}); {_as_postgres(schema)} COMMIT")

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Connection]:
        db = self.db
        epoch = db.run(_BEGIN_DURABLY if durable else _BEGIN)[0]
        try:
            if self._epoch is not None and epoch != self._epoch:
                raise StateInUse("another bridge has taken over the state")
            yield db
        except StateAway:
            raise  # the session is gone, and its transaction with it
        except BaseException:
            db.run("ROLLBACK")
            raise
        db.run("COMMIT")


class _Postgres:
    """A session, as if it were SQLite's. Implements `Connection`."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - most bridges keep their state in a file
        except ImportError:
            text = "appservice.state: PostgreSQL needs a package more: pip install 'hromada[bridges-postgres]'"
            raise ConfigError([text]) from None
        self._errors = (psycopg.OperationalError, psycopg.InterfaceError)
        self._connection: psycopg.Connection[Any] | None = None
        with self._away():
            self._connection = psycopg.connect(
                "",
                autocommit=True,
                **parameters(psycopg.conninfo, url),
            )
        # As with a file: what need not outlive a power failure does not wait for the disk (`State`).
        # A session whose machine is gone ends soon, and with it the lock that keeps another bridge from going on.
        self.run(
            f"SET synchronous_commit = off; SET statement_timeout = '{3 * _WAIT_S}s'; "
            f"SET idle_in_transaction_session_timeout = '{3 * _WAIT_S}s'; SET tcp_keepalives_idle = {_WAIT_S}; "
            f"SET tcp_keepalives_interval = {_WAIT_S // 2}; SET tcp_keepalives_count = 3"
        )

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            self.close()  # what is in doubt is not gone on with
            raise StateAway(f"the database of the state does not answer: {str(error).strip()}") from error

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Rows:
        with self._away():
            return self._session.execute(_with_percents(sql), values)

    def executemany(self, sql: str, values: Sequence[Sequence[Any]], /) -> Rows:
        with self._away():
            cursor = self._session.cursor()
            if values:
                cursor.executemany(_with_percents(sql), values)
            return cursor

    def run(self, sql: str) -> Any:
        """Several statements without values, in one go; the first row of the last one, if it has rows."""
        with self._away():
            cursor = self._session.execute(sql.encode())
            while cursor.nextset():
                pass
            return cursor.fetchone() if cursor.description else None

    @property
    def _session(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise StateAway("the session with the database of the state has ended")
        return self._connection

    def close(self) -> None:
        """End the session."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def parameters(conninfo: Any, url: str) -> dict[str, Any]:
    """What the URL says; beyond this machine, the server's certificate is checked unless it says otherwise."""
    try:
        found: dict[str, Any] = conninfo.conninfo_to_dict(url)
    except Exception as error:
        raise ConfigError([f"appservice.state: {error}"]) from None
    found = {"connect_timeout": _WAIT_S, "tcp_user_timeout": 1000 * _WAIT_S, "keepalives_idle": _WAIT_S, **found}
    hosts = str(found.get("host", "")).split(",")
    if "sslmode" not in found and not all(is_local(host) for host in hosts):
        found["sslmode"] = "verify-full"
        found.setdefault("sslrootcert", "system")
    return found


@lru_cache(maxsize=500)
def _with_percents(sql: str) -> bytes:
    return sql.replace("%", "%%").replace("?", "%s").encode()


def _as_postgres(schema: str) -> str:
    """What `schema` says, in PostgreSQL's words. Texts are compared by their bytes, as in SQLite."""
    return (
        schema.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY")
        .replace(" INTEGER", " BIGINT")
        .replace(" TEXT", ' TEXT COLLATE "C"')
        .replace(") WITHOUT ROWID", ")")
    )
