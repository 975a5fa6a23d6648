"""What a database of tables offers to the ways of capture."""

from __future__ import annotations

from typing import Any, Protocol

from bridges.config import TableMapping
from bridges.sources.statements import Dialect


class Tables(Protocol):
    """PostgreSQL, or MySQL and MariaDB. Every request raises SourceUnavailable if it is not answered."""

    dialect: Dialect

    def mapping(self, name: str) -> TableMapping:
        """A mapping of the source."""

    def split(self, table: str) -> tuple[str | None, str]:
        """Schema (None for the connection's own) and table."""

    async def columns(self, table: str) -> dict[str, str]:
        """Column → type, empty if there is no such table."""

    async def types(self, table: str, *needed: str) -> dict[str, str]:
        """The same, remembered until one that is needed lacks."""

    def forget(self, table: str) -> None:
        """The table may be another one now."""

    async def fetch_all(self, statement: str, *values: Any) -> list[Any]:
        """All rows of a statement."""

    async def now(self, type_name: str) -> str:
        """The time at the database."""

    async def quiet(self, name: str) -> bool:
        """Whether nothing was written since this was asked for that mapping."""
