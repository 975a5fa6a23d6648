"""Counting the statements that a block of code sends to the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from homeserver.storage.unit import Database


@contextmanager
def counted(store: Database) -> Iterator[list[str]]:
    """The texts of the statements executed in the block, `BEGIN` and `COMMIT` aside; an executemany is one."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    engines = {store.engines.writer.sync_engine, store.engines.reader.sync_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
