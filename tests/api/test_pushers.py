"""Pushers over the API, and what a push gateway is told.  spec: client-server-api#push-notifications"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.client import PASSWORD, Client, part
from tests.support.fixtures import fresh
from tests.support.pushgateway import ENVIRONMENT, PushGateway, running_gateway
from tests.support.server import Server

pytestmark = pytest.mark.all_only

HTTPS = "https://push.example.org/_matrix/push/v1/notify"
ENABLED, DEVICE_ID = "org.matrix.msc3881.enabled", "org.matrix.msc3881.device_id"


@pytest.fixture
async def gateway() -> AsyncIterator[PushGateway]:
    """A push gateway."""
    async with running_gateway() as running:
        yield running


async def user(server: Server, http: aiohttp.ClientSession, name: str) -> Client:
    return await Client(http, server.url).register(fresh(name))


def pusher(pushkey: str = "key", **change: Any) -> dict[str, Any]:
    return {
        "pushkey": pushkey,
        "kind": "http",
        "app_id": "org.example.app",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": HTTPS, "format": "event_id_only", "brand": "x"},
        **change,
    }


async def pushers(client: Client) -> list[dict[str, Any]]:
    answer: dict[str, Any] = await client.ok("GET", "/pushers")
    found: list[dict[str, Any]] = answer["pushers"]
    return found


async def test_setting_and_listing(alice: Client) -> None:
    assert await pushers(alice) == []
    assert await alice.ok("POST", "/pushers/set", pusher(profile_tag="t")) == {}
    shown = {**pusher(profile_tag="t"), ENABLED: True, DEVICE_ID: alice.device_id}
    assert await pushers(alice) == [shown]
    await alice.ok("POST", "/pushers/set", pusher(lang="uk", **{ENABLED: False}))
    assert await pushers(alice) == [{**pusher(lang="uk"), ENABLED: False, DEVICE_ID: alice.device_id}]
    await alice.ok("POST", "/pushers/set", pusher("other"))
    assert [one["pushkey"] for one in await pushers(alice)] == ["key", "other"]
    for _ in range(2):
        await alice.ok("POST", "/pushers/set", {"kind": None, "app_id": "org.example.app", "pushkey": "key"})
    assert [one["pushkey"] for one in await pushers(alice)] == ["other"]


async def test_switching_another_devices_pusher_off_and_on_leaves_it_there(alice: Client) -> None:
    await alice.ok("POST", "/pushers/set", pusher("phone"))
    laptop = await alice.another_device()
    for enabled in (False, True):
        (shown,) = await pushers(laptop)
        await laptop.ok("POST", "/pushers/set", {**shown, ENABLED: enabled})  # as Element does
        assert await pushers(alice) == [{**shown, ENABLED: enabled}] and shown[DEVICE_ID] == alice.device_id
    await laptop.ok("POST", "/logout")
    assert len(await pushers(alice)) == 1, "it ends with its own device only"
    laptop = await alice.another_device()
    await laptop.ok("POST", "/pushers/set", pusher("phone", **{DEVICE_ID: "NOBODYS"}))
    assert (await pushers(alice))[0][DEVICE_ID] == laptop.device_id, "the app of this name moved"


async def test_append(alice: Client, bob: Client) -> None:
    name = fresh("key")
    await alice.ok("POST", "/pushers/set", pusher(name))
    await bob.ok("POST", "/pushers/set", pusher(name, append=True))
    assert len(await pushers(alice)) == len(await pushers(bob)) == 1
    await bob.ok("POST", "/pushers/set", pusher(name))
    assert (await pushers(alice), len(await pushers(bob))) == ([], 1)


async def test_bad_pushers_are_refused(alice: Client) -> None:
    for missing in ("app_display_name", "device_display_name", "lang", "data", "app_id", "pushkey"):
        body = {name: value for name, value in pusher().items() if name != missing}
        (await alice.request("POST", "/pushers/set", body)).error(400, "M_MISSING_PARAM")
    for change, status, code in (
        ({"kind": "carrier pigeon"}, 400, "M_INVALID_PARAM"),
        ({"app_id": "a" * 65}, 400, "M_INVALID_PARAM"),
        ({"pushkey": "k" * 513}, 400, "M_INVALID_PARAM"),
        ({"pushkey": "k\0"}, 400, "M_INVALID_PARAM"),
        ({"lang": 3}, 400, "M_BAD_JSON"),
        ({"append": "yes"}, 400, "M_BAD_JSON"),
        ({"data": []}, 400, "M_BAD_JSON"),
        ({"data": {}}, 400, "M_MISSING_PARAM"),
        ({"data": {"url": 1}}, 400, "M_MISSING_PARAM"),
        ({"data": {"url": HTTPS, "format": 1}}, 400, "M_INVALID_PARAM"),
        ({"data": {"url": HTTPS, "x": "x" * 9_000}}, 413, "M_TOO_LARGE"),
        ({"data": {"url": HTTPS.replace("https", "http")}}, 400, "M_INVALID_PARAM"),
        ({"data": {"url": "https://push.example.org/elsewhere"}}, 400, "M_INVALID_PARAM"),
        ({"data": {"url": "https:///_matrix/push/v1/notify"}}, 400, "M_INVALID_PARAM"),
        ({"data": {"url": HTTPS.replace("push.", "user:password@push.")}}, 400, "M_INVALID_PARAM"),
        ({"data": {"url": HTTPS.replace("org/", "org:99999/")}}, 400, "M_INVALID_PARAM"),
    ):
        (await alice.request("POST", "/pushers/set", pusher(**change))).error(status, code)
    assert await pushers(alice) == []


async def test_a_device_takes_its_pushers_along(alice: Client) -> None:
    phone = await alice.another_device()
    await alice.ok("POST", "/pushers/set", pusher("own"))
    await phone.ok("POST", "/pushers/set", pusher("phone"))
    await phone.ok("POST", "/logout", {})
    assert [one["pushkey"] for one in await pushers(alice)] == ["own"]


@pytest.mark.parametrize("logout", [True, False])
async def test_a_new_password_ends_the_pushers_of_other_devices(alice: Client, logout: bool) -> None:
    phone = await alice.another_device()
    await phone.ok("POST", "/pushers/set", pusher("phone"))
    await alice.ok("POST", "/pushers/set", pusher("own"))
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": PASSWORD,
    }
    body = {"new_password": PASSWORD + "!", "logout_devices": logout, "auth": auth}
    await alice.ok("POST", "/account/password", body)
    assert {one["pushkey"] for one in await pushers(alice)} == ({"own"} if logout else {"own", "phone"})


async def test_a_gateway_is_told_of_a_message(
    push_server: Server, http: aiohttp.ClientSession, gateway: PushGateway
) -> None:
    alice, bob = await user(push_server, http, "alice"), await user(push_server, http, "bob")
    await alice.ok("PUT", f"/profile/{part(alice.user_id)}/displayname", {"displayname": "Alice"})
    room = await alice.create_room(name="Mission Control", invite=[bob.user_id])
    await bob.join(room)
    await bob.ok("POST", "/pushers/set", pusher("full", data=gateway.data(brand="x")))
    await bob.ok("POST", "/pushers/set", pusher("id", data=gateway.data(format="event_id_only")))
    event_id = await alice.send(room, "hello")
    await gateway.until(lambda: len(gateway.of("full")) == len(gateway.of("id")) == 1)
    full = dict(gateway.of("full")[0])
    (device,) = full.pop("devices")
    device = dict(device)
    assert isinstance(device.pop("pushkey_ts"), int)
    assert device == {
        "app_id": "org.example.app",
        "pushkey": "full",
        "data": {"brand": "x"},
        "tweaks": device["tweaks"],
    }
    assert full == {
        "event_id": event_id,
        "room_id": room,
        "type": "m.room.message",
        "sender": alice.user_id,
        "sender_display_name": "Alice",
        "room_name": "Mission Control",
        "content": {"msgtype": "m.text", "body": "hello"},
        "prio": "high",
        "counts": {"unread": 1},
    }
    assert device["tweaks"] == {"sound": "default"}
    (short,) = gateway.of("id")
    assert set(short) == {"event_id", "room_id", "prio", "counts", "devices"}
    assert short["devices"][0]["data"] == {"format": "event_id_only"}


async def test_reading_elsewhere_updates_the_number(
    push_server: Server, http: aiohttp.ClientSession, gateway: PushGateway
) -> None:
    alice, bob = await user(push_server, http, "alice"), await user(push_server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    for _ in range(2):
        last = await alice.send(room, "hello")
    await gateway.until(lambda: gateway.badges("bob")[-1:] == [2])
    await bob.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(last)}", {})
    await gateway.until(lambda: gateway.badges("bob")[-1:] == [0])
    assert "event_id" not in gateway.received[-1] and gateway.received[-1]["prio"] == "low"
    assert len(gateway.of("bob")) == 2


async def test_what_tells_nobody(push_server: Server, http: aiohttp.ClientSession, gateway: PushGateway) -> None:
    """Own messages, notices, ignored people, muted rooms, disabled pushers, rooms one has left."""
    alice, bob = await user(push_server, http, "alice"), await user(push_server, http, "bob")
    carol = await user(push_server, http, "carol")
    rooms = []
    for _ in range(3):
        room = await alice.create_room(invite=[bob.user_id, carol.user_id])
        await bob.join(room)
        await carol.join(room)
        rooms.append(room)
    talk, muted, left = rooms
    ignored = {"ignored_users": {carol.user_id: {}}}
    await bob.ok("PUT", f"/user/{part(bob.user_id)}/account_data/m.ignored_user_list", ignored)
    await bob.ok("PUT", f"/pushrules/global/room/{part(muted)}", {"actions": []})
    await bob.ok("POST", f"/rooms/{part(left)}/leave", {})
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    await bob.ok("POST", "/pushers/set", pusher("off", data=gateway.data(), **{ENABLED: False}))
    await bob.send(talk, "mine")
    await carol.send(talk, "ignored")
    await alice.send(muted, "muted")
    await alice.send(left, "gone")
    await alice.send(talk, {"msgtype": "m.notice", "body": "notice"})
    told = await alice.send(talk, "last")
    await gateway.until(lambda: bool(gateway.of("bob")))
    assert [one["event_id"] for one in gateway.of("bob")] == [told]
    assert gateway.of("off") == []


async def test_an_invitation_is_told(push_server: Server, http: aiohttp.ClientSession, gateway: PushGateway) -> None:
    alice, bob = await user(push_server, http, "alice"), await user(push_server, http, "bob")
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    room = await alice.create_room(name="Secret", invite=[bob.user_id])
    await alice.send(room, "before bob is there")
    await gateway.until(lambda: bool(gateway.of("bob")))
    (told,) = gateway.of("bob")
    assert (told["type"], told["user_is_target"], told["counts"]) == ("m.room.member", True, {"unread": 1})
    await bob.join(room)
    event_id = await alice.send(room, "now")
    await gateway.until(lambda: len(gateway.of("bob")) == 2)
    assert gateway.of("bob")[1]["event_id"] == event_id


async def test_a_rejected_key_ends_the_pusher(
    push_server: Server, http: aiohttp.ClientSession, gateway: PushGateway
) -> None:
    alice, bob = await user(push_server, http, "alice"), await user(push_server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    await bob.ok("POST", "/pushers/set", pusher("dead", data=gateway.data()))
    await bob.ok("POST", "/pushers/set", pusher("alive", data=gateway.data()))
    gateway.rejected = ["dead", 7]  # type: ignore[list-item]
    await alice.send(room, "one")
    await gateway.until(lambda: bool(gateway.of("alive")) and bool(gateway.of("dead")))
    async with asyncio.timeout(90):
        while [one["pushkey"] for one in await pushers(bob)] != ["alive"]:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_a_failing_gateway_is_asked_again_and_disturbs_nobody(
    push_server: Server, http: aiohttp.ClientSession, gateway: PushGateway, status: int
) -> None:
    alice, bob = await user(push_server, http, "alice"), await user(push_server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    async with running_gateway() as other:
        await bob.ok("POST", "/pushers/set", pusher("failing", data=gateway.data()))
        await bob.ok("POST", "/pushers/set", pusher("well", data=other.data()))
        gateway.status = status
        sent = [await alice.send(room, str(number)) for number in range(3)]
        await other.until(lambda: [one["event_id"] for one in other.of("well")] == sent)
        await gateway.until(lambda: gateway.asked > 1)
        gateway.status = 200
        await gateway.until(lambda: [one["event_id"] for one in gateway.of("failing")] == sent)


async def test_a_private_address_is_not_asked(
    start_server: Any, http: aiohttp.ClientSession, gateway: PushGateway
) -> None:
    server = start_server(environment={"HROMADA_PUSH_INSECURE_GATEWAYS": "true"})
    alice, bob = await user(server, http, "alice"), await user(server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    await alice.send(room, "hello")
    async with asyncio.timeout(90):
        while "push_gateway_failed" not in server.log.read_text():
            await asyncio.sleep(0.02)
    assert gateway.asked == 0


async def test_an_odd_address_disturbs_nobody(
    push_server: Server, http: aiohttp.ClientSession, gateway: PushGateway
) -> None:
    alice, bob = await user(push_server, http, "alice"), await user(push_server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    for number, host in enumerate(("a b", "..", "xn--", "é" * 80, "0x7f.1", "[::]", "%00", "localhost:1")):
        body = pusher(f"odd{number}", data={"url": f"http://{host}/_matrix/push/v1/notify"})
        assert (await bob.request("POST", "/pushers/set", body)).status in (200, 400)
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    for number in range(2):
        await alice.send(room, f"{number}")
    await gateway.until(lambda: len(gateway.of("bob")) == 2)


async def test_each_event_once_through_restarts(
    start_server: Any, http: aiohttp.ClientSession, gateway: PushGateway, database: str
) -> None:
    server = start_server(database, environment=ENVIRONMENT)
    alice, bob = await user(server, http, "alice"), await user(server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    sent: list[str] = []
    for number in range(3):
        for _ in range(5):
            sent.append(await alice.send(room, f"{number}"))
        if number == 0:
            # All told and stored: then even a kill repeats nothing.
            await gateway.until(lambda: len(gateway.of("bob")) == len(sent))
            await asyncio.to_thread(server.stop)
        else:
            server.kill()
        await asyncio.to_thread(server.start)
        alice.base_url = bob.base_url = server.url
    await gateway.until(lambda: {one["event_id"] for one in gateway.of("bob")} == set(sent))
    told = [one["event_id"] for one in gateway.of("bob")]
    assert list(dict.fromkeys(told)) == sent, "in order, and nothing is left out"
    assert told[:5] == sent[:5] and not set(told[5:]) & set(sent[:5]), "a stop repeats nothing"
    # A kill may leave one push whose answer nobody stored: gateways know it by its event id.
    assert gateway.badges("bob")[-1] == len(sent)
