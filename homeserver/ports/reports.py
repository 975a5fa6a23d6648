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


class ReportRepo(Protocol):
    """Reports, kept for their time."""

    async def add(self, report: Report) -> None:
        """Store a report."""
        ...

    async def newest(self, limit: int) -> list[Report]:
        """The newest reports, newest first."""
        ...

    async def prune(self, before_ms: int, limit: int) -> int:
        """Forget at most `limit` reports older than a time; returns how many."""
        ...
