"""Servers that the tests of bridges share."""

from __future__ import annotations

from collections.abc import Iterator

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
