"""The binary log of MariaDB: values, schemas that change, transactions in pieces, and a log that is gone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridges import capture, metrics
from bridges.ddl import statements
from bridges.sources import SourceUnavailable, binlog
from bridges.sources.binlog import _GtidSet
from tests.bridges.bench import BINLOG, Bench, make_bench
from tests.bridges.support import Bridge
from tests.support.client import eventually
from tests.support.mariadb import MariaDb

VALUES = {
    "tiny": ("tinyint(1)", "1"),
    "short": ("smallint unsigned", "65535"),
    "medium": ("mediumint", "-8388608"),
    "big": ("bigint unsigned", "18446744073709551615"),
    "safe": ("bigint", "-9007199254740991"),
    "price": ("decimal(12,2)", "'-0012.50'"),
    "whole": ("decimal(20,0)", "'12345678901234567890'"),
    "part": ("decimal(4,4)", "'0.0500'"),
    "ratio": ("double", "'1e15'"),
    "small": ("double", "'0.000012'"),
    "even": ("double", "5"),
    "single": ("float", "1.1"),
    "name": ("varchar(40) CHARACTER SET latin1", "'Jürgen €'"),
    "cyrillic": ("varchar(40) CHARACTER SET cp1251", "'Їжак'"),
    "fixed": ("char(9)", "'x  '"),
    "smile": ("text", "'🙂 \"quoted\" \\\\ and\\nlines'"),
    "longer": ("mediumtext", "repeat('ї', 70000)"),
    "kind": ("enum('a','b','c''d')", "'c''d'"),
    "tags": ("set('x','y','z')", "'z,x'"),
    "none": ("set('x','y')", "''"),
    "day": ("date", "'2026-02-28'"),
    "at": ("datetime", "'2026-01-31 10:00:00'"),
    "micro": ("datetime(6)", "'2026-01-31 10:00:00.000120'"),
    "milli": ("timestamp(3) NULL", "'2026-01-31 10:00:00.125'"),
    "stamp": ("timestamp NULL", "'2038-01-19 03:14:07'"),
    "zero": ("datetime", "'0000-00-00 00:00:00'"),
    "lasts": ("time", "'-101:02:03'"),
    "brief": ("time(2)", "'00:00:01.25'"),
    "built": ("year", "1998"),
    "data": ("json", '\'{"a": [1, 2.5, "ї"], "b": null}\''),
    "uid": ("uuid", "'123e4567-e89b-42d3-a456-426614174000'"),
    "uid7": ("uuid", "'01890a5d-ac96-774b-bcce-b302099a8057'"),
    "address": ("inet6", "'2001:db8::ff00:42:8329'"),
    "mapped": ("inet6", "'::ffff:192.0.2.1'"),
    "nothing": ("varchar(9)", "NULL"),
}
MARIADB = ("uuid", "inet6")
"""Types that MySQL does not have."""


@pytest.fixture
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mariadb: MariaDb
) -> AsyncIterator[Bench]:
    """One table, of which the log tells five changes at a time."""
    made = make_bench(request, tmp_path, monkeypatch, "mysql", BINLOG.replace("}", ", batch = 5 }"))
    await made.drain()
    yield made
    await made.close()


def last_scan(bench: Bench) -> dict[str, Any]:
    """How the last scan ended."""
    return dict(json.loads(bench.state.progress("rows")["last_scan"]))


async def compare(bench: Bench) -> int:
    """How many rows a scan finds to be other ones than the log told."""
    before = bench.state.progress("rows").get("scans")
    bench.state.note("rows", reconcile_due="0")

    async def compared() -> bool:
        await bench.drain()
        notes = bench.state.progress("rows")
        return notes.get("scans") != before and "scan" not in notes

    await eventually(compared)
    return int(last_scan(bench)["told"])


async def test_the_log_and_a_scan_see_the_same_values(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mariadb: MariaDb
) -> None:
    maria = "mariadb" in mariadb.sql("SELECT version()").lower()
    made = {name: value for name, value in VALUES.items() if maria or value[0] not in MARIADB}
    columns = ", ".join(f"`{name}` {kind}" for name, (kind, _) in made.items())
    table = (
        f"SET sql_mode = ''; CREATE TABLE rows_ (id int PRIMARY KEY, state varchar(9), {columns}) CHARACTER SET utf8mb4"
    )
    names = ", ".join(f'"{name}"' for name in ("id", "state", *made))
    bench = make_bench(request, tmp_path, monkeypatch, "mysql", BINLOG, table=table, columns=names)
    await bench.drain()
    database = bench.url.rsplit("/", 1)[-1]
    values = ", ".join(value for _, value in made.values())
    mariadb.sql(f"SET sql_mode = '', time_zone = '+00:00'; INSERT INTO rows_ VALUES (1, 'a', {values})", database)
    mariadb.sql("INSERT INTO rows_ (id, state) VALUES (2, 'b')", database)
    await bench.drain()
    assert (bench.told(1), bench.told(2)) == (["a"], ["b"])
    told = bench.state.row("rows", "[1]")
    assert told is not None
    assert told.image is not None
    scanned = (await bench.source.scan("rows", None, 1))[0].row
    assert scanned is not None
    assert {name: told.image[name] for name in scanned} == dict(scanned)
    assert not maria or told.image["uid7"] == "01890a5d-ac96-774b-bcce-b302099a8057"
    assert told.image["data"] == {"a": [1, "2.5", "ї"], "b": None}
    assert await compare(bench) == 0
    await bench.close()


async def test_a_large_transaction_is_taken_in_pieces(bench: Bench) -> None:
    rows = ", ".join(f"({row}, 'a')" for row in range(1, 24))
    async with bench.session() as run:
        await run("BEGIN")
        await run(f"INSERT INTO rows_ (id, state) VALUES {rows}")
        await run("UPDATE rows_ SET state = 'b' WHERE id < 20")
        await run("COMMIT")

    async def some() -> bool:
        await bench.capture.step()
        return bool(bench.told(1))

    await eventually(some)
    for _ in range(3):  # killed in the middle of it, and again
        await bench.restart()
        await bench.capture.step()
        await eventually(some)
    assert "skip" in bench.state.progress("rows")["position"]
    await bench.restart()
    await bench.drain()
    assert [bench.told(row) for row in (1, 19, 20, 23)] == [["a", "a -> b"], ["a", "a -> b"], ["a"], ["a"]]
    assert await compare(bench) == 0


async def test_a_key_that_changes_and_rows_that_come_again(bench: Bench) -> None:
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'b')")
        await run("UPDATE rows_ SET id = 3 WHERE id = 1")
        await run("DELETE FROM rows_ WHERE id = 2")
        await run("INSERT INTO rows_ (id, state) VALUES (2, 'c')")
    await bench.drain()
    assert [bench.told(row) for row in (1, 2, 3)] == [["a", "gone"], ["b", "gone", "c"], ["a"]]


async def test_what_is_in_no_row_event_is_found_by_a_scan(bench: Bench) -> None:
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'b')")
        await bench.drain()
        await run("SET SESSION binlog_format = 'STATEMENT'")
        await run("UPDATE rows_ SET state = 'c' WHERE id = 1")
        await run("SET SESSION binlog_format = 'ROW'")
        await bench.drain()
        assert bench.told(1) == ["a", "a -> c"]
        await run("SET SESSION binlog_row_image = 'MINIMAL'")
        await run("UPDATE rows_ SET state = 'd' WHERE id = 1")
        await run("INSERT INTO rows_ (id) VALUES (3)")
        await run("SET SESSION binlog_row_image = 'FULL'")
        await bench.drain()
        assert (bench.told(1), bench.told(3)) == (["a", "a -> c", "c -> d"], ["None"])
        await run("XA START 'one'")
        await run("INSERT INTO rows_ (id, state) VALUES (4, 'x')")
        await run("XA END 'one'")
        await run("XA PREPARE 'one'")
        await bench.drain()
        assert bench.told(4) == []
        await run("XA COMMIT 'one'")
        await bench.drain()
        assert bench.told(4) == ["x"]
        await run("TRUNCATE rows_")
        await bench.drain()
    assert [bench.told(row)[-1] for row in (1, 2, 3, 4)] == ["gone"] * 4


async def test_columns_come_and_go(bench: Bench) -> None:
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await run("ALTER TABLE rows_ ADD COLUMN before_ varchar(9) NOT NULL DEFAULT 'x' FIRST, DROP COLUMN at")
        await run("UPDATE rows_ SET state = 'b'")
        await run("ALTER TABLE rows_ MODIFY state enum('a', 'b', 'c')")
        await run("UPDATE rows_ SET state = 'c'")
        await bench.drain()
        assert bench.told(1) == ["a", "a -> b", "b -> c"]
        await run("ALTER TABLE rows_ CHANGE state other varchar(80)")
        await run("UPDATE rows_ SET other = 'd'")
        with pytest.raises(SourceUnavailable, match="has no column state"):
            await bench.drain()
        await run("ALTER TABLE rows_ CHANGE other state varchar(80)")
    await bench.drain()
    assert bench.told(1)[-1].endswith("-> d")


async def test_a_log_that_was_purged_makes_a_scan(bench: Bench, mariadb: MariaDb) -> None:
    notices = list[str]()
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'b')")
        await bench.drain()
        await bench.restart()
        await run("UPDATE rows_ SET state = 'c' WHERE id = 1")
        await run("DELETE FROM rows_ WHERE id = 2")
        mariadb.sql("FLUSH BINARY LOGS")

        async def purged() -> bool:
            files = _files(mariadb)
            mariadb.sql(f"PURGE BINARY LOGS TO '{files[-1]}'")
            return len(files) == 1

        await eventually(purged)
        bench.capture.notify = lambda _mapping, text: notices.append(text)
        await bench.drain()
        await run("UPDATE rows_ SET state = 'd' WHERE id = 1")
        await bench.drain()
    assert re.search(r"binary log is gone.* the table is compared", notices[0])
    assert (bench.told(1), bench.told(2)) == (["a", "a -> c", "c -> d"], ["b", "gone"])


async def test_a_place_that_the_log_never_had_makes_a_scan(bench: Bench, mariadb: MariaDb) -> None:
    """As after a failover to a server that was behind, or a restored backup."""
    if "mariadb" not in mariadb.sql("SELECT version()").lower():
        pytest.skip("MySQL sends what a set lacks, whatever else is in it")
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a'), (2, 'b')")
        await bench.drain()
        await bench.restart()
        place = json.loads(bench.state.progress("rows")["position"])["gtid"]
        ahead = place.rpartition("-")[0] + "-999999"
        bench.state.note("rows", position=json.dumps({"gtid": ahead}))
        await run("UPDATE rows_ SET state = 'c' WHERE id = 1")
        await run("DELETE FROM rows_ WHERE id = 2")
        await bench.drain()
        await run("UPDATE rows_ SET state = 'd' WHERE id = 1")
        await bench.drain()
    assert (bench.told(1), bench.told(2)) == (["a", "a -> c", "c -> d"], ["b", "gone"])
    assert last_scan(bench)["kind"] == "reconcile"


async def test_a_server_that_was_killed_numbers_its_tables_anew(bench: Bench, mariadb: MariaDb) -> None:
    """The log then goes on in a new file without a word at the end of the old one."""
    database = bench.url.rsplit("/", 1)[-1]
    again = "FLUSH LOCAL TABLES {0}; "  # the table has another number then
    mariadb.sql("CREATE TABLE neighbours LIKE rows_;" + again.format("rows_") * 20, database)
    await bench.drain()
    await bench.restart()
    mariadb.sql("INSERT INTO rows_ (id, state) VALUES (1, 'a')", database)
    before = _numbers(mariadb, f"{database}.rows_")
    mariadb.kill()
    mariadb.start()
    turns = int(max(before, key=int)) + 10  # one number each: until there is that one again
    turn = "UPDATE neighbours SET state = 1 + state; " + again.format("neighbours")
    mariadb.sql("INSERT INTO neighbours (id, state) VALUES (1, '0'), (2, '0'); " + turn * turns, database)
    assert before & _numbers(mariadb, f"{database}.neighbours"), "no number was used twice"
    mariadb.sql("UPDATE rows_ SET state = 'b'", database)
    await bench.drain()
    assert (bench.told(1), bench.told(2)) == (["a", "a -> b"], [])


def _numbers(mariadb: MariaDb, table: str) -> set[str]:
    """What the last file of the log calls a table."""
    events = mariadb.sql(f"SHOW BINLOG EVENTS IN '{_files(mariadb)[-1]}'")
    return set(re.findall(rf"table_id: (\d+) \({re.escape(table)}\)", events))


def _files(mariadb: MariaDb) -> list[str]:
    """The files of the log; MySQL tells more of each than MariaDB."""
    return [line.split()[0] for line in mariadb.sql("SHOW BINARY LOGS").splitlines()]


async def test_it_tells_how_much_of_the_log_is_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    feed: Any = bench.capture._feed
    notices = list[str]()
    bench.capture.notify = lambda _mapping, text: notices.append(text)

    async def all_read() -> bool:
        await bench.step()
        return bool(await feed.retained() == 0)

    await eventually(all_read)
    value = "x" * 80
    async with bench.session() as run:  # more than the thread reads ahead
        for first in range(0, 100, 20):
            rows = ", ".join(f"({row}, '{value}')" for row in range(first, first + 20))
            await run(f"INSERT INTO rows_ (id, state) VALUES {rows}")

    async def ahead() -> bool:
        return bool(feed._tail.found.full())

    await eventually(ahead)
    assert 20 * 80 < await feed.retained() < 200 * 80
    monkeypatch.setattr(capture, "RETAINED_LIMIT", 20 * 80)
    bench.state.note("rows", paused="for a while")  # what is not read is measured all the same
    for _ in range(2):
        bench.capture._measured = -capture._MEASURE_S
        await bench.capture.step()
    assert metrics.REGISTRY.get_sample_value("bridge_retained_bytes", {"mapping": "rows"}) == await feed.retained()
    assert notices == ["The database keeps 0 MiB for the bridge. See `hromada bridges doctor`."]
    bench.state.note("rows", paused=None)
    await eventually(all_read)
    assert bench.told(99) == [value]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("binlog_row_image", "MINIMAL"), ("binlog_row_metadata", "MINIMAL"), ("binlog_format", "MIXED")],
)
async def test_settings_that_lose_something_are_refused(
    bench: Bench, mariadb: MariaDb, setting: str, value: str
) -> None:
    before = mariadb.sql(f"SELECT @@global.{setting}")
    mariadb.sql(f"SET GLOBAL {setting} = '{value}'")
    try:
        await bench.restart()
        with pytest.raises(SourceUnavailable, match=f"{setting} is {value} and has to be {before}"):
            await bench.capture.step()
        findings = [one.text for one in await bench.source.examine("rows", deep=True) if not one.good]
        assert findings == [f"the binary log: {setting} is {value} and has to be {before}"]
    finally:
        mariadb.sql(f"SET GLOBAL {setting} = '{before}'")
    await bench.restart()
    await bench.drain()
    assert [one for one in await bench.source.examine("rows", deep=True) if not one.good] == []


async def test_rules_that_cascade_are_pointed_out(bench: Bench) -> None:
    async with bench.session() as run:
        await run("CREATE TABLE owners (id bigint PRIMARY KEY)")
        await run("ALTER TABLE rows_ ADD FOREIGN KEY mine (id) REFERENCES owners (id) ON DELETE CASCADE")
    findings = [one.text for one in await bench.source.examine("rows", deep=False) if not one.good]
    assert len(findings) == 1
    assert "only a reconcile scan" in findings[0]


async def test_the_printed_rights_are_enough(bench: Bench, mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
    host = bench.url.partition("@")[2]
    mariadb.sql("CREATE USER IF NOT EXISTS bridge; ALTER USER bridge IDENTIFIED BY 'b'")
    mariadb.sql("\n".join(statements(bench.config, "bridge")).partition("-- write-back")[0], host.rpartition("/")[2])
    monkeypatch.setenv("SHOP_URL", f"mysql://bridge:b@{host}")
    await bench.restart()
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
    await bench.drain()
    assert bench.told(1) == ["a"]
    assert [one for one in await bench.source.examine("rows", deep=True) if not one.good] == []
    feed: Any = bench.capture._feed
    assert await feed.retained() is not None
    mariadb.sql("REVOKE REPLICATION CLIENT ON *.* FROM bridge")
    await bench.restart()
    await bench.drain()
    feed = bench.capture._feed
    assert [await feed.retained(), feed._may_ask] == [None, False], "and goes on without"


async def test_without_the_package_it_ends_with_its_name(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = "the binary log needs mysql-replication: pip install 'hromada[binlog]'"
    (tmp_path / "pymysqlreplication.py").write_text("raise ImportError")
    bridge = Bridge(tmp_path, SHOP_URL=bench.url, PYTHONPATH=str(tmp_path))
    bridge.file.write_text(bridge.file.read_text().replace("[appservice]", '[appservice]\nstate = "another.db"'))
    done = await asyncio.to_thread(bridge.call, "run")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"hromada bridges: {lacking}\n")
    monkeypatch.setattr(binlog, "BinLogStreamReader", None)
    findings = [one.text for one in await bench.source.examine("rows", deep=False) if not one.good]
    assert findings == [lacking]


def test_positions_of_both_kinds() -> None:
    maria = _GtidSet("0-1-25", maria=True)
    for gtid in ("0-2-26", "7-1-1"):
        maria.add(gtid)
    assert maria.text == "0-2-26,7-1-1"
    server = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
    mysql = _GtidSet(f"{server}:1-5", maria=False)
    for number in (6, 8, 6):
        mysql.add(f"{server}:{number}")
    other = "4e11fa47-71ca-11e1-9e33-c80aa9429562"
    mysql.add(f"{other}:1")
    assert mysql.text == f"{server}:1-6:8,{other}:1"
