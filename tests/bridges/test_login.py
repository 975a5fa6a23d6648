"""People of other sites log in: WordPress's users in MariaDB, a shop's in PostgreSQL, as those store them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import nio  # type: ignore[import-untyped]
import pytest
from aiohttp import web

from homeserver.boot import sites
from homeserver.config.load import ConfigError, load
from tests.support.client import PASSWORD, Client, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import StartServer
from tests.support.mariadb import MariaDb
from tests.support.postgres import PostgresCluster
from tests.support.server import SERVER_NAME, Server, ServerOptions
from tests.test_commands import hromada

VECTORS = Path(__file__).parents[1] / "vectors" / "bridges" / "passwords.json"
PEOPLE = ("olena", "taras", "Ivan.Petrenko", "marta", "bohdan", "admin2", "_db_x", "same")
WRONG = "The user name or password is not right"


def stored(scheme: str, password: str = PASSWORD) -> str:
    """A password as the original software stored it."""
    return next(
        case["hash"]
        for case in json.loads(VECTORS.read_text())
        if case["scheme"] == scheme and case["password"] == password and case["valid"]
    )


@dataclass(frozen=True)
class Site:
    """A site's database, and the server that lets its people in."""

    server: Server
    sql: Callable[[str], str]
    proxy: FaultProxy
    settings: dict[str, Any]


def wordpress(url: str) -> dict[str, Any]:
    return {
        "name": "site",
        "type": "mysql",
        "title": "Example Site",
        "url": url,
        "table": "wp_users",
        "key": "ID",
        "login": ["user_login", "user_email"],
        "password": "user_pass",
        "schemes": ["wordpress"],
        "displayname": "display_name",
        "email": "user_email",
        "enabled": {"col": "user_status", "op": "eq", "value": 0},
        "sync_seconds": 1,
        "timeout_seconds": 3,
        "password_url": "https://site.example/wp-login.php?action=lostpassword",
    }


TABLE = """CREATE TABLE wp_users ("ID" bigint PRIMARY KEY, user_login varchar(60) NOT NULL, user_pass varchar(255)
NOT NULL, user_email varchar(100) NOT NULL, user_status int NOT NULL DEFAULT 0, display_name varchar(250) NOT NULL)"""


def rows() -> list[str]:
    """Everybody, each with the same password stored in one of the ways that WordPress has had."""
    hashes = [stored("wordpress-login"), stored("wordpress-phpass"), stored("php-bcrypt")]
    return [
        f"INSERT INTO wp_users VALUES ({number}, '{name}', '{hashes[number % 2]}', '{name.lower()}@site.example', "
        f"{int(name == 'bohdan')}, 'Name {name}')"
        for number, name in enumerate(PEOPLE, start=1)
    ]


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server's own database is of the other kind: SQLite beside MariaDB."""
    database_url = None
    if request.param == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        database_url, url = cluster.make_database(), cluster.make_database()
        name = url.rsplit("/", 1)[-1]
        port, sql, table = cluster.port, lambda statement: cluster.sql(statement, name), TABLE
    else:
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        url = mariadb.make_database()
        name = url.rsplit("/", 1)[-1]
        port, sql, table = mariadb.port, lambda statement: mariadb.sql(statement, name), TABLE.replace('"', "`")
    for statement in (table, *rows()):
        sql(statement)
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy.running(port))
        settings = wordpress(url.replace(f":{port}/", f":{proxy.port}/")) | {"type": request.param}
        options = ServerOptions(
            database_url=database_url,
            environment={"HROMADA_AUTH_PROVIDERS": json.dumps([settings])},
        )
        server = Server(tmp_path_factory.mktemp("login") / "data", options)
        server.start()
        stack.callback(server.stop)
        yield Site(server, sql, proxy, settings)


@pytest.fixture
def anybody(site: Site, http: aiohttp.ClientSession) -> Callable[[], Client]:
    site.server.assert_alive()
    return lambda: Client(http, site.server.url)


def password_login(user: str, password: str = PASSWORD) -> dict[str, Any]:
    return {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": password}


async def test_by_name_address_and_user_id(site: Site, anybody: Callable[[], Client]) -> None:
    olena = await anybody().login("olena")
    assert olena.user_id == f"@olena:{SERVER_NAME}"
    assert await olena.ok("GET", f"/profile/{olena.user_id}") == {"displayname": "Name olena"}
    for name in ("olena@site.example", f"@olena:{SERVER_NAME}", "olena"):
        assert (await anybody().login(name)).user_id == olena.user_id
    address = {"type": "m.id.thirdparty", "medium": "email", "address": "olena@site.example"}
    body = {"type": "m.login.password", "identifier": address, "password": PASSWORD}
    assert (await olena.ok("POST", "/login", body, token=None))["user_id"] == olena.user_id
    ivan = await anybody().login("ivan.petrenko@site.example")
    assert ivan.user_id == f"@ivan.petrenko:{SERVER_NAME}"
    # Found by the name that nobody but us has made of theirs, in any letters.
    assert (await anybody().login("ivan.petrenko")).user_id == ivan.user_id


async def test_wrong_and_unknown_look_alike(site: Site, anybody: Callable[[], Client]) -> None:
    nobody = anybody()
    answers = []
    for user, password in (
        ("taras", PASSWORD.upper()),
        ("taras", ""),
        ("taras", "x" * 100_000),
        ("nobody", PASSWORD),
        ("nobody@site.example", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ('{"$ne": null}', PASSWORD),
        ("tar%", PASSWORD),
        ("0", PASSWORD),
        ("x" * 1000, PASSWORD),
        ("ta\0ras", PASSWORD),
        ("\u202etaras", PASSWORD),
        ("@taras:other.example", PASSWORD),
    ):
        reply = await nobody.request("POST", "/login", password_login(user, password))
        answers.append(reply.error(403, "M_FORBIDDEN")["error"])
    assert set(answers) == {WRONG}
    for query in ("?dir=f", ""):
        assert (await nobody.request("GET", f"/profile/@taras:{SERVER_NAME}{query}")).status == 404


async def test_names_that_are_taken_or_reserved_let_nobody_in(site: Site, anybody: Callable[[], Client]) -> None:
    local = await anybody().register("same", "another long password")
    reply = await anybody().request("POST", "/login", password_login("same"))
    reply.error(403, "M_FORBIDDEN")  # the account here has a password of its own
    reply = await anybody().request("POST", "/login", password_login("same@site.example"))
    assert "somebody else's name" in reply.error(403, "M_FORBIDDEN")["error"]
    assert (await anybody().login("same", "another long password")).user_id == local.user_id
    reply = await anybody().request("POST", "/login", password_login("_db_x"))
    assert "underscore" in reply.error(403, "M_FORBIDDEN")["error"]


async def test_their_password_is_kept_elsewhere(site: Site, anybody: Callable[[], Client]) -> None:
    marta = await anybody().login("marta")
    local = await anybody().register("local-of-marta")
    for who, own in ((marta, False), (local, True)):
        capabilities = (await who.ok("GET", "/capabilities"))["capabilities"]
        assert capabilities["m.change_password"] == {"enabled": own}
    reply = await marta.request("POST", "/account/password", {"new_password": "something else entirely"})
    message = reply.error(403, "M_FORBIDDEN")["error"]
    assert "Example Site" in message
    assert site.settings["password_url"] in message
    # Interactive authentication takes the password of the site, by any of one's own names.
    other = await anybody().login("marta@site.example")
    session = (await marta.request("DELETE", f"/devices/{other.device_id}", {})).body["session"]
    for name, password, status in (
        ("taras", PASSWORD, 401),
        ("nobody", PASSWORD, 401),
        ("local-of-marta", PASSWORD, 401),
        ("marta@site.example", "wrong", 401),
        ("marta@site.example", PASSWORD, 200),
    ):
        auth = password_login(name, password) | {"session": session}
        reply = await marta.request("DELETE", f"/devices/{other.device_id}", {"auth": auth})
        assert reply.status == status, f"{name}: {reply}"
    assert (await other.request("GET", "/account/whoami")).status == 401


async def test_disabled_there_is_logged_out_here(site: Site, anybody: Callable[[], Client]) -> None:
    reply = await anybody().request("POST", "/login", password_login("bohdan"))
    assert "disabled" in reply.error(403, "M_FORBIDDEN")["error"]
    reply = await anybody().request("POST", "/login", password_login("bohdan", "wrong"))
    assert reply.error(403, "M_FORBIDDEN")["error"] == WRONG
    first, second = await anybody().login("taras"), await anybody().login("taras")
    other = await anybody().login("olena")
    refreshing = await first.ok("POST", "/login", password_login("taras") | {"refresh_token": True}, token=None)
    site.sql("UPDATE wp_users SET user_status = 1, display_name = 'Renamed' WHERE user_login = 'taras'")

    async def out() -> bool:
        return {(await who.request("GET", "/account/whoami")).status for who in (first, second)} == {401}

    await eventually(out)
    reply = await first.request("POST", "/refresh", {"refresh_token": refreshing["refresh_token"]}, token=None)
    reply.error(401, "M_UNKNOWN_TOKEN")
    assert (await other.request("GET", "/account/whoami")).status == 200
    reply = await anybody().request("POST", "/login", password_login("taras"))
    assert "disabled" in reply.error(403, "M_FORBIDDEN")["error"]
    site.sql("UPDATE wp_users SET user_status = 0 WHERE user_login = 'taras'")
    again = await anybody().login("taras")
    assert (await again.ok("GET", f"/profile/{again.user_id}"))["displayname"] == "Renamed"
    # So does whoever is gone altogether.
    site.sql("DELETE FROM wp_users WHERE user_login = 'taras'")

    async def gone() -> bool:
        return (await again.request("GET", "/account/whoami")).status == 401

    await eventually(gone)
    reply = await anybody().request("POST", "/login", password_login("taras"))
    assert reply.error(403, "M_FORBIDDEN")["error"] == WRONG


async def test_renamed_there_is_renamed_in_rooms(site: Site, anybody: Callable[[], Client]) -> None:
    olena = await anybody().login("olena")
    room = await olena.create_room()
    site.sql("UPDATE wp_users SET display_name = 'Олена П''ятниця' WHERE user_login = 'olena'")

    async def renamed() -> bool:
        return bool((await olena.state(room, "m.room.member", olena.user_id))["displayname"] == "Олена П'ятниця")

    await eventually(renamed)
    found = await olena.ok("POST", "/user_directory/search", {"search_term": "п'ятниця"})
    assert isinstance(found["results"], list)
    site.sql("UPDATE wp_users SET display_name = 'Name olena' WHERE user_login = 'olena'")


async def test_a_database_that_is_away_lets_nobody_in_and_logs_nobody_out(
    site: Site, anybody: Callable[[], Client]
) -> None:
    olena = await anybody().login("olena")
    local = await anybody().register("local-of-storm")
    site.proxy.hold()
    try:
        for name in ("olena", "marta", "never-seen"):
            began = time.monotonic()
            reply = await anybody().request("POST", "/login", password_login(name))
            assert "Example Site" in reply.error(503, "M_UNKNOWN")["error"]
            assert time.monotonic() - began < 30
        assert (await anybody().login("local-of-storm")).user_id == local.user_id
        assert (await olena.request("GET", "/account/whoami")).status == 200
    finally:
        site.proxy.flow()
        site.proxy.reset()

    async def back() -> bool:
        return (await anybody().request("POST", "/login", password_login("olena"))).status == 200

    await eventually(back)
    assert (await olena.request("GET", "/account/whoami")).status == 200


async def test_nio_logs_in(site: Site) -> None:
    client = nio.AsyncClient(site.server.url, "olena@site.example")
    try:
        answer = await client.login(PASSWORD)
        assert isinstance(answer, nio.LoginResponse), answer
        assert answer.user_id == f"@olena:{SERVER_NAME}"
    finally:
        await client.close()


def test_the_doctor_looks_at_providers(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = [
        ({}, "ok", "site: table wp_users, about"),
        ({"name": "b", "table": "no_users"}, "FAIL", "b: there is no table no_users"),
        ({"name": "c", "password": "no_pass"}, "FAIL", "c: table wp_users has no column no_pass"),
        ({"name": "d", "url": re.sub(r":[0-9]+/", ":1/", site.settings["url"])}, "FAIL", "d: "),
    ]
    monkeypatch.setenv("HROMADA_AUTH_PROVIDERS", json.dumps([site.settings | change for change, _, _ in expected]))
    done = hromada("doctor", "--data-dir", str(tmp_path), "--server-name", SERVER_NAME)
    lines = [line for line in done.stdout.splitlines() if "login provider" in line]
    assert len(lines) == len(expected), done.stdout + done.stderr
    for line, (_, verdict, text) in zip(lines, expected, strict=True):
        assert line.startswith(verdict), line
        assert text in line
    assert "for%20tests" not in done.stdout + done.stderr


# With servers of their own


@pytest.fixture
def shop(postgres_cluster: PostgresCluster) -> Iterator[dict[str, Any]]:
    """A second site, whose people call themselves by number."""
    url = postgres_cluster.make_database()
    name = url.rsplit("/", 1)[-1]
    statements = (
        "CREATE SCHEMA app",
        "CREATE TABLE app.users (id uuid PRIMARY KEY, nick text, number int, password text, gone timestamptz)",
        f"INSERT INTO app.users VALUES ('6f4e1d2a-0000-4000-8000-000000000001', 'olena', 7, "
        f"'{stored('django-scrypt')}', NULL)",
        f"INSERT INTO app.users VALUES ('6f4e1d2a-0000-4000-8000-000000000002', 'stepan', 8, "
        f"'{stored('django-scrypt')}', NULL)",
        f"INSERT INTO app.users VALUES ('6f4e1d2a-0000-4000-8000-000000000003', 'left', 9, "
        f"'{stored('django-scrypt')}', now())",
        "INSERT INTO app.users SELECT gen_random_uuid(), 'p' || n, 100 + n, '!', NULL FROM generate_series(1, 10) n",
    )
    for statement in statements:
        postgres_cluster.sql(statement, name)
    yield {
        "name": "shop",
        "type": "postgresql",
        "url": url,
        "table": "app.users",
        "login": ["nick", "number"],
        "schemes": ["django"],
        "localpart": "shop.{{ nick | mxlocalpart }}",
        "displayname": "nick",
        "enabled": {"col": "gone", "op": "null"},
        "provision": "all",
        "directory": True,
        "sync_seconds": 1,
    }
    postgres_cluster.drop_database(url)


# long: one server, for each costs seconds
async def test_providers_in_order_and_everybody_at_once(
    shop: dict[str, Any], start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster
) -> None:
    answers: list[dict[str, Any]] = []
    broken = False

    async def check(request: web.Request) -> web.Response:
        asked = (await request.json())["user"]
        answers.append(asked)
        if broken:
            return web.Response(status=500, text="no")
        is_right = asked == {"id": f"@rest:{SERVER_NAME}", "password": PASSWORD}
        auth = {"success": is_right, "mxid": asked["id"], "profile": {"display_name": "Rest"}}
        return web.json_response({"auth": auth if is_right else {"success": False}})

    app = web.Application()
    app.router.add_post("/_matrix-internal/identity/v1/check_credentials", check)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    port = runner.addresses[0][1]
    rest = {"name": "rest", "type": "rest", "title": "Rest House", "url": f"http://127.0.0.1:{port}"}
    try:
        server = start_server(environment={"HROMADA_AUTH_PROVIDERS": json.dumps([shop, rest])})
        anybody = Client(http, server.url)
        finder = await anybody.register("finder")

        crowd = [f"p{number}" for number in range(1, 11)]

        async def everybody() -> bool:
            found = await finder.ok("POST", "/user_directory/search", {"search_term": "shop", "limit": 50})
            names = {person["user_id"] for person in found["results"]}
            return names == {f"@shop.{name}:{SERVER_NAME}" for name in ("olena", "stepan", *crowd)}

        await eventually(everybody)
        assert (await Client(http, server.url).login("7")).user_id == f"@shop.olena:{SERVER_NAME}"
        assert (await Client(http, server.url).login("stepan")).user_id == f"@shop.stepan:{SERVER_NAME}"
        assert (await Client(http, server.url).login(f"@shop.olena:{SERVER_NAME}")).user_id.startswith("@shop.olena")
        assert answers == [], "the first that knows a name decides"
        rested = await Client(http, server.url).login("rest")
        assert (await rested.ok("GET", f"/profile/{rested.user_id}"))["displayname"] == "Rest"
        reply = await anybody.request("POST", "/login", password_login("stepan", "wrong"))
        reply.error(403, "M_FORBIDDEN")
        assert len(answers) == 1
        broken = True
        reply = await anybody.request("POST", "/login", password_login("rest"))
        assert "Rest House" in reply.error(503, "M_UNKNOWN")["error"]
        assert (await anybody.request("POST", "/login", password_login("stepan"))).status == 200
        left = await anybody.request("POST", "/login", password_login("left"))
        assert "disabled" in left.error(403, "M_FORBIDDEN")["error"]
        # A table that is suddenly empty is a mistake, and logs nobody out.
        olena = await Client(http, server.url).login("olena")
        postgres_cluster.sql("TRUNCATE app.users", shop["url"].rsplit("/", 1)[-1])

        async def suspected() -> bool:
            return "nobody is logged out" in server.log.read_text()

        await eventually(suspected)
        assert (await olena.request("GET", "/account/whoami")).status == 200
    finally:
        await runner.cleanup()


async def test_guesses_are_limited_as_everywhere(
    shop: dict[str, Any], start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server = start_server(environment={"HROMADA_AUTH_PROVIDERS": json.dumps([shop])}, rate_limits="on")
    anybody = Client(http, server.url)
    statuses = []
    for attempt in range(6):
        statuses.append((await anybody.request("POST", "/login", password_login("stepan", f"guess {attempt}"))).status)
    assert statuses[0] == 403
    assert statuses[-1] == 429


async def test_tokens_of_a_site_that_shares_a_secret(
    start_server: StartServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    secret = tmp_path / "jwt.secret"
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    secret.chmod(0o600)
    server = start_server(
        environment={
            "HROMADA_AUTH_JWT_LOGIN": "true",
            "HROMADA_AUTH_JWT_ISSUER": "https://site.example",
            "HROMADA_AUTH_JWT_AUDIENCE": SERVER_NAME,
            "HROMADA_AUTH_JWT_ALGORITHM": "HS256",
            "HROMADA_AUTH_JWT_SECRET_FILE": str(secret),
            "HROMADA_AUTH_JWT_CREATE_USERS": "true",
        }
    )
    anybody = Client(http, server.url)
    assert {"type": "org.matrix.login.jwt"} in (await anybody.ok("GET", "/login"))["flows"]
    claims = {"iss": "https://site.example", "aud": SERVER_NAME, "sub": "nadia", "exp": int(time.time()) + 300}
    key = secret.read_text().strip()

    def body(key: str = key, algorithm: str = "HS256", **more: Any) -> dict[str, Any]:
        return {"type": "org.matrix.login.jwt", "token": jwt.encode({**claims, **more}, key, algorithm)}

    assert (await anybody.ok("POST", "/login", body()))["user_id"] == f"@nadia:{SERVER_NAME}"
    for wrong in (
        body(key="another secret of thirty-two letters"),
        body(algorithm="HS512", key=key * 2),
        body(exp=int(time.time()) - 300),
        body(aud="elsewhere"),
        body(iss="https://other.example"),
        {"type": "org.matrix.login.jwt", "token": jwt.encode(claims, "", "none")},
        {"type": "org.matrix.login.jwt", "token": "x"},
    ):
        (await anybody.request("POST", "/login", wrong)).error(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"schemes": ["rot13"]}, "'rot13' is none of"),
        ({"schemes": ["md5"]}, "for old hashes beside another scheme"),
        ({"table": "users; DROP TABLE users"}, "is not the name of a table"),
        ({"login": ["a-b"], "localpart": "{{ ID }}"}, "is not the name of a column"),
        ({"localpart": "{{ nick"}, "localpart:"),
        ({"url": "mysql://x/y"}, "must start with postgresql://"),
        ({"url": ""}, "one of url, url_file and url_env"),
        ({"name": "Bad Name"}, "is made of a-z"),
        ({"enabled": {"col": "gone", "op": "like", "value": "x"}}, "enabled:"),
        ({"surprise": 1}, "surprise"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_wrong_settings_stop_the_start(change: dict[str, Any], fault: str) -> None:
    settings = wordpress("postgresql://127.0.0.1/x") | {"type": "postgresql"} | change
    with pytest.raises(ConfigError) as raised:
        config = load(None, {"HROMADA_AUTH_PROVIDERS": json.dumps([settings])}, {})
        sites.build(config, _never, _never)
    assert any(fault in one for one in raised.value.faults), raised.value.faults


def test_wrong_settings_are_named_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = wordpress("mysql://127.0.0.1/x") | {"schemes": ["rot13"]}
    monkeypatch.setenv("HROMADA_AUTH_PROVIDERS", json.dumps([settings]))
    done = hromada("run", "--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hromada: auth.providers.site.schemes: 'rot13' is none of")


def _never(*_arguments: Any) -> Any:
    raise AssertionError("nothing is asked yet")
