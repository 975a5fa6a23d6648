"""What sources do in any way of capture: odd keys, slots that are left over, rights that are missing, sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridges.sources import Keeping, SourceUnavailable, Write
from tests.bridges.bench import HORIZON, LOGICAL, OUTBOX, TABLES, make_bench
from tests.bridges.test_capture import WAYS
from tests.support.postgres import PostgresCluster

NASTY = ["'; DROP TABLE rows_; --", '"$1" %s %(a)s :b', "{{ 7 * 7 }}{% raw %}", "\\' OR 1=1", "ї 😀\t"]
"""Keys that are something to SQL, to templates, or to drivers."""


@pytest.mark.parametrize(("driver", "capture"), WAYS, ids=[f"{d}-{c.split(chr(34))[1]}" for d, c in WAYS])
async def test_keys_are_values_everywhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, capture: str
) -> None:
    table = TABLES[driver].replace("id bigint", "id varchar(80)")
    bench = make_bench(request, tmp_path, monkeypatch, driver, capture, table=table)
    await bench.drain()
    values = ", ".join(f"({_quoted(key, driver)}, 'a')" for key in NASTY)
    async with bench.session() as run:
        await run(f"INSERT INTO rows_ (id, state) VALUES {values}")
        await bench.drain()
        for number, key in enumerate(NASTY):
            write = Write(f"${number}", "update", "rows_", [key], {"state": f"'{key}"}, {"state": ["a"]})
            written = await bench.source.write("rows", write, lambda _row: None)
            assert (written.verdict, written.row) == ("applied", {"id": key, "state": f"'{key}"})
        await bench.drain()
    bench.state.note("rows", reconcile_due="0")
    await bench.drain()
    for key in NASTY:
        assert bench.told(json.dumps(key)) == ["a", f"a -> '{key}"]
    assert await bench.source.fetch("rows", [["'"], [NASTY[0]]]) == [None, {"id": NASTY[0], "state": f"'{NASTY[0]}"}]
    await bench.close()


def _quoted(text: str, driver: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted if driver == 'postgresql' else quoted.replace(chr(92), chr(92) * 2)}'"


@pytest.mark.parametrize("plugin", ["pgoutput", "test_decoding"])
async def test_a_slot_that_is_left_over(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: PostgresCluster,
    plugin: str,
) -> None:
    """The making of one may be cut off, and it is there all the same; or it is somebody's of another kind."""
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", LOGICAL)
    database = bench.url.rsplit("/", 1)[-1]
    try:
        cluster.sql(f"SELECT pg_create_logical_replication_slot('slot_{database}', '{plugin}')", database)
    except RuntimeError as reason:  # it comes with most servers
        pytest.skip(str(reason))
    async with bench.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await bench.drain()
        await run("UPDATE rows_ SET state = 'b' WHERE id = 1")
        await bench.drain()
    assert bench.told(1)[-1] == "a -> b"
    where = f"WHERE slot_name = 'slot_{database}'"
    assert cluster.sql(f"SELECT plugin FROM pg_replication_slots {where}") == "pgoutput"
    await bench.close()


async def test_who_may_not_see_transactions_has_no_horizon(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: PostgresCluster
) -> None:
    """It would be silently wrong: to such a role every other transaction looks as if it had not begun."""
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", HORIZON)
    database = bench.url.rsplit("/", 1)[-1]
    cluster.sql(f"CREATE ROLE blind_{database} LOGIN; GRANT SELECT ON rows_ TO blind_{database}", database)
    monkeypatch.setenv("SHOP_URL", bench.url.replace("//hromada@", f"//blind_{database}@"))
    await bench.restart()
    with pytest.raises(SourceUnavailable, match="horizon needs the role pg_read_all_stats"):
        await bench.step()
    assert "the role lacks pg_read_all_stats" in [one.text for one in await bench.source.examine("rows", deep=False)]
    cluster.sql(f"GRANT pg_read_all_stats TO blind_{database}")
    await bench.drain()
    await bench.close()


@pytest.mark.parametrize("driver", ["postgresql", "mysql"])
async def test_it_tells_what_an_outbox_takes(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    bench = make_bench(request, tmp_path, monkeypatch, driver, OUTBOX)
    await bench.drain()
    feed = bench.capture._feed
    assert isinstance(feed, Keeping)
    before = await feed.retained()
    assert before is not None
    value = "x" * 80
    async with bench.session() as run:
        for first in range(0, 2_000, 100):
            rows = ", ".join(f"({row}, '{value}')" for row in range(first, first + 100))
            await run(f"INSERT INTO rows_ (id, state) VALUES {rows}")
        if driver == "mysql":  # which counts from time to time
            await run("ANALYZE TABLE bridge_outbox")
    assert before + 2_000 * 80 < (await feed.retained() or 0) < before + 2_000 * 80 * 20
    await bench.close()
