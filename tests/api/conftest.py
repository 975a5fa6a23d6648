"""Servers that several tests of the API share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fixtures import DATABASES
from tests.support.postgres import PostgresCluster
from tests.support.pushgateway import ENVIRONMENT
from tests.support.server import Server, ServerOptions


@pytest.fixture(scope="module", params=DATABASES)
def push_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks push gateways and push services on this machine."""
    url = None
    if request.param == "postgres":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        url = cluster.make_database()
    options = ServerOptions(database_url=url, environment=ENVIRONMENT)
    running = Server(tmp_path_factory.mktemp("server") / "data", options)
    running.start()
    yield running
    running.stop()
