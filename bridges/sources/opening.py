"""Which module speaks to which database."""

from __future__ import annotations

from bridges.config import Config
from bridges.sources import Source


def open_source(config: Config, name: str) -> Source:
    """The database of that name; it connects when it is needed. Raises ConfigError for want of a package."""
    driver = config.source[name].driver
    if driver == "postgresql":
        from bridges.sources.postgres import PostgresSource  # noqa: PLC0415 - only what is used is imported

        return PostgresSource(config, name)
    if driver == "mysql":
        from bridges.sources.mysql import MySQLSource  # noqa: PLC0415 - the same

        return MySQLSource(config, name)
    from bridges.sources.mongodb import MongoSource  # noqa: PLC0415 - the same

    return MongoSource(config, name)


def open_sources(config: Config) -> dict[str, Source]:
    """All databases of the configuration. Raises ConfigError."""
    return {name: open_source(config, name) for name in config.source}
