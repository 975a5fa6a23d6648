"""SQL for `ports.reports`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from homeserver.ports.reports import FiledReport, Report, ReportRepo, ReportSearch
from homeserver.storage.dialect import Connection, Fragment, Sql, is_storable
from homeserver.storage.repos.columns import Columns

_REPORTS = Columns(Report)

_ADD = Sql(f"INSERT INTO reports ({_REPORTS.names}) VALUES ({_REPORTS.parameters})")
_NEWEST = Sql(f"SELECT {_REPORTS.names} FROM reports ORDER BY report_id DESC LIMIT :count")
_MATCHING = """FROM reports WHERE {has_reporter} AND {has_room} AND (event_id IS NOT NULL OR NOT :events_only) """
_CONTAINS = {
    "has_reporter": Fragment("instr(reporter, :reporter) > 0", "strpos(reporter, :reporter) > 0"),
    "has_room": Fragment("instr(coalesce(room_id, ''), :room_id) > 0", "strpos(coalesce(room_id, ''), :room_id) > 0"),
}
_PAGES = {
    oldest_first: Sql(
        f"SELECT report_id, {_REPORTS.names} {_MATCHING}ORDER BY report_id {way} LIMIT :count OFFSET :skip", **_CONTAINS
    )
    for oldest_first, way in ((False, "DESC"), (True, "ASC"))
}
_COUNT = Sql(f"SELECT count(*) {_MATCHING}", **_CONTAINS)
_GET = Sql(f"SELECT report_id, {_REPORTS.names} FROM reports WHERE report_id = :report_id")
_DELETE = Sql("DELETE FROM reports WHERE report_id = :report_id")
_PRUNE = Sql(
    "DELETE FROM reports WHERE report_id IN (SELECT report_id FROM reports WHERE ts < :before_ms LIMIT :count)"
)


class SqlReportRepo(ReportRepo):
    """Implements `ports.reports.ReportRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, report: Report) -> None:
        await _ADD.run(self._connection, **asdict(report))

    async def newest(self, limit: int) -> list[Report]:
        return [_REPORTS.record(row) for row in await _NEWEST.rows(self._connection, count=limit)]

    async def page(self, search: ReportSearch, offset: int, limit: int) -> list[FiledReport]:
        if not (is_storable(search.reporter) and is_storable(search.room_id)):
            return []
        page = _PAGES[search.oldest_first]
        rows = await page.rows(self._connection, count=limit, skip=offset, **_parameters(search))
        return [_filed(row) for row in rows]

    async def count(self, search: ReportSearch) -> int:
        if not (is_storable(search.reporter) and is_storable(search.room_id)):
            return 0
        return int((await _COUNT.first(self._connection, **_parameters(search)))[0])

    async def get(self, report_id: int) -> FiledReport | None:
        row = await _GET.first(self._connection, report_id=report_id)
        return None if row is None else _filed(row)

    async def delete(self, report_id: int) -> bool:
        return await _DELETE.run(self._connection, report_id=report_id) == 1

    async def prune(self, before_ms: int, limit: int) -> int:
        return await _PRUNE.run(self._connection, before_ms=before_ms, count=limit)


def _parameters(search: ReportSearch) -> dict[str, Any]:
    return {"reporter": search.reporter, "room_id": search.room_id, "events_only": search.events_only}


def _filed(row: Any) -> FiledReport:
    return FiledReport(int(row[0]), _REPORTS.record(row[1:]))
