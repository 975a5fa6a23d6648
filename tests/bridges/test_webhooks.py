"""Webhooks, in and out: signatures of the original software, and a bridge between a site and a room."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import Counter

from bridges import cli, metrics
from bridges.config import Config, ConfigError, load
from bridges.state import RoomRow, State, Stored
from bridges.webhooks import outgoing
from bridges.webhooks.incoming import BadBody, Hooks, parse_body
from bridges.webhooks.outgoing import WAITS_S, Endpoints, troubles
from bridges.webhooks.signatures import STYLES, Received, is_authentic, signed_headers
from tests.bridges.support import PATIENCE_S, Bridge, messages
from tests.support.client import Client, eventually
from tests.support.fixtures import StartServer
from tests.support.ports import free_port

VECTORS = Path(__file__).parents[1] / "vectors" / "bridges" / "webhooks.json"
STYLE_OF = {"standard-webhooks": "standard", "gitlab-token": "gitlab"}
KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
listen = "127.0.0.1:29400"
as_token = {{ env = "TOKEN" }}
hs_token = {{ env = "HS_TOKEN" }}

[hook.shop]
style = "{style}"
secret = {{ env = "HOOK" }}
old_secret = {{ env = "OLD_HOOK" }}
text = "Order {{{{ body.order.id }}}}: {{{{ body.status }}}}"
html = "<b>{{{{ body.status }}}}</b>"

[endpoint.site]
url = "{url}"
secret = {{ env = "KEY" }}
text = "{{{{ event.content.body }}}}"
{allow}
"""


@pytest.mark.parametrize("service", sorted({case["service"] for case in json.loads(VECTORS.read_text())} - {"twilio"}))
def test_vectors(service: str) -> None:
    style = STYLE_OF.get(service, service)
    cases = [case for case in json.loads(VECTORS.read_text()) if case["service"] == service]
    assert cases
    wrong = []
    for case in cases:
        headers = {name.lower(): value for name, value in case["headers"].items()}
        now = float(case["now"])
        if service == "discord":  # it has no limit of time, ours would refuse some
            now = float(headers.get("x-signature-timestamp", now) or now)
        received = Received(headers, case["body"].encode(), now, 300)
        secret = case.get("secret", case.get("public_key"))
        if is_authentic(style, received, [secret]) is not case["valid"]:
            wrong.append((case["note"], case["valid"]))
    assert wrong == []


@pytest.mark.parametrize("style", sorted(STYLES))
def test_no_headers_and_odd_ones_are_refused(style: str) -> None:
    names = ["webhook-signature", "webhook-timestamp", "webhook-id", "svix-id", "stripe-signature", "x-gitlab-token"]
    for value in ("", "x", "sha256=", "t=,v1=", "v1,", "\ud800", "é" * 100, "9" * 5000, "t=99999999999999999,v1=00"):
        received = Received(dict.fromkeys(names, value), b"{}", time.time(), 300)
        assert not is_authentic(style, received, ["a secret", "00" * 32])


def make_config(folder: Path, monkeypatch: pytest.MonkeyPatch, **values: str) -> Config:
    for name, value in (
        ("TOKEN", "t"),
        ("HS_TOKEN", "h"),
        ("HOOK", "new secret"),
        ("OLD_HOOK", "old secret"),
        ("KEY", KEY),
    ):
        monkeypatch.setenv(name, value)
    file = folder / "bridges.toml"
    file.write_text(CONFIG.format(**{"style": "hmac", "url": "https://site.example/hook", "allow": "", **values}))
    return load(file)


def signed(body: bytes, at: float, secret: str = "new secret") -> dict[str, str]:
    digest = hmac.digest(secret.encode(), f"{int(at)}.".encode() + body, "sha256").hex()
    return {"Webhook-Timestamp": str(int(at)), "Webhook-Signature": f"sha256={digest}"}


async def test_what_is_answered_is_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tmp_path, monkeypatch)
    before = {result: count(metrics.HOOKS, "shop", result) for result in HOOK_RESULTS}
    dead = count(metrics.DELIVERIES, "dead")
    now = time.time()
    woken: list[int] = []
    state = State(config.state)
    hooks = Hooks(config, state, lambda: woken.append(1), lambda: now)
    body = json.dumps({"order": {"id": 7}, "status": "<paid>"}).encode()
    assert hooks.receive("shop", signed(body, now), body) == ({"stored": True}, 202)
    assert hooks.receive("shop", signed(body, now), body) == ({"stored": False}, 202)
    assert hooks.receive("shop", signed(body, now, "old secret"), body)[1] == 202, "while secrets are being changed"
    state.close()
    # The process is gone as soon as it has answered: all is there.
    state = State(config.state)
    hooks = Hooks(config, state, lambda: woken.append(1), lambda: now)
    assert hooks.receive("shop", signed(body, now), body) == ({"stored": False}, 202)
    [delivery] = state.heads("hook:shop", 5)
    assert delivery.content["body"] == "Order 7: <paid>"
    assert delivery.content["formatted_body"] == "<b>&lt;paid&gt;</b>"
    assert delivery.content["m.mentions"] == {}
    assert woken == [1]
    assert state.waiting() == 1
    for headers, data, status in (
        ({}, body, 401),
        (signed(body, now - 301), body, 401),
        (signed(body, now + 301), body, 401),
        (signed(body, now, "another"), body, 401),
        (signed(body, now), body + b" ", 401),
        (signed(b"{", now), b"{", 400),
        (signed(b"[" * 50 + b"]" * 50, now), b"[" * 50 + b"]" * 50, 400),
        (signed(b"\xff", now), b"\xff", 400),
        ({}, b"x" * 2_000_000, 413),
    ):
        assert hooks.receive("shop", headers, data)[1] == status
    assert hooks.receive("nowhere", {}, b"")[1] == 404
    # What no message can be made of is not lost: it is among the dead, with the reason.
    odd = b'{"order": 1}'
    assert hooks.receive("shop", signed(odd, now), odd)[1] == 202
    assert [row[1] for row in state.troubles()] == ["dead"]
    assert state.waiting() == 1
    statuses = {hooks.receive("shop", {}, b"")[1] for _ in range(50)}
    assert statuses == {401, 429}
    state.close()
    counted = {result: count(metrics.HOOKS, "shop", result) - before[result] for result in HOOK_RESULTS}
    assert counted["limited"] > 0
    assert counted["limited"] + counted["forged"] == 5 + 50
    del counted["limited"], counted["forged"]
    assert counted == {"stored": 1, "repeated": 3, "bad": 3, "too_large": 1, "not_rendered": 1}
    assert count(metrics.DELIVERIES, "dead") == dead + 1


def test_bodies() -> None:
    assert parse_body(b"a=1&b=%D0%87", "application/x-www-form-urlencoded; charset=utf-8") == {"a": "1", "b": "Ї"}
    for data, kind in ((b"a=1&" * 2000, "application/x-www-form-urlencoded"), (b"", ""), (b"[" * 100_000, "")):
        with pytest.raises(BadBody):
            parse_body(data, kind)


HOOK_RESULTS = ("stored", "repeated", "forged", "bad", "too_large", "limited", "not_rendered")


def count(counter: Counter, *labels: str) -> float:
    """What was counted until now."""
    names = dict(zip(counter._labelnames, labels, strict=True))
    return metrics.REGISTRY.get_sample_value(f"{counter._name}_total", names) or 0


@asynccontextmanager
async def receiver(answer: Callable[[web.Request, bytes], web.Response]) -> AsyncIterator[str]:
    """A site that is told."""

    async def take(request: web.Request) -> web.Response:
        return answer(request, await request.read())

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


def event(number: int, text: str = "hello") -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "event_id": f"$event{number}",
        "room_id": "!room:hromada.test",
        "sender": "@olena:hromada.test",
        "content": {"msgtype": "m.text", "body": text},
    }


@asynccontextmanager
async def running(endpoints: Endpoints) -> AsyncIterator[None]:
    task = asyncio.create_task(endpoints.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_told_in_order_signed_and_until_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "WAITS_S", (0.01,) * len(WAITS_S))
    taken: list[tuple[str, dict[str, Any]]] = []
    attempts: list[str] = []

    def answer(request: web.Request, data: bytes) -> web.Response:
        id_ = request.headers["webhook-id"]
        attempts.append(id_)
        small = {name.lower(): value for name, value in request.headers.items()}
        assert is_authentic("standard", Received(small, data, time.time(), 300), [KEY])
        if attempts.count(id_) < 3:
            return web.Response(status=503 if len(attempts) % 2 else 302, headers={"Location": "http://127.0.0.1:1/"})
        taken.append((id_, json.loads(data)))
        return web.Response(status=204)

    async with receiver(answer) as url:
        config = make_config(tmp_path, monkeypatch, url=url, allow='allow = ["127.0.0.0/8"]')
        state = State(config.state)
        state.store("orders", Stored(rooms={"orders:[1]": RoomRow("orders:[1]", "_db_orders_1", "", "")}))
        state.made_room("orders:[1]", "!room:hromada.test")
        endpoints = Endpoints(config, state, lambda _who, _text: None)
        for number in (1, 2, 1, 3):
            endpoints.tell(event(number, f"text {number}"))
        endpoints.tell(event(4) | {"type": "m.reaction"})
        endpoints.tell({"type": "m.room.message"})

        async def all_taken() -> bool:
            return len(taken) == 3

        async with running(endpoints):
            await eventually(all_taken)
        state.close()
    assert [body["text"] for _, body in taken] == ["text 1", "text 2", "text 3"]
    assert len({id_ for id_, _ in taken}) == 3
    assert {body["room"]["mapping"] for _, body in taken} == {"orders"}


def waiting(state: State) -> int:
    """How many events are to be sent to sites."""
    with state.transaction() as db:
        return int(db.execute("SELECT count(*) FROM outgoing WHERE state = 'waiting'").fetchone()[0])


def commanded(folder: Path, action: str, *arguments: str) -> str:
    """What a command says that goes well."""
    said = StringIO()
    with redirect_stdout(said):
        assert cli.main([action, str(folder / "bridges.toml"), *arguments]) == 0
    return said.getvalue()


async def test_nothing_is_given_up_within_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    clock = 1_790_000_000.0

    async def send(*_asked: object) -> tuple[int | None, str, float]:
        tries.append(clock)
        return None, "nobody there", 0

    monkeypatch.setattr(Endpoints, "_send", send)
    config = make_config(tmp_path, monkeypatch)
    state = State(config.state)
    told: list[str] = []
    endpoints = Endpoints(config, state, lambda who, text: told.append(f"{who} {text}"), lambda: clock)
    endpoints.tell(event(1))
    client: Any = None
    while not told:
        clock += await endpoints._step("site", endpoints._endpoints["site"], client)
    assert len(tries) == 8
    for before, after, least in zip(tries, tries[1:], (5, 30, 120, 600, 3_600, 21_600, 86_400), strict=False):
        assert least - 0.01 <= after - before <= 1.1 * least + 0.01
    state.close()


async def test_put_aside_after_a_day_and_ended_by_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "WAITS_S", (0.0,) * len(WAITS_S))
    before = {result: count(metrics.ENDPOINTS, "site", result) for result in ("done", "postponed", "dead", "gone")}
    told: list[str] = []
    status = 500

    async with receiver(lambda _request, _data: web.Response(status=status)) as url:
        config = make_config(tmp_path, monkeypatch, url=url, allow='allow = ["127.0.0.1/32"]')
        state = State(config.state)
        endpoints = Endpoints(config, state, lambda who, text: told.append(f"{who} {text}"))
        endpoints.tell(event(1))

        async def dead() -> bool:
            return len(troubles(state)) == len(told) == (1 if status == 500 else 2)

        async with running(endpoints):
            await eventually(dead)
            status = 410
            endpoints.tell(event(2))
            await eventually(dead)
            endpoints.tell(event(3))
        state.close()
        # Nor after a restart: only an operator begins anew.
        state = State(config.state)
        endpoints = Endpoints(config, state, lambda who, text: told.append(f"{who} {text}"))
        monkeypatch.setattr(outgoing, "_IDLE_S", 0.01)
        async with running(endpoints):
            await asyncio.sleep(0.1)
            assert waiting(state) == 1
            assert commanded(tmp_path, "status").splitlines()[0] == "endpoint.site: paused (it answered 410)"
            status = 200
            commanded(tmp_path, "resume")  # of mappings
            assert commanded(tmp_path, "resume", "--endpoint", "site") == "endpoint.site: resumed\n"

            async def sent() -> bool:
                return waiting(state) == 0

            await eventually(sent)
        assert cli.main(["pause", str(tmp_path / "bridges.toml"), "--endpoint", "nowhere"]) == 2
        made = {result: count(metrics.ENDPOINTS, "site", result) - n for result, n in before.items()}
        assert made == {"done": 1, "postponed": len(WAITS_S), "dead": 1, "gone": 1}
        assert "500" in troubles(state)[0][2]
        assert "410" in told[1]
        assert len(troubles(state)) == 2, "nothing more is sent to who wants no more"
        state.close()


async def test_nothing_private_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def answer(_request: web.Request, _data: bytes) -> web.Response:
        asked.append(1)
        return web.Response()

    monkeypatch.setattr(outgoing, "WAITS_S", ())
    async with receiver(answer) as url:
        config = make_config(tmp_path, monkeypatch, url=url, allow='allow = ["10.1.2.0/24"]')
        state = State(config.state)
        endpoints = Endpoints(config, state, lambda _who, _text: None)
        endpoints.tell(event(1))

        async def dead() -> bool:
            return bool(troubles(state))

        async with running(endpoints):
            await eventually(dead)
        assert "is not asked" in troubles(state)[0][2]
        state.close()
    assert asked == []


# long: one story, from the site to the room and back
@pytest.mark.timeout(900)
async def test_between_a_site_and_a_room(
    start_server: StartServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A real server and a real bridge, which is killed as soon as it has answered."""
    taken: list[dict[str, Any]] = []

    def answer(_request: web.Request, data: bytes) -> web.Response:
        taken.append(json.loads(data))
        return web.Response()

    server_port, bridge_port = free_port(), free_port()
    async with receiver(answer) as url:
        text = CONFIG.format(style="github", url=url, allow='allow = ["127.0.0.0/8"]').replace("{{ env = ", "{ env = ")
        text = text.replace("http://127.0.0.1:1", f"http://127.0.0.1:{server_port}").replace("29400", str(bridge_port))
        text = text.replace("[hook.shop]", '[hook.shop]\ninvite = ["@olena:hromada.test"]')
        bridge = Bridge(
            tmp_path, TOKEN="the-as_token", HS_TOKEN="the-hs_token", HOOK="new secret", OLD_HOOK="old secret", KEY=KEY
        )
        bridge.file.write_text(text)
        registration = tmp_path / "registration.yaml"
        registration.write_text(bridge.ok("registration"))
        environment = {"HROMADA_APPSERVICES_FILES": str(registration)}
        server = start_server(environment=environment, listen=f"127.0.0.1:{server_port}")
        olena = await Client(http, server.url).register("olena")
        hook = f"http://127.0.0.1:{bridge_port}/hook/shop"

        async def posted(number: int, secret: str = "new secret") -> int:
            body = json.dumps({"order": {"id": number}, "status": "paid"}).encode()
            signature = "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()
            try:
                async with http.post(hook, data=body, headers={"X-Hub-Signature-256": signature}) as reply:
                    return reply.status
            except aiohttp.ClientConnectionError:
                return 0

        async def is_taken() -> bool:
            return await posted(1) == 202

        bridge.start()
        try:
            await eventually(is_taken, PATIENCE_S)
            assert await posted(2, "wrong") == 401
            assert await posted(2) == 202
            bridge.kill()
            bridge.start()
            await eventually(is_taken, PATIENCE_S)
            async with http.get(hook) as reply:
                assert reply.status == 405

            async def told() -> bool:
                found = [event["content"]["body"] for event in await messages(olena, "_db_hook_shop")]
                return found == ["Order 1: paid", "Order 2: paid"]

            await eventually(told, PATIENCE_S)
            room = (await messages(olena, "_db_hook_shop"))[0]["room_id"]
            await olena.send(room, {"msgtype": "m.text", "body": "thank you"})

            async def heard() -> bool:
                return [body["text"] for body in taken] == ["thank you"]

            await eventually(heard, PATIENCE_S)
            assert bridge.stop() == 0
        finally:
            bridge.kill()


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('style = "hmac"', 'style = "rot13"', "hook.shop"),
        ("body.status", "nothing.status", "there is no nothing"),
        ("[hook.shop]", '[hook.shop]\nrate = "fast"', "hook.shop.rate"),
        ("[hook.shop]", '[hook.shop]\nroom = "room"', "must begin with ! or #"),
        ("https://", "http://", "must begin with https://"),
        ('listen = "127.0.0.1:29400"', "", "appservice.listen is needed"),
    ],
)
def test_wrong_settings_are_named(
    old: str, new: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_config(tmp_path, monkeypatch)
    file = tmp_path / "bridges.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError) as raised:
        load(file)
    assert any(fault in one for one in raised.value.faults), raised.value.faults


def test_what_is_sent_is_signed_as_others_check_it() -> None:
    headers = signed_headers(f"whsec_{KEY}", "msg_1", 1_790_000_000, b"{}")
    expected = hmac.new(base64.b64decode(KEY), b"msg_1.1790000000.{}", hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
