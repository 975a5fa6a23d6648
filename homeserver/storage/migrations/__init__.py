"""Schema versions: brought up to date at start, in one transaction; a newer schema is refused.

`versions/` holds one Alembic revision per step. Until the first release `draft` writes the initial one anew from the
schema modules; after it, revisions are only added.
"""

from __future__ import annotations

from importlib import import_module

from sqlalchemy import Connection, inspect, text

from homeserver import faults
from homeserver.storage.engine import WRITE_OPTION, Engines

NEWEST = "0001"
"""The newest revision in `versions/`; a test holds the two together."""

# Any constant will do, as long as every process uses the same.
_LOCK = 7_471_305_968


class SchemaTooNew(Exception):
    """The database was written by a newer release, which may have put things where this one would not look."""


async def migrate(engines: Engines) -> str:
    """Bring the schema to the newest revision this release knows; returns it.

    Safe to call from several processes at once. Raises SchemaTooNew, and whatever the database raises: then nothing
    has changed.
    """
    async with engines.writer.connect() as connection:
        await connection.execution_options(**{WRITE_OPTION: True})
        async with connection.begin():
            if not engines.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            await connection.run_sync(_upgrade)
    return NEWEST


def revision(connection: Connection) -> str | None:
    """The revision of the database; None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: Connection) -> None:
    current = revision(connection)
    if current == NEWEST:
        return
    upgrade = import_module("homeserver.storage.migrations.upgrade")
    if current is not None and not upgrade.is_known(current):
        raise SchemaTooNew(
            f"The database has schema {current}; this release knows schemas up to {NEWEST}. "
            "It was last used by a newer release: install that one, or restore a backup from before it."
        )
    if faults.plan is not None:
        faults.plan.touch("migrations.begin")
    upgrade.to_newest(connection)
    if faults.plan is not None:
        faults.plan.touch("migrations.done")
