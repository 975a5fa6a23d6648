"""Schema versions: brought up to date at start, in one transaction; a newer schema is refused.

`versions/` holds one Alembic revision per step. Until the first release `draft` writes the initial one anew from the
schema modules; after it, revisions are only added.
"""

from __future__ import annotations

from importlib import import_module

from homeserver.storage.dialect import Connection, Fragment, Sql
from homeserver.storage.engine import Engine

NEWEST = "0001.9995"
"""The newest revision in `versions/`; a test holds the two together. Before the first release: that of the draft."""

_HAS_TABLE = Sql(
    "SELECT 1 FROM {tables} = 'alembic_version'",
    tables=Fragment("sqlite_master WHERE name", "pg_tables WHERE schemaname = current_schema() AND tablename"),
)
_REVISION = Sql("SELECT version_num FROM alembic_version")


class UnknownSchema(Exception):
    """The database was written by a release that put things where this one would not look."""


async def migrate(engine: Engine) -> str:
    """Bring the schema to the newest revision this release knows; returns it.

    Safe to call from several processes at once. Raises UnknownSchema, and whatever the database raises: then nothing
    has changed.
    """
    async with engine.read() as connection:
        current = await revision(connection)
    if current == NEWEST:
        return NEWEST
    upgrade = import_module("homeserver.storage.migrations.upgrade")
    if current is not None and not upgrade.is_known(current):
        raise UnknownSchema(_refusal(current))
    await upgrade.to_newest(engine.url)
    return NEWEST


async def revision(connection: Connection) -> str | None:
    """The revision of the database; None if it is empty."""
    if await _HAS_TABLE.first(connection) is None:
        return None
    row = await _REVISION.first(connection)
    return None if row is None else row[0]


def _refusal(current: str) -> str:
    if current < NEWEST:
        return (
            f"The database has schema {current}, of a development version; this one knows {NEWEST}. "
            "Before the first release nothing carries data over: start with an empty database."
        )
    return (
        f"The database has schema {current}; this release knows schemas up to {NEWEST}. "
        "It was last used by a newer release: install that one, or restore a backup from before it."
    )
