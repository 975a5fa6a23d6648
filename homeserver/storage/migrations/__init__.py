"""Schema versions: brought up to date at start, in one transaction; a newer schema is refused.

`versions/` holds one Alembic revision per step. Until the first release `draft` writes the initial one anew from the
schema modules; after it, revisions are only added.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from homeserver.storage.engine import WRITE_OPTION, Engines

FOLDER = Path(__file__).parent
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
            return await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> str:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    newest = script.get_current_head()
    assert newest is not None  # noqa: S101 - narrows the type; there is an initial revision
    current = MigrationContext.configure(connection).get_current_revision()
    if current not in {None, *(revision.revision for revision in script.walk_revisions())}:
        raise SchemaTooNew(
            f"The database has schema {current}; this release knows schemas up to {newest}. "
            "It was last used by a newer release: install that one, or restore a backup from before it."
        )
    if current != newest:
        command.upgrade(config, "head")
    return newest
