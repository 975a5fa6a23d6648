"""Transactions are forgotten after their days, and not before."""

from __future__ import annotations

from homeserver.services.maintenance import Maintenance
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, CountingEntropy, running_world

DAY_MS = 24 * 3600 * 1000


class Calendar:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.day = 20_000

    def now_ms(self) -> int:
        return self.day * DAY_MS + 5

    def monotonic(self) -> float:
        return 0.0


async def test_transactions_are_kept_for_their_days(store: Database) -> None:
    calendar = Calendar()
    maintenance = Maintenance(store, calendar, transaction_days=2)
    async with running_world(store) as world:
        room = await world.create(ALICE)
        first = await world.say(room, "one", txn="t1")
        assert await maintenance.once() == 0
        calendar.day += 1
        await world.say(room, "two", txn="t2")
        assert await maintenance.once() == 0
        calendar.day += 2
        assert await maintenance.once() == 1  # t1 stands before the second day's mark, t2 at it
    async with running_world(store, entropy=CountingEntropy("again")) as world:
        assert await world.say(room, "one", txn="t1") != first
