"""Applies revisions with Alembic. Imported only when the schema is not the newest: Alembic costs memory and time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

FOLDER = Path(__file__).parent


def scripts(connection: Connection | None = None) -> tuple[Config, ScriptDirectory]:
    """Alembic's view of our revisions."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config, ScriptDirectory.from_config(config)


def is_known(revision: str) -> bool:
    """Whether this release has the revision."""
    return revision in {known.revision for known in scripts()[1].walk_revisions()}


def to_newest(connection: Connection) -> None:
    """Apply what is missing."""
    command.upgrade(scripts(connection)[0], "head")
