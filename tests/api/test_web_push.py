"""Web Push: what a browser's push service is told, and what it can read of it.  RFC 8030, 8291, 8292"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.client import Client
from tests.support.fixtures import fresh
from tests.support.pushgateway import ENVIRONMENT
from tests.support.pushservice import PushService, base64url, running_push_service
from tests.support.server import Server

pytestmark = pytest.mark.all_only

KIND = "chat.hromada.webpush"


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    """A browser's push service."""
    async with running_push_service() as running:
        yield running


def pusher(service: PushService, **data: Any) -> dict[str, Any]:
    return {
        "pushkey": service.p256dh,
        "kind": KIND,
        "app_id": "chat.hromada.web",
        "app_display_name": "Hromada",
        "device_display_name": "Firefox, Linux",
        "lang": "uk",
        "data": {"url": service.endpoint, "auth": service.auth, **data},
    }


async def two(server: Server, http: aiohttp.ClientSession) -> tuple[Client, Client, str]:
    """Two people in a direct chat."""
    ada, maya = [await Client(http, server.url).register(fresh(name)) for name in ("ada", "maya")]
    room = await ada.shared_room(maya, name="Garden")
    return ada, maya, room


async def test_a_browser_is_told_and_nobody_between_reads_it(
    push_server: Server, http: aiohttp.ClientSession, service: PushService
) -> None:
    ada, maya, room = await two(push_server, http)
    await ada.ok("POST", "/pushers/set", pusher(service))
    event = await maya.send(room, "the first tomatoes")
    await service.until(lambda: len(service.pushed) == 1)
    [pushed] = service.pushed
    assert pushed.said == {
        "room": room,
        "event": event,
        "unread": 1,
        "lang": "uk",
        "sender": maya.user_id,
        "name": "Garden",
        "text": "the first tomatoes",
    }
    async with http.get(f"{push_server.url}/_hromada/web/config") as answer:
        key = (await answer.json())["push_key"]
    claims = pushed.token(key)
    assert claims["aud"] == service.origin
    assert claims["sub"].startswith(("https://", "http://"))
    assert pushed.headers["Content-Encoding"] == "aes128gcm"
    assert int(pushed.headers["TTL"]) > 0
    assert pushed.headers["Urgency"] == "high"  # two people: everything sounds
    # What is encrypted says nothing but who and where; a long text is cut to what push services take.
    await maya.send(room, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" * 5_000}, "m.room.encrypted")
    await maya.send(room, "ґ" * 9_000)
    await service.until(lambda: len(service.pushed) == 3)
    assert "text" not in service.pushed[1].said
    assert set(service.pushed[2].said["text"]) == {"ґ"}
    topics = {one.headers["Topic"] for one in service.pushed}
    assert len(topics) == 1
    assert room not in topics
    # Who has read it is not woken for that: browsers would have to show something.
    await ada.ok("POST", f"/rooms/{room}/receipt/m.read/{event}", {})
    # Without the text, if that is the user's wish; and an invitation says that it is one.
    await ada.ok("POST", "/pushers/set", pusher(service, format="event_id_only"))
    last = await maya.send(room, "a secret")
    await service.until(lambda: len(service.pushed) == 4)
    assert service.pushed[3].said == {
        "room": room,
        "event": last,
        "unread": service.pushed[3].said["unread"],
        "lang": "uk",
    }
    await ada.ok("POST", "/pushers/set", pusher(service))
    await maya.ok("POST", "/createRoom", {"invite": [ada.user_id], "name": "Orchard"})
    await service.until(lambda: len(service.pushed) == 5)
    assert service.pushed[4].said["invited"] is True


async def test_a_subscription_that_is_over_ends_the_pusher(
    push_server: Server, http: aiohttp.ClientSession, service: PushService
) -> None:
    ada, maya, room = await two(push_server, http)
    await ada.ok("POST", "/pushers/set", pusher(service))
    # A push service in trouble is asked again, and then told what it missed.
    service.status = 500
    await maya.send(room, "while it was down")
    await service.until(lambda: service.asked >= 2)
    service.status = 201
    await service.until(lambda: bool(service.pushed))
    assert service.pushed[0].said["text"] == "while it was down"
    service.status = 410
    await maya.send(room, "to nobody")
    async with asyncio.timeout(90):
        while (await ada.ok("GET", "/pushers"))["pushers"]:
            await asyncio.sleep(0.05)


async def test_what_no_browser_gives_is_refused(
    push_server: Server, http: aiohttp.ClientSession, service: PushService
) -> None:
    ada = await Client(http, push_server.url).register(fresh("ada"))
    good = pusher(service)
    wrong: list[dict[str, Any]] = [
        {**good, "pushkey": base64url(b"\4" + bytes(64))},  # no point of the curve
        {**good, "pushkey": service.p256dh[:-4]},
        {**good, "pushkey": "!" * 87},
        {**good, "data": {"url": service.endpoint}},
        {**good, "data": {"url": service.endpoint, "auth": base64url(bytes(15))}},
        {**good, "data": {"url": service.endpoint, "auth": 5}},
        {**good, "data": {"url": "ftp://push.example.org/x", "auth": service.auth}},
        {**good, "data": {"url": "http://a@push.example.org/x", "auth": service.auth}},
        {**good, "kind": "org.example.webpush"},
    ]
    for one in wrong:
        (await ada.request("POST", "/pushers/set", one)).error(400, "M_INVALID_PARAM")
    missing = {**good, "data": {"auth": service.auth}}
    (await ada.request("POST", "/pushers/set", missing)).error(400, "M_MISSING_PARAM")
    assert (await ada.ok("GET", "/pushers"))["pushers"] == []


async def test_an_operator_can_do_without(start_server: Any, http: aiohttp.ClientSession, service: PushService) -> None:
    server = start_server("sqlite", environment={"HROMADA_PUSH_WEB": "false", **ENVIRONMENT})
    ada = await Client(http, server.url).register(fresh("ada"))
    (await ada.request("POST", "/pushers/set", pusher(service))).error(400, "M_INVALID_PARAM")
    async with http.get(f"{server.url}/_hromada/web/config") as answer:
        assert (await answer.json())["push_key"] is None
