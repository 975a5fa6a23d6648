"""Options and fixtures of the chaos tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.chaos.target import Target
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import StartServer, unavailable
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster

MakeTarget = Callable[..., Target]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `chaos_seed` runs once with each seed that was asked for."""
    if "chaos_seed" in metafunc.fixturenames:
        first = int(metafunc.config.getoption("--chaos-seed"))
        count = int(metafunc.config.getoption("--chaos-seeds"))
        metafunc.parametrize("chaos_seed", range(first, first + count))


@pytest.fixture
def own_cluster() -> Iterator[PostgresCluster]:
    """A PostgreSQL that may be killed without disturbing other tests."""
    try:
        with running_cluster() as cluster:
            yield cluster
    except PostgresUnavailable as reason:
        unavailable(str(reason))


@pytest.fixture
def make_target(start_server: StartServer, request: pytest.FixtureRequest) -> Iterator[MakeTarget]:
    """`make_target("postgres")`: a server behind a proxy, and behind it another one and a cluster of its own."""
    with ExitStack() as stack:

        def make(database: str, cluster: PostgresCluster | None = None) -> Target:
            back = None
            options: dict[str, object] = {}
            if database == "postgres":
                cluster = cluster or request.getfixturevalue("own_cluster")
                back = stack.enter_context(FaultProxy.running(cluster.port))
                name = cluster.make_database().rsplit("/", 1)[-1]
                options["database_url"] = cluster.url(name, back.port)
            server = start_server(database, **options)
            front = stack.enter_context(FaultProxy.running(urlsplit(server.url).port or 0))
            return Target(server, front, cluster, back)

        yield make
