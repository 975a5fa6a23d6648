"""`[users.site]` as the design of bridges has it: WordPress's table judged by the bridge, over the REST contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridges import metrics
from bridges.config import ConfigError, load
from bridges.state import State
from bridges.users.login import Logins
from tests.bridges.test_login import TABLE, rows
from tests.support.client import PASSWORD
from tests.support.mariadb import MariaDb

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:8008"
server_name = "example.org"
listen = "127.0.0.1:29400"
as_token = { env = "TOKEN" }
hs_token = { env = "TOKEN" }
[source.site]
driver = "mysql"
url = { env = "SITE_URL" }
read_only = true
[users.site]
source = "site"
table = "wp_users"
key = ["ID"]
login = ["user_login", "user_email"]
password = { column = "user_pass", schemes = ["wordpress", "phpass", "bcrypt"] }
enabled = { col = "user_status", op = "eq", value = 0 }
localpart = "{{ user_login | mxlocalpart }}" # collision or reserved prefix = refuse, never merge
profile = { displayname = "display_name", email = "user_email" }
provision = "on_login"                       # on_login | all
on_disable = "logout"                        # all sessions ended by the next sync
capture = { mode = "overlap", cursor = "user_registered", overlap = "1h", full_scan = "1h" }
directory = true
throttle = { per_user = "5/min", per_ip = "20/min" }
"""


def asked(user: str, password: str = PASSWORD) -> bytes:
    return json.dumps({"user": {"id": user, "password": password}}).encode()


async def test_wordpress_as_designed(mariadb: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = mariadb.make_database()
    database = url.rsplit("/", 1)[-1]
    for statement in (TABLE.replace('"', "`"), *rows()):
        mariadb.sql(statement, database)
    monkeypatch.setenv("TOKEN", "t")
    monkeypatch.setenv("SITE_URL", url)
    (tmp_path / "bridges.toml").write_text(CONFIG)
    config = load(tmp_path / "bridges.toml")
    state = State(config.state)
    logins = Logins(config, state)
    try:
        body, status = await logins.answer(asked("@olena:example.org"))
        assert status == 200
        assert body["auth"] == {
            "success": True,
            "mxid": "@olena:example.org",
            "profile": {
                "display_name": "Name olena",
                "three_pids": [{"medium": "email", "address": "olena@site.example"}],
            },
        }
        assert state.linked("@olena:example.org") == "1"
        no: Any = ({"auth": {"success": False}}, 200)
        for question in (
            asked("@olena:example.org", "wrong"),
            asked("@olena:other.example"),
            asked("@bohdan:example.org"),
            asked("@_db_x:example.org"),
            asked("@nobody:example.org"),
            asked("@taras:example.org", ""),
        ):
            assert await logins.answer(question) == no
        for question in (b"", b"[]", b'{"user": {"id": 1, "password": null}}', b"[" * 100_000):
            assert (await logins.answer(question))[1] == 400
        tries = [(await logins.answer(asked("@marta:example.org", "guess")))[1] for _ in range(7)]
        assert tries[0] == 200
        assert tries[-1] == 429
        assert logins.may_ask("127.0.0.1", "")
        assert not logins.may_ask("192.0.2.1", "")
        assert not logins.may_ask("192.0.2.1", "Bearer x")
        assert logins.may_ask("192.0.2.1", "Bearer t")
        counted = {
            sample.labels["result"]: sample.value
            for metric in metrics.LOGINS.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
        assert counted["throttled"] > 0
        assert counted["wrong"] + counted["throttled"] == 2 + 7  # one with an empty password
        assert (counted["right"], counted["disabled"], counted["unknown"], counted["unusable"]) == (1, 1, 1, 1)
        mariadb.sql("RENAME TABLE wp_users TO moved", database)
        assert (await logins.answer(asked("@ivan.petrenko:example.org")))[1] == 503
    finally:
        await logins.close()
        state.close()


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('source = "site"\ntable', 'source = "nowhere"\ntable', "there is no source.nowhere"),
        ('["ID"]', '["ID", "x"]', "must be one column"),
        ('"phpass", "bcrypt"', '"rot13"', "'rot13' is none of"),
        ('"5/min"', '"often"', "throttle.per_user"),
        ('listen = "127.0.0.1:29400"', "", "appservice.listen is needed"),
        ('table = "wp_users"', "", "has a table"),
    ],
)
def test_wrong_settings_are_named(
    old: str, new: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t")
    assert old in CONFIG
    (tmp_path / "bridges.toml").write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "bridges.toml")
    assert any(fault in one for one in raised.value.faults), raised.value.faults
