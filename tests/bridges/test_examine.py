"""`hromada bridges doctor` about a table that is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridges.sources import examine
from tests.bridges.bench import OVERLAP, make_bench

TABLES = {
    "postgresql": "CREATE TABLE rows_ (id bigint, other bigint, state text, at timestamptz, PRIMARY KEY (id, other))",
    "mysql": "CREATE TABLE rows_ (id bigint, other bigint, state varchar(80), at datetime, PRIMARY KEY (id, other)) "
    "ENGINE = MyISAM",
}
FOUND = {
    "postgresql": {"the bridge logs in as a superuser: give it a role of its own"},
    "mysql": {"rows_ is kept by MyISAM"},
}


@pytest.mark.parametrize("driver", ["postgresql", "mysql"])
async def test_what_is_wrong_with_a_table_is_said(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    bench = make_bench(request, tmp_path, monkeypatch, driver, OVERLAP, table=TABLES[driver])
    monkeypatch.setattr(examine.time, "time", lambda: 0.0)
    found = {finding.text for finding in await bench.source.examine("rows", deep=True) if not finding.good}
    await bench.close()
    [clock] = [text for text in found if text.startswith("the clock differs by ")]
    everywhere = {clock, "the primary key is (id, other), key is (id)", "cursor at lacks an index"}
    everywhere.add("cursor at may be NULL: only a reconcile scan sees such rows")
    assert found == everywhere | FOUND[driver]
