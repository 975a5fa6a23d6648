"""Reports, on both databases."""

from __future__ import annotations

from homeserver.ports.reports import Report
from homeserver.storage.unit import Database

ALICE = "@alice:hromada.test"


async def test_reports_are_read_newest_first_and_forgotten_in_steps(store: Database) -> None:
    reports = [
        Report(2**40, ALICE, "@mallory:else.where", None, None, "of a user"),
        Report(2**40 + 1, ALICE, None, "!room", None, "of a room"),
        Report(2**40 + 2, ALICE, None, "!room", "$event", ""),
    ]
    async with store.write() as tx:
        for report in reports:
            await tx.reports.add(report)
        assert await tx.reports.newest(9) == reports[::-1]
        assert await tx.reports.newest(1) == [reports[-1]]
        assert await tx.reports.prune(2**40 + 2, 1) == 1
        assert await tx.reports.prune(2**40 + 2, 9) == 1
        assert await tx.reports.newest(9) == [reports[-1]]
