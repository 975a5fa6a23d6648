"""The example of a stock in MySQL or MariaDB can be loaded, and makes what it says."""

from __future__ import annotations

from pathlib import Path

from tests.bridges.support import Bridge
from tests.support.mariadb import MariaDb
from tests.support.server import ROOT

EXAMPLE = ROOT / "examples/bridges"


def test_parts(mariadb: MariaDb, tmp_path: Path) -> None:
    url = mariadb.make_database()
    database = url.rsplit("/", 1)[-1]
    mariadb.sql((EXAMPLE / "parts.sql").read_text(), database)
    bridge = Bridge(tmp_path, STOCK_URL=url)
    bridge.file.write_text((EXAMPLE / "parts.toml").read_text().replace("/run/secrets/", f"{tmp_path}/"))
    mariadb.sql(bridge.ok("sql", "--role", "hromada").partition("-- write-back")[0], database)
    planned = bridge.ok("plan").splitlines()
    assert planned[0] == "mapping.parts [1]: #_db_parts_1 'Bolt'"
    assert planned[1].endswith(": Bolt costs 0.10")
    assert planned[-1].endswith(": Шайба costs 0.02")
    mariadb.sql("UPDATE parts SET price = 0.2 WHERE id = 1", database)
    assert mariadb.sql("SELECT count(*) FROM bridge_outbox", database) == "1"
