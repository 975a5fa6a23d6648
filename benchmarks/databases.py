"""The database below a server: a throwaway PostgreSQL of its own, or the file of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from benchmarks import processes
from tests.support.postgres import PostgresCluster, running_cluster

KINDS = ("postgres", "sqlite")


class Database(Protocol):
    """A database and what it costs."""

    def cpu_seconds(self) -> float:
        """CPU time of the processes that are the database's own."""

    def bytes(self) -> int:
        """Space that rows and indexes take."""


class Postgres:
    """One database in a cluster that serves nobody else, so that its processes' time is this server's."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self._cluster = cluster
        self._pid = int((cluster.data / "postmaster.pid").read_text().split()[0])
        self.url = cluster.make_database().replace("+asyncpg", "", 1)
        self.parts = urlsplit(self.url)

    def cpu_seconds(self) -> float:
        """CPU time of the postmaster and all backends, ended ones included."""
        return processes.cpu_seconds(self._pid)

    def bytes(self) -> int:
        """Tables and indexes, the write-ahead log not included."""
        return int(self._cluster.sql(f"SELECT pg_database_size('{self.parts.path[1:]}')"))


class Sqlite:
    """A file; its work is done, and counted, in the server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cpu_seconds(self) -> float:
        """Nothing of its own."""
        return 0.0

    def bytes(self) -> int:
        """Pages in use, those still in the write-ahead log included."""
        if not self.path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)) as connection:
            names = ("page_count", "freelist_count", "page_size")
            pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        return int((pages - free) * size)


@contextmanager
def database_of(kind: str, folder: Path) -> Iterator[Postgres | Sqlite]:
    """A new database for the length of the block.  Raises PostgresUnavailable."""
    if kind == "sqlite":
        yield Sqlite(folder / "bench.db")
        return
    with running_cluster() as cluster:
        yield Postgres(cluster)
