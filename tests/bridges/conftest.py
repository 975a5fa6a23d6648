"""Servers that the tests of bridges share."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import unavailable
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    """One PostgreSQL with logical decoding for this worker process."""
    try:
        with running_cluster(
            {"wal_level": "logical", "max_replication_slots": "30", "max_prepared_transactions": "5"}
        ) as running:
            yield running
    except PostgresUnavailable as reason:
        unavailable(str(reason))


# pymongo forgets the socket that it is connecting when its client is closed (it catches errors there, not that its task
# is cancelled). Whichever test runs when the garbage is collected would be blamed.
_FORGOTTEN = "unclosed <socket.socket"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test of this folder fail for such a socket."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{_FORGOTTEN}:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def forgotten_sockets() -> Iterator[None]:
    """Leave none to the tests that come after these."""
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _FORGOTTEN, ResourceWarning)
        gc.collect()
