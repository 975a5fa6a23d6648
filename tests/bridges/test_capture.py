"""Ways of capture against what loses rows elsewhere: late commits, ties, lost acknowledgements, writes that come twice.

No homeserver: what would be sent is read in the bridge's state.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from bridges.matrix import Homeserver
from bridges.sources import Batch, SourceUnavailable
from bridges.sources.postgres import PostgresSource
from bridges.state import Made, RoomRow, State, StateInUse, Stored
from bridges.writeback import Writeback
from tests.bridges.bench import BINLOG, HORIZON, LOGICAL, OUTBOX, OVERLAP, Bench, make_bench
from tests.support.fixtures import unavailable
from tests.support.mariadb import MariaDb
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster

WAYS = [
    ("postgresql", OVERLAP),
    ("postgresql", HORIZON),
    ("postgresql", OUTBOX),
    ("postgresql", LOGICAL),
    ("mysql", OVERLAP),
    ("mysql", OUTBOX),
    ("mysql", BINLOG),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    """A PostgreSQL with logical decoding."""
    try:
        with running_cluster({"wal_level": "logical", "max_replication_slots": "30"}) as running:
            yield running
    except PostgresUnavailable as reason:
        unavailable(str(reason))


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
        firsts = [bench.state.heads(f"rows:[{row}]", 1)[0] for row in range(1, 6)]
        bench.state.settle_made([Made(delivery, None, keep=False) for delivery in firsts])
        await bench.drain()
        assert bench.state.waiting() == 15
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


@pytest.mark.parametrize(("driver", "capture"), [("postgresql", OVERLAP), ("postgresql", HORIZON), ("mysql", OVERLAP)])
async def test_a_clock_that_was_set_back(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, capture: str
) -> None:
    """What was read last is of a time that is still to come."""
    bench = make_bench(request, tmp_path, monkeypatch, driver, capture)
    await bench.drain()
    ahead = "now() + interval '1 hour'" if driver == "postgresql" else "now() + interval 1 hour"
    async with bench.session() as run:
        await run(f"INSERT INTO rows_ (id, state, at) VALUES (1, 'of the future', {ahead})")
        await bench.drain()
        rows = await bench.source.fetch_all(f"SELECT {ahead}")  # type: ignore[attr-defined]
        bench.state.note("rows", position=json.dumps({"newest": str(rows[0][0])}))
        await run("INSERT INTO rows_ (id, state) VALUES (2, 'of now')")
    await bench.drain()
    assert bench.told(2) == ["of now"]
    await bench.close()


async def test_a_slot_that_was_lost(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: PostgresCluster
) -> None:
    """The server has thrown the log away to save its disk: the table is compared, and nothing is passed over."""
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", LOGICAL)
    gaps: list[str] = []
    bench.capture.notify = lambda _mapping, text: gaps.append(text)
    await bench.drain()
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        await bench.drain()
        await run("UPDATE rows_ SET state = 'x' WHERE id = 1")
        await run("DELETE FROM rows_ WHERE id = 2")
        await run("INSERT INTO rows_ (id, state) VALUES (4, 'd')")
        cluster.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        cluster.sql("SELECT pg_reload_conf()")
        try:
            slot = f"slot_{bench.url.rsplit('/', 1)[-1]}"
            for _ in range(20):
                # A file of the log each, nearly empty.
                await run("SELECT pg_logical_emit_message(false, 'bench', 'x'), pg_switch_wal()")
                await run("CHECKPOINT")
                if cluster.sql(f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'") == "lost":
                    break
            else:
                raise AssertionError("the slot was kept")
        finally:
            cluster.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
            cluster.sql("SELECT pg_reload_conf()")
    await bench.drain()
    assert [bench.told(row) for row in (1, 2, 3, 4)] == [["a", "a -> x"], ["b", "gone"], ["c"], ["d"]]
    assert any("slot" in text for text in gaps), gaps
    async with bench.session() as run:
        await run("UPDATE rows_ SET state = 'y' WHERE id = 1")
    await bench.drain()
    assert bench.told(1) == ["a", "a -> x", "x -> y"]
    await bench.close()
