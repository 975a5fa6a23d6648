"""SQL for `ports.reports`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from homeserver.ports.reports import Report
from homeserver.storage.schema.reports import reports

if TYPE_CHECKING:
    from homeserver.ports.reports import ReportRepo


class SqlReportRepo:
    """Implements `ports.reports.ReportRepo`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, report: Report) -> None:
        """See the port."""
        await self._connection.execute(insert(reports).values(**asdict(report)))

    async def newest(self, limit: int) -> list[Report]:
        """See the port."""
        query = select(reports).order_by(reports.c.report_id.desc()).limit(limit)
        return [Report(*row[1:]) for row in await self._connection.execute(query)]

    async def prune(self, before_ms: int, limit: int) -> int:
        """See the port."""
        old = select(reports.c.report_id).where(reports.c.ts < before_ms).limit(limit)
        return (await self._connection.execute(delete(reports).where(reports.c.report_id.in_(old)))).rowcount


if TYPE_CHECKING:

    def _is_the_port(repo: SqlReportRepo) -> ReportRepo:
        return repo
