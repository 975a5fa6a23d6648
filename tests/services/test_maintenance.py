"""What has had its time is forgotten, and nothing before."""

from __future__ import annotations

from homeserver.ports.accounts import InteractiveSession, Session, User
from homeserver.ports.reports import Report
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
    maintenance = Maintenance(store, calendar, transaction_days=2, report_days=1)
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


async def test_expired_sign_ins_go_and_live_ones_stay(store: Database) -> None:
    calendar = Calendar()
    maintenance = Maintenance(store, calendar, transaction_days=2, report_days=1)
    now = calendar.now_ms()
    async with store.write() as tx:
        await tx.users.create(User(ALICE, now))
        for name, refreshable in (("DEAD", True), ("LIVE", True), ("PLAIN", False)):
            await tx.sessions.create(Session(name, ALICE, name, refreshable))
        await tx.sessions.issue("DEAD", 1, b"d1", expires_ms=now - 1, keep=5)
        await tx.sessions.issue("LIVE", 1, b"l1", expires_ms=now - 1, keep=5)
        await tx.sessions.issue("LIVE", 2, b"l2", expires_ms=now + 1, keep=5)
        await tx.sessions.add_login_token(b"good", ALICE, now + 1, 0)
        await tx.sessions.add_login_token(b"old", ALICE, now, 0)
    assert await maintenance.once() == 3  # two refresh tokens and a login token
    assert await maintenance.once() == 0
    async with store.write() as tx:
        assert await tx.sessions.existing(["DEAD", "LIVE", "PLAIN"]) == {"LIVE", "PLAIN"}
        assert await tx.sessions.by_refresh_token(b"l2", now) == ("LIVE", 2)
        assert await tx.sessions.take_login_token(b"good", now) == ALICE


async def test_many_rows_go_in_bounded_steps(store: Database) -> None:
    now = Calendar().now_ms()
    async with store.write() as tx:
        await tx.sessions.create(Session("S", ALICE, "D", True))
        for number in range(7):
            await tx.sessions.issue("S", number, bytes([number]), expires_ms=now - 1, keep=99)
            session = InteractiveSession(bytes([number]), "register", None, None, {}, False, now - number)
            await tx.interactive.create(session)
    for gone in (3, 3, 1):
        async with store.write() as tx:
            assert await tx.sessions.existing(["S"]) == {"S"}
            assert await tx.sessions.prune(now, 3) == gone
            assert len(await tx.interactive.purge(now, 100, limit=3)) == gone
    async with store.read() as tx:
        assert await tx.sessions.existing(["S"]) == set()


async def test_reports_are_kept_for_their_days(store: Database) -> None:
    calendar = Calendar()
    maintenance = Maintenance(store, calendar, transaction_days=2, report_days=10)
    async with store.write() as tx:
        await tx.reports.add(Report(calendar.now_ms(), ALICE, None, "!room", None, "old"))
    calendar.day += 10
    assert await maintenance.once() == 0
    async with store.write() as tx:
        await tx.reports.add(Report(calendar.now_ms(), ALICE, None, "!room", "$event", "new"))
    calendar.day += 1
    assert await maintenance.once() == 1
    async with store.read() as tx:
        assert [report.reason for report in await tx.reports.newest(10)] == ["new"]


async def test_other_services_bring_their_chores(store: Database) -> None:
    rounds = iter([1_000, 1_000, 7])

    async def chore() -> int:
        return next(rounds)

    maintenance = Maintenance(store, Calendar(), transaction_days=2, report_days=1, chores=[chore])
    assert await maintenance.once() == 2_007
