"""What users report to the administrators of their server.  spec: client-server-api#reporting-content"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Report:
    """One report: of a user, of a room, or of an event in a room."""

    ts: int
    reporter: str
    user_id: str | None
    room_id: str | None
    event_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class FiledReport:
    """A report as it is kept."""

    report_id: int
    report: Report


@dataclass(frozen=True, slots=True)
class ReportSearch:
    """Which reports; empty strings do not restrict."""

    reporter: str = ""
    """Part of the reporter's user id."""
    room_id: str = ""
    """Part of the room's id."""
    events_only: bool = False
    """Leave out reports of users, and of rooms as a whole."""
    oldest_first: bool = False


class ReportRepo(Protocol):
    """Reports, kept for their time."""

    async def add(self, report: Report) -> None:
        """Store a report."""
        ...

    async def newest(self, limit: int) -> list[Report]:
        """The newest reports, newest first."""
        ...

    async def page(self, search: ReportSearch, offset: int, limit: int) -> list[FiledReport]:
        """A page of reports."""
        ...

    async def count(self, search: ReportSearch) -> int:
        """How many reports a search finds."""
        ...

    async def get(self, report_id: int) -> FiledReport | None:
        """One report."""
        ...

    async def delete(self, report_id: int) -> bool:
        """Delete a report; False if there is none."""
        ...

    async def prune(self, before_ms: int, limit: int) -> int:
        """Forget at most `limit` reports older than a time; returns how many."""
        ...
