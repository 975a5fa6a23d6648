"""Values of PostgreSQL: what the log tells of a row, what an outbox keeps of it and what a scan sees are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridges.sources.postgres import PostgresSource
from tests.bridges.bench import LOGICAL, OUTBOX, make_bench
from tests.support.client import eventually

VALUES = {
    "short": ("smallint", "-32768"),
    "safe": ("bigint", "-9007199254740991"),
    "big": ("bigint", "9223372036854775807"),
    "price": ("numeric(12,2)", "'-0012.50'"),
    "whole": ("numeric", "12345678901234567890"),
    "tiny": ("numeric", "0.0000000001"),
    "nan": ("numeric", "'NaN'"),
    "ratio": ("double precision", "'1e15'"),
    "huge": ("double precision", "'-1.5e300'"),
    "small": ("double precision", "'0.000012'"),
    "even": ("double precision", "5"),
    "minus": ("double precision", "'-0'"),
    "endless": ("double precision", "'-Infinity'"),
    "single": ("real", "1.1"),
    "far": ("real", "'1e20'"),
    "yes": ("boolean", "true"),
    "name": ("varchar(40)", "'Їжак €'"),
    "fixed": ("char(9)", "'x  '"),
    "letter": ('"char"', "'c'"),
    "smile": ("text", "E'🙂 \"quoted\" \\\\\\\\ and\\nlines'"),
    "empty": ("text", "''"),
    "longer": ("text", "repeat('ї', 70000)"),
    "kind": ("mood", "'c''d'"),
    "narrow": ("narrow", "'ab'"),
    "pair": ("pair", "ROW(1, 'x')"),
    "day": ("date", "'2026-02-28'"),
    "caesar": ("date", "'0044-03-15 BC'"),
    "never": ("date", "'infinity'"),
    "at": ("timestamp", "'2026-01-31 10:00:00'"),
    "micro": ("timestamp", "'2026-01-31 10:00:00.000120'"),
    "stamp": ("timestamptz", "'2026-07-31 10:00:00.5+05:30'"),
    "old": ("timestamptz", "'1890-01-01 10:00:00+00'"),
    "ever": ("timestamptz", "'-infinity'"),
    "clock": ("time", "'10:00:00.25'"),
    "zoned": ("timetz", "'10:00:00+02'"),
    "lasts": ("interval", "'1 year 2 days -00:00:01.5'"),
    "data": ("jsonb", '\'{"b": [1, 2.50, "ї", 1e3], "a": null}\''),
    "raw": ("json", '\'{"b" : 1, "a": 2.0, "b": 3}\''),
    "uid": ("uuid", "'123E4567-e89b-42d3-a456-426614174000'"),
    "address": ("inet", "'2001:db8::1/64'"),
    "card": ("macaddr", "'08:00:2b:01:02:03'"),
    "bytes": ("bytea", "'\\x00ff'"),
    "bits": ("bit(3)", "B'101'"),
    "more": ("varbit", "B'1011'"),
    "fixeds": ("char(3)[]", "'{a,\"bcd\"}'"),
    "switches": ("bit(3)[]", "'{101,010}'"),
    "floats": ("double precision[]", "'{1e15,1.2e-05}'"),
    "numbers": ("int[]", "'{{1,2},{3,NULL}}'"),
    "texts": ("text[]", "'{a,\"b c\",NULL,ї}'"),
    "span": ("int4range", "'[1,5)'"),
    "place": ("point", "'(1.5,-2)'"),
    "cash": ("money", "'12.34'"),
    "nothing": ("text", "NULL"),
}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("capture", [LOGICAL, OUTBOX], ids=["logical", "outbox"])
async def test_they_are_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: str, zone: str
) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, (kind, _) in VALUES.items())
    table = (
        "CREATE TYPE mood AS ENUM ('a', 'c''d'); CREATE DOMAIN narrow AS varchar(3);"
        "CREATE TYPE pair AS (n int, t text);"
        f"CREATE TABLE rows_ (id bigint PRIMARY KEY, state text, {columns}); CREATE PUBLICATION bridge FOR TABLE rows_;"
        f"DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET timezone = ''{zone}'''; END $$;"
    )
    names = ", ".join(f'"{name}"' for name in ("id", "state", *VALUES))
    bench = make_bench(request, tmp_path, monkeypatch, "postgresql", capture, table=table, columns=names)
    await bench.drain()
    async with bench.session() as run:
        await run(f"INSERT INTO rows_ VALUES (1, 'a', {', '.join(value for _, value in VALUES.values())})")
    await bench.drain()
    assert bench.told(1) == ["a"]
    told = bench.state.row("rows", "[1]")
    assert told is not None
    assert told.image is not None
    assert isinstance(bench.source, PostgresSource)
    scanned = (await bench.source.scan("rows", None, 1))[0].row
    assert scanned is not None
    assert {name: told.image[name] for name in scanned} == dict(scanned)
    bench.state.note("rows", reconcile_due="0")

    async def compared() -> bool:
        await bench.drain()
        notes = bench.state.progress("rows")
        return "scan" not in notes and json.loads(notes.get("last_scan", "{}")).get("kind") == "reconcile"

    await eventually(compared)
    assert json.loads(bench.state.progress("rows")["last_scan"])["told"] == 0
    await bench.close()
