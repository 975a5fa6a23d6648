"""Counting the statements that a block of code sends to the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
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

    kind = _kind(store)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fetch", "execute", "execute_many", "execute_rows"):
            patch.setattr(kind, name, noting(getattr(kind, name)))
        yield statements


@contextmanager
def prepared(store: Database) -> Iterator[set[str]]:
    """The texts of the statements that the block has the database know ahead."""
    statements: set[str] = set()
    kind = _kind(store)
    prepare = kind.prepare

    async def noted(connection: Any, wanted: Iterable[Sql]) -> None:
        statements.update(statement.sqlite for statement in wanted)
        await prepare(connection, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "prepare", noted)
        yield statements


def _kind(store: Database) -> type[SqliteConnection | PostgresConnection]:
    return SqliteConnection if store.engine.is_sqlite else PostgresConnection
