"""The fixtures that every kind of test shares: databases, servers and clients.

Everything that speaks to a database runs on SQLite and on PostgreSQL. A server is shared by all tests of a worker
process, so tests make their own users and rooms and never count what others made.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.client import Client
from tests.support.mariadb import MariaDb, MariaDbUnavailable, running_mariadb
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster
from tests.support.server import Server, ServerOptions

DATABASES = ("sqlite", "postgres")

MakeDatabase = Callable[[str], str | None]
StartServer = Callable[..., Server]
MakeUser = Callable[..., Awaitable[Client]]


def unavailable(reason: str) -> None:
    """Skip for want of software on this machine; in continuous integration nothing may be wanting."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One PostgreSQL for this worker process."""
    try:
        with running_cluster() as cluster:
            yield cluster
    except PostgresUnavailable as reason:
        unavailable(str(reason))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """One MariaDB for this worker process."""
    try:
        with running_mariadb() as server:
            yield server
    except MariaDbUnavailable as reason:
        unavailable(str(reason))


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, empty database: once SQLite, once PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'homeserver.db'}"
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    url = cluster.make_database()
    yield url
    cluster.drop_database(url)


@pytest.fixture(scope="session", params=DATABASES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with open registration and no rate limits, shared by the tests of this worker process."""
    url = None
    if request.param == "postgres":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        url = cluster.make_database(request.getfixturevalue("postgres_migrated"))
    running = Server(tmp_path_factory.mktemp("server") / "data", ServerOptions(database_url=url))
    if url is None:
        running.begin_with(request.getfixturevalue("sqlite_migrated"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database a test with its own server runs on: `sqlite`, then `postgres`."""
    return str(request.param)


@pytest.fixture
def start_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartServer]:
    """Start a server of one's own: `start_server("postgres", registration="closed")`."""
    started: list[Server] = []
    numbers = itertools.count(1)

    def start(database: str = "sqlite", **options: object) -> Server:
        if database == "postgres" and "database_url" not in options:
            cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
            options["database_url"] = cluster.make_database(request.getfixturevalue("postgres_migrated"))
        own = Server(tmp_path / f"server{next(numbers)}", ServerOptions(**options))  # type: ignore[arg-type]
        started.append(own)
        if database == "sqlite" and "database_url" not in options:
            own.begin_with(request.getfixturevalue("sqlite_migrated"))
        own.start()
        return own

    yield start
    for own in started:
        own.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections of one test."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


@pytest.fixture
def anonymous(server: Server, http: aiohttp.ClientSession) -> Client:
    """Somebody without an account on the shared server."""
    server.assert_alive()
    return Client(http, server.url)


@pytest.fixture
def make_user(server: Server, http: aiohttp.ClientSession) -> MakeUser:
    """Register a fresh user on the shared server: `await make_user("alice")`."""

    async def make(name: str = "user", **more: object) -> Client:
        return await Client(http, server.url).register(fresh(name), **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
async def alice(make_user: MakeUser) -> Client:
    """A fresh user."""
    return await make_user("alice")


@pytest.fixture
async def bob(make_user: MakeUser) -> Client:
    """Another fresh user."""
    return await make_user("bob")


@pytest.fixture
async def carol(make_user: MakeUser) -> Client:
    """A third fresh user."""
    return await make_user("carol")


def fresh(name: str) -> str:
    """`name` made unique: the shared server remembers every test's names."""
    return f"{name}-{uuid.uuid4().hex[:12]}"
