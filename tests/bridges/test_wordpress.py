"""The designed WordPress mapping and the example's table, between a homeserver and a bridge: both are processes."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from tests.bridges.support import PATIENCE_S, Bridge, registration
from tests.support.client import PASSWORD, Client, eventually
from tests.support.fixtures import StartServer
from tests.support.mariadb import MariaDb
from tests.support.ports import free_port
from tests.support.server import ROOT

EXAMPLE = ROOT / "examples/bridges"
WITHOUT_EFFECT = ("on_disable", "directory", "capture", "throttle.per_ip")


@pytest.mark.timeout(900)
async def test_wordpress_runs_as_written(
    mariadb: MariaDb, start_server: StartServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    url, port, listen = mariadb.make_database(), free_port(), free_port()
    database = url.rsplit("/", 1)[-1]
    mariadb.sql("SET sql_mode = '';" + (EXAMPLE / "wordpress.sql").read_text(), database)
    bridge = Bridge(tmp_path, SITE_URL=url)
    text = (EXAMPLE / "wordpress.toml").read_text()
    for old, new in (
        ("127.0.0.1:8008", f"127.0.0.1:{port}"),
        ("127.0.0.1:29400", f"127.0.0.1:{listen}"),
        ("example.org", "hromada.test"),
        ("/run/secrets/", f"{tmp_path}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    bridge.file.write_text(text)
    provider = {"name": "site", "type": "rest", "title": "Example Site", "url": f"http://127.0.0.1:{listen}"}
    environment = {
        "HROMADA_APPSERVICES_FILES": registration(bridge, tmp_path),
        "HROMADA_AUTH_PROVIDERS": json.dumps([provider]),
    }
    server = start_server(environment=environment, listen=f"127.0.0.1:{port}")
    anybody = Client(http, server.url)
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "solomiia"}, "password": PASSWORD}

    async def status(password: str = PASSWORD) -> int:
        return (await anybody.request("POST", "/login", login | {"password": password}, token=None)).status

    assert await status() == 503, "nobody judges yet, and nobody is let in"
    bridge.start()
    try:

        async def judged() -> bool:
            return await status("wrong") == 403

        await eventually(judged, PATIENCE_S)
        solomiia = await Client(http, server.url).login("solomiia")
        assert solomiia.user_id == "@solomiia:hromada.test"
        assert await solomiia.ok("GET", f"/profile/{solomiia.user_id}") == {"displayname": "Solomiia K."}
        bridge.kill()
        assert await status() == 503
        mariadb.sql("UPDATE wp_users SET user_status = 1", database)
        bridge.start()

        async def disabled() -> bool:
            return await status() == 403

        await eventually(disabled, PATIENCE_S)
        assert (await solomiia.request("GET", "/account/whoami")).status == 200, "ADR 0019: no bridge can end that"
        log = bridge.log()
        for setting in WITHOUT_EFFECT:
            assert f"setting=users.site.{setting}" in log.replace("'", ""), log
        assert bridge.stop() == 0
    finally:
        bridge.kill()
