"""SQL for `ports.reports`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from homeserver.ports.reports import Report
from homeserver.storage.dialect import Connection, Sql
from homeserver.storage.repos.columns import Columns

if TYPE_CHECKING:
    from homeserver.ports.reports import ReportRepo

_REPORTS = Columns(Report)

_ADD = Sql(f"INSERT INTO reports ({_REPORTS.names}) VALUES ({_REPORTS.parameters})")
_NEWEST = Sql(f"SELECT {_REPORTS.names} FROM reports ORDER BY report_id DESC LIMIT :count")
_PRUNE = Sql(
    "DELETE FROM reports WHERE report_id IN (SELECT report_id FROM reports WHERE ts < :before_ms LIMIT :count)"
)


class SqlReportRepo:
    """Implements `ports.reports.ReportRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, report: Report) -> None:
        """See the port."""
        await _ADD.run(self._connection, **asdict(report))

    async def newest(self, limit: int) -> list[Report]:
        """See the port."""
        return [_REPORTS.record(row) for row in await _NEWEST.rows(self._connection, count=limit)]

    async def prune(self, before_ms: int, limit: int) -> int:
        """See the port."""
        return await _PRUNE.run(self._connection, before_ms=before_ms, count=limit)


if TYPE_CHECKING:

    def _is_the_port(repo: SqlReportRepo) -> ReportRepo:
        return repo
