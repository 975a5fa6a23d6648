"""Counting the statements that a block of code sends to the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from homeserver.storage.dialect import Rows, Sql
from homeserver.storage.postgres import PostgresConnection
from homeserver.storage.sqlite import SqliteConnection
from homeserver.storage.unit import Database


@contextmanager
def counted(store: Database) -> Iterator[list[str]]:
    """The texts of the statements executed in the block, `BEGIN` and `COMMIT` aside; an executemany is one."""
    statements: list[str] = []

    def noting(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def noted(connection: object, statement: Sql | Rows, values: object) -> Any:
            statements.append(statement.sqlite)
            return await method(connection, statement, values)

        return noted

    kind = SqliteConnection if store.engine.is_sqlite else PostgresConnection
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fetch", "execute", "execute_many", "execute_rows"):
            patch.setattr(kind, name, noting(getattr(kind, name)))
        yield statements
