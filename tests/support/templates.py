"""Databases that are made once in a worker process and copied for each test: a copy is ten times as quick as making it.

What a fresh database becomes, and that every server makes its own, is tested in `tests/storage/test_migrations.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from homeserver.storage.engine import create_engine
from homeserver.storage.migrations import migrate
from tests.support.postgres import PostgresCluster
from tests.support.store import open_store


async def _tables(url: str) -> None:
    await (await open_store(url)).engine.dispose()


async def _migrated(url: str) -> None:
    engine = create_engine(url)
    await migrate(engine)
    await engine.dispose()


def _made(make: Callable[[str], Coroutine[Any, Any, None]], url: str) -> str:
    # In a thread of its own: fixtures of a session may be made while a test's loop runs.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make(url)).result()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables."""
    path = tmp_path_factory.mktemp("template") / "tables.db"
    _made(_tables, f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: PostgresCluster) -> str:
    """The URL of a PostgreSQL database with empty tables."""
    return _made(_tables, postgres_cluster.make_database())


@pytest.fixture(scope="session")
def sqlite_migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file as a server leaves it that has never served anybody."""
    path = tmp_path_factory.mktemp("template") / "migrated.db"
    _made(_migrated, f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_migrated(postgres_cluster: PostgresCluster) -> str:
    """The URL of a PostgreSQL database as a server leaves it that has never served anybody."""
    return _made(_migrated, postgres_cluster.make_database())
