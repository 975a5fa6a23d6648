"""Ways of capture against what loses rows elsewhere: late commits, ties, lost acknowledgements, writes that come twice.

No homeserver: what would be sent is read in the bridge's state.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from bridges import metrics
from bridges.matrix import Homeserver
from bridges.sources import Batch, SourceUnavailable, clocks, polling
from bridges.sources.clocks import DatabaseClock
from bridges.sources.postgres import PostgresSource
from bridges.state import Made, RoomRow, State, StateInUse, Stored
from bridges.writeback import Writeback
from tests.bridges.bench import BINLOG, HORIZON, LOGICAL, OUTBOX, OVERLAP, Bench, make_bench
from tests.support.mariadb import MariaDb
from tests.support.postgres import PostgresCluster

WAYS = [
    ("postgresql", OVERLAP),
    ("postgresql", HORIZON),
    ("postgresql", OUTBOX),
    ("postgresql", LOGICAL),
    ("mysql", OVERLAP),
    ("mysql", OUTBOX),
    ("mysql", BINLOG),
]


@pytest.fixture(params=WAYS, ids=[f"{driver}-{capture.split(chr(34))[1]}" for driver, capture in WAYS])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """One for each way of capture."""
    driver, capture = request.param
    made = make_bench(request, tmp_path, monkeypatch, driver, capture)
    await made.drain()
    yield made
    await made.close()


async def test_a_row_that_commits_late_is_not_passed_over(bench: Bench) -> None:
    async with bench.session() as early, bench.session() as late, bench.session() as lost:
        await late("BEGIN")
        await late("INSERT INTO rows_ (id, state) VALUES (1, 'late')")
        await lost("BEGIN")
        await lost("INSERT INTO rows_ (id, state) VALUES (3, 'never')")
        await early("INSERT INTO rows_ (id, state) VALUES (2, 'early')")
        await bench.drain()
        await late("COMMIT")
        await lost("ROLLBACK")
        await bench.drain()
    await bench.drain()
    assert (bench.told(1), bench.told(2), bench.told(3)) == (["late"], ["early"], [])


async def test_what_goes_back_to_what_it_was_is_told(bench: Bench) -> None:
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await bench.drain()
        for state in ("b", "a", "b"):
            await run(f"UPDATE rows_ SET state = '{state}', at = current_timestamp WHERE id = 1")
            await bench.drain()
    assert bench.told(1) == ["a", "a -> b", "b -> a", "a -> b"]


def _is_polled(bench: Bench) -> bool:
    return bench.config.mapping["rows"].capture.mode in ("overlap", "horizon")


async def test_keys_that_change_and_rows_that_come_again(bench: Bench) -> None:
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'b')")
        await bench.drain()
        await run("UPDATE rows_ SET id = 3, at = current_timestamp WHERE id = 1")
        await run("DELETE FROM rows_ WHERE id = 2")
        await run("INSERT INTO rows_ (id, state) VALUES (2, 'c')")
        await bench.drain()
    if _is_polled(bench):
        assert [bench.told(row) for row in (1, 2, 3)] == [["a"], ["b", "b -> c"], ["a"]]
        bench.state.note("rows", reconcile_due="0")
        await bench.drain()
        assert [bench.told(row) for row in (1, 2, 3)] == [["a", "gone"], ["b", "b -> c"], ["a"]]
    else:
        assert [bench.told(row) for row in (1, 2, 3)] == [["a", "gone"], ["b", "gone", "c"], ["a"]]


async def test_columns_that_come_and_go(bench: Bench) -> None:
    wider = "ALTER state TYPE varchar(90)" if bench.url.startswith("postgres") else "MODIFY state varchar(90)"
    changes = ["ADD COLUMN extra varchar(9) NOT NULL DEFAULT 'x'", "DROP COLUMN extra", wider]
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, '0')")
        await bench.drain()
        for state, change in enumerate(changes, 1):
            await run(f"ALTER TABLE rows_ {change}")
            await run(f"UPDATE rows_ SET state = '{state}', at = current_timestamp")
            if _is_polled(bench):
                await bench.drain()
    await bench.drain()
    assert bench.told(1) == ["0", "0 -> 1", "1 -> 2", "2 -> 3"]


async def test_a_lost_acknowledgement_doubles_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_batch: Batch) -> None:
        raise SourceUnavailable("the connection was cut")

    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'b')")
        monkeypatch.setattr(bench.capture._feed, "acknowledge", away)
        try:
            await bench.drain()
        except SourceUnavailable:
            await bench.restart()
        await run("UPDATE rows_ SET state = 'c', at = current_timestamp WHERE id = 1")
        await bench.drain()
        await bench.restart()
        await bench.drain()
    assert (bench.told(1), bench.told(2)) == (["a", "a -> c"], ["b"])


async def test_a_slot_that_was_set_back_is_caught_up_with(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a PostgreSQL that was killed does it, with more in its log than is read at once."""

    async def forgotten(_batch: Batch) -> None:
        pass

    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", '{ mode = "logical", batch = 5 }')
    await bench.drain()
    monkeypatch.setattr(bench.capture._feed, "acknowledge", forgotten)
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, '0')")
        for state in range(1, 30):
            await run(f"UPDATE rows_ SET state = '{state}' WHERE id = 1")
        for _ in range(200):
            if not await bench.capture.step():
                break
    assert bench.told(1) == ["0", *(f"{state - 1} -> {state}" for state in range(1, 30))]
    await bench.close()


async def test_a_slot_whose_log_the_server_gave_up_makes_a_scan(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: PostgresCluster
) -> None:
    """`max_slot_wal_keep_size` is what keeps a disk from being filled by a bridge that is away."""
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", LOGICAL)
    database = bench.url.rsplit("/", 1)[-1]
    status = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'slot_{database}'"
    notices = list[str]()

    def give_up() -> None:
        for _ in range(8):
            cluster.sql("SELECT pg_logical_emit_message(false, '', ''); SELECT pg_switch_wal()")
            cluster.sql("CHECKPOINT")
            if cluster.sql(status) == "lost":
                return
        raise AssertionError("the server keeps it all")

    cluster.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    cluster.sql("SELECT pg_reload_conf()")
    try:
        await bench.drain()
        async with bench.session() as run:
            await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'x')")
            await bench.drain()
            for before, after in (("a", "b"), ("b", "c")):  # running, and while it was away
                bench.capture.notify = lambda _mapping, text: notices.append(text)
                await run(f"UPDATE rows_ SET state = '{after}' WHERE id = 1")
                await run("DELETE FROM rows_ WHERE id = 2")
                give_up()
                await bench.drain()
                assert bench.told(1)[-1] == f"{before} -> {after}"
                await bench.restart()
            await run("UPDATE rows_ SET state = 'd' WHERE id = 1")
        await bench.drain()
    finally:
        cluster.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
        cluster.sql("SELECT pg_reload_conf()")
    assert (bench.told(1), bench.told(2)) == (["a", "a -> b", "b -> c", "c -> d"], ["x", "gone"])
    gone = re.compile("log of slot .* is gone.*the table is compared", re.DOTALL)
    assert [bool(gone.search(text)) for text in notices] == [True, True]
    assert cluster.sql(status) in ("reserved", "extended")
    await bench.close()


async def test_a_connection_that_is_out_of_step_is_used_no_more(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is killed says why when nothing was asked; asyncpg raises what is no other error of its own."""
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", OUTBOX)
    await bench.drain()
    source = bench.capture._source
    assert isinstance(source, PostgresSource)
    (before,) = await source.fetch_all("SELECT pg_backend_pid()")
    with pytest.raises(SourceUnavailable):
        async with source.connection():
            raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    assert await source.fetch_all("SELECT pg_backend_pid()") != [before]
    await bench.close()


@pytest.mark.parametrize("driver", ["postgresql", "mysql"])
@pytest.mark.parametrize("remembers", [True, False])
async def test_a_write_whose_answer_was_lost_is_applied_once(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mariadb: MariaDb,
    driver: str,
    remembers: bool,
) -> None:
    bench = make_bench(request, tmp_path, monkeypatch, driver, OUTBOX)
    room = RoomRow("rows:[1]", "_db_rows_1", "", "")
    async with bench.session() as run:
        if remembers:
            await run("CREATE TABLE bridge_applied (event_id varchar(255) PRIMARY KEY)")
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await bench.drain()
        bench.state.store("rows", Stored(rooms={room.lane: room}))
        bench.state.made_room(room.lane, "!room")
        writeback = Writeback(bench.config, bench.state, Homeserver("", "", ""), {"shop": bench.source})
        event = {"event_id": "$1", "room_id": "!room", "type": "m.room.message", "content": {"body": "!set b"}}
        first = await writeback.handle(event, "@anna:hromada.test")
        again = await writeback.handle(event, "@anna:hromada.test")
        assert first == again, "the second answer is the same delivery"
        assert first[0] == "applied"
        other = await writeback.handle({**event, "event_id": "$2"}, "@anna:hromada.test")
        assert other[0] == "applied", "the row is as it was wanted"
        await run("UPDATE rows_ SET state = 'c'")
        third = await writeback.handle(event, "@anna:hromada.test")
        assert third[0] == ("applied" if remembers else "refused")
        refused = {**event, "event_id": "$3"}
        assert [(await writeback.handle(refused, "@anna:hromada.test"))[0] for _ in range(2)] == ["refused"] * 2
        await bench.drain()
    assert bench.told(1) == ["a", "b -> c"]
    await bench.close()


async def test_latest_tells_what_waits_together_as_one(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", OUTBOX, 'deliver = "latest"')
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await bench.drain()
        for state in "bcd":
            await run(f"UPDATE rows_ SET state = '{state}' WHERE id = 1")
        await run("INSERT INTO rows_ (id, state) VALUES (2, 'x')")
        await run("DELETE FROM rows_ WHERE id = 2")
        await bench.drain()
    assert (bench.told(1), bench.told(2)) == (["a", "a -> d"], [])
    await bench.close()


async def test_a_full_queue_leaves_the_rest_at_the_source(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", '{ mode = "outbox", batch = 5 }')
    monkeypatch.setattr(bench.capture, "_most", 10)
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) SELECT n, 'x' FROM generate_series(1, 100) n")
        await bench.drain()
        assert bench.state.waiting() == 10
        monkeypatch.setattr(bench.capture, "_read_at", bench.capture._read_at - 10_000)
        await bench.step()
        assert _lag() > 10_000
        firsts = [bench.state.heads(f"rows:[{row}]", 1)[0] for row in range(1, 6)]
        bench.state.settle_made([Made(delivery, None, keep=False) for delivery in firsts])
        await bench.drain()
        assert bench.state.waiting() == 15
        monkeypatch.setattr(bench.capture, "_most", 10_000)
        await bench.drain()
        assert bench.state.waiting() == 195, "each row has a room and a message; five are made"
        assert _lag() == 0, "nothing came since"
    await bench.close()


def _lag() -> float:
    return metrics.REGISTRY.get_sample_value("bridge_lag_seconds", {"mapping": "rows"}) or 0


async def test_a_row_that_cannot_be_told_stops_the_mapping(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = 'on_error = "stop"\nexternal_url = "{{ state.a.b }}"'
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", OUTBOX, more)
    notices = list[str]()
    bench.capture.notify = lambda _mapping, text: notices.append(text)
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await bench.drain()
        await run("INSERT INTO rows_ (id, state) VALUES (2, 'b')")
        await bench.drain()
        assert (await bench.source.count("rows"), len(bench.state.troubles()), len(notices)) == (2, 1, 1)
        assert bench.state.progress("rows")["paused"].startswith("a row cannot be told: BadTemplate")
        bench.state.note("rows", paused=None)
        await bench.drain()
        assert len(bench.state.troubles()) == 2, "the second one was kept"
    await bench.close()


async def test_who_took_the_state_over_is_the_one(tmp_path: Path) -> None:
    old = State(tmp_path / "state.db")
    (tmp_path / "state.db.lock").unlink()  # a lock that does not hold
    new = State(tmp_path / "state.db")
    with pytest.raises(StateInUse):
        old.store("rows", Stored(progress={"position": "1"}))
    new.store("rows", Stored(progress={"position": "2"}))
    await asyncio.sleep(0)
    assert new.progress("rows") == {"position": "2"}
    old.close()
    new.close()


POLLED = [one for one in WAYS if one[1] in (OVERLAP, HORIZON)]


@pytest.mark.parametrize(("driver", "capture"), POLLED, ids=[f"{d}-{c.split(chr(34))[1]}" for d, c in POLLED])
async def test_a_clock_that_was_set_back_hides_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, capture: str
) -> None:
    bench = make_bench(request, tmp_path, monkeypatch, driver, capture)
    sign = "$1::text::timestamptz + interval '1 hour'" if driver == "postgresql" else "%s + INTERVAL 1 HOUR"
    earlier = "now() - interval '10 minutes'" if driver == "postgresql" else "now() - INTERVAL 10 MINUTE"
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await bench.drain()
        await run("UPDATE rows_ SET state = 'b', at = current_timestamp WHERE id = 1")
        await bench.drain()
        place = json.loads(bench.state.progress("rows")["position"])
        # Until then the clock was an hour fast.
        rows = await bench.source.fetch_all(f"SELECT CAST({sign} AS CHAR(40))", place["newest"])  # type: ignore[attr-defined] # as below
        place = {"newest": rows[0][0].strip(), "clock": place["clock"] + 3600}
        bench.state.note("rows", position=json.dumps(place))
        await bench.restart()
        await run(f"INSERT INTO rows_ (id, state, at) VALUES (2, 'while away', {earlier})")
        await bench.drain()
        await run("INSERT INTO rows_ (id, state) VALUES (3, 'later')")
        await bench.drain()
    assert [bench.told(row) for row in (1, 2, 3)] == [["a -> b"], ["while away"], ["later"]]
    notes = bench.state.progress("rows")
    assert (notes["scans"], json.loads(notes["last_scan"])["kind"]) == ("2", "reconcile")
    assert json.loads(notes["position"])["newest"] < place["newest"]
    await bench.close()


@pytest.mark.parametrize("driver", ["postgresql", "mysql"])
async def test_times_of_another_zone_are_found(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    """As an application has it that writes local times."""
    bench = make_bench(request, tmp_path, monkeypatch, driver, OVERLAP)
    there = "now() - interval '5 hours'" if driver == "postgresql" else "now() - INTERVAL 5 HOUR"
    async with bench.session() as run:
        await run(f"INSERT INTO rows_ (id, state, at) VALUES (1, 'a', {there})")
        await bench.drain()
        await run(f"UPDATE rows_ SET state = 'b', at = {there} WHERE id = 1")
        await run(f"INSERT INTO rows_ (id, state, at) VALUES (2, 'x', {there})")
        await bench.drain()
    assert (bench.told(1), bench.told(2)) == (["a -> b"], ["x"])
    await bench.close()


async def test_a_prepared_transaction_is_not_passed_over(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows have the time of its beginning, which the server tells nobody."""
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", HORIZON)
    monkeypatch.setattr(polling, "_STEP_S", 0)
    await bench.drain()
    async with bench.session() as early, bench.session() as late:
        await late("BEGIN")
        await late("INSERT INTO rows_ (id, state) VALUES (1, 'late')")
        await late("PREPARE TRANSACTION 'late'")
        await early("INSERT INTO rows_ (id, state) VALUES (2, 'early')")
        await bench.drain()
        assert bench.told(2) == ["early"]
        await bench.restart()
        await bench.drain()
        await early("COMMIT PREPARED 'late'")
        await bench.drain()
        await early("UPDATE rows_ SET state = 'b', at = now()")
        await bench.drain()
    assert (bench.told(1), bench.told(2)) == (["late", "late -> b"], ["early", "early -> b"])
    await bench.close()


def test_how_a_clock_is_seen_to_be_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = 1000.0
    monkeypatch.setattr(clocks.time, "monotonic", lambda: ours)
    clock = DatabaseClock(60)
    assert clock.is_set_back(5000, ours, None) is False, "nothing is known of it"
    for passed, shown, noticed in (
        (1, 5001, False),
        (2, 4000, False),  # what is younger than a minute is read again anyway
        (100, 4100, False),
        (100, 4200, False),
        (100, 4270, True),  # half a minute is missing
        (3600, 7868, False),  # the clock is only slow
        (3600, 11400, True),
    ):
        ours += passed
        assert clock.is_set_back(shown, ours, None) is noticed, shown
    assert DatabaseClock(60).is_set_back(5000, ours, 5000.2) is False
    assert DatabaseClock(60).is_set_back(5000, ours, 5001) is True


@pytest.mark.parametrize("driver", ["postgresql", "mysql"])
async def test_what_is_asked_for_by_time_alone_is_lost(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    """The query that everybody writes first loses what the ways above do not: these tests would notice."""
    bench = make_bench(request, tmp_path, monkeypatch, driver, OVERLAP)
    told, newest = [], "1970-01-01 00:00:01"

    async def ask() -> str:
        sign = "$1::text::timestamptz" if driver == "postgresql" else "%s"
        rows = await bench.source.fetch_all(  # type: ignore[attr-defined] # of both kinds of tables
            f"SELECT id, at FROM rows_ WHERE at > {sign} ORDER BY at", newest
        )
        told.extend(row[0] for row in rows)
        return str(rows[-1][1]) if rows else newest

    async with bench.session() as early, bench.session() as late:
        await late("BEGIN")
        await late("INSERT INTO rows_ (id, state) VALUES (1, 'late')")
        await early("INSERT INTO rows_ (id, state) VALUES (2, 'early')")
        newest = await ask()
        await late("COMMIT")
        newest = await ask()
    assert told == [2]
    await bench.close()
