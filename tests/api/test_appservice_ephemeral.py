"""What application services are told besides events: receipts, typing, presence, messages and keys of their devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.test_appservice_push import Place, place
from tests.support.appservice import BOT, RunningService, registration, running_service
from tests.support.client import part
from tests.support.fixtures import StartServer
from tests.support.keys import device_keys

pytestmark = pytest.mark.all_only

NAMES = {"users": [{"exclusive": True, "regex": "@_db_.*"}, {"exclusive": False, "regex": "@alice-.*"}]}


def ephemeral(service: RunningService, kind: str) -> list[dict[str, Any]]:
    """Ephemeral events of a type; both names say the same."""
    found = []
    for body in service.bodies():
        assert body.get("ephemeral") == body.get("de.sorunome.msc2409.ephemeral")
        found += [event for event in body.get("ephemeral", ()) if event["type"] == kind]
    return found


def readers(service: RunningService) -> list[tuple[str, str, str, str | None]]:
    """(event, type, user, thread) of all receipts, in order."""
    return [
        (event_id, kind, user, shown.get("thread_id"))
        for event in ephemeral(service, "m.receipt")
        for event_id, kinds in event["content"].items()
        for kind, users in kinds.items()
        for user, shown in users.items()
    ]


def to_device(service: RunningService) -> list[dict[str, Any]]:
    """All messages to devices."""
    return [message for body in service.bodies() for message in body.get("to_device", ())]


async def test_receipts_typing_and_presence(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str
) -> None:
    async with running_service() as service:
        more = {"receive_ephemeral": True, "namespaces": NAMES}
        here = await place(start_server, tmp_path, http, database, registration(service.url, **more))
        alice, bob = here.alice, await here.person("bob")
        elsewhere = await bob.create_room()
        event = await bob.send(elsewhere, "not for it")
        await bob.ok("POST", f"/rooms/{part(elsewhere)}/receipt/m.read/{part(event)}", {})
        await bob.ok("PUT", f"/rooms/{part(elsewhere)}/typing/{part(bob.user_id)}", {"typing": True, "timeout": 60000})
        room = await here.bot.create_room(preset="public_chat")
        for user in (alice, bob):
            await user.ok("POST", f"/rooms/{part(room)}/join", {})
        events = [await here.bot.send(room, f"{number}") for number in range(20)]
        for event in events:
            await bob.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(event)}", {})
        await bob.ok("POST", f"/rooms/{part(room)}/receipt/m.read.private/{part(events[-1])}", {})
        await alice.ok("POST", f"/rooms/{part(room)}/receipt/m.read.private/{part(events[-1])}", {})
        await alice.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(events[0])}", {"thread_id": "main"})
        await service.until(lambda: (events[0], "m.read", alice.user_id, "main") in readers(service))
        seen = [event for event, kind, user, _ in readers(service) if (kind, user) == ("m.read", bob.user_id)]
        assert seen[-1] == events[-1]
        assert [events.index(event) for event in seen] == sorted({events.index(event) for event in seen})
        private = {user for _, kind, user, _ in readers(service) if kind == "m.read.private"}
        assert private == {alice.user_id}, "private receipts of its own users only"
        assert {event["room_id"] for event in ephemeral(service, "m.receipt")} == {room}

        await bob.ok("PUT", f"/rooms/{part(room)}/typing/{part(bob.user_id)}", {"typing": True, "timeout": 60000})
        typing = {"type": "m.typing", "room_id": room, "content": {"user_ids": [bob.user_id]}}
        await service.until(lambda: typing in ephemeral(service, "m.typing"))
        await bob.ok("PUT", f"/rooms/{part(room)}/typing/{part(bob.user_id)}", {"typing": False})
        await service.until(lambda: ephemeral(service, "m.typing")[-1]["content"] == {"user_ids": []})
        assert {event["room_id"] for event in ephemeral(service, "m.typing")} == {room}

        status = {"presence": "online", "status_msg": "here"}
        await bob.ok("PUT", f"/presence/{part(bob.user_id)}/status", status)
        await service.until(lambda: any(event["sender"] == bob.user_id for event in ephemeral(service, "m.presence")))
        shown = ephemeral(service, "m.presence")[-1]["content"]
        assert (shown["presence"], shown["status_msg"]) == ("online", "here")


async def test_asks_for_none_gets_none(start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with running_service() as service:
        here = await place(start_server, tmp_path, http, "sqlite", registration(service.url))
        room = await here.bot.create_room(preset="public_chat")
        await here.alice.ok("POST", f"/rooms/{part(room)}/join", {})
        event = await here.alice.send(room, "one")
        await here.alice.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(event)}", {})
        await here.alice.send(room, "two")
        await service.until(lambda: "two" in service.messages())
        assert all(set(body) == {"events"} for body in service.bodies())


async def test_messages_to_devices(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str
) -> None:
    async with running_service() as service:
        flags = {"de.sorunome.msc2409.push_ephemeral": True, "org.matrix.msc3202": True}
        here = await place(start_server, tmp_path, http, database, registration(service.url, **flags))
        alice = here.alice
        devices = []
        for name in ("_db_one", "_db_two", "_db_three"):
            ghost = await here.ghost(name)
            for device in ("A", "B"):
                await here.as_ghost(ghost, "PUT", f"/devices/{device}", {})
                devices.append((ghost, device))
        for number, (user, device) in enumerate(devices):
            body = {"messages": {user: {device: {"number": number}}}}
            await alice.ok("PUT", f"/sendToDevice/x.test/first{number}", body)
        await service.until(lambda: len(to_device(service)) == 6)
        message = to_device(service)[0]
        assert message["type"] == "x.test"
        assert message["sender"] == alice.user_id
        got = [(item["to_user_id"], item["to_device_id"], item["content"]["number"]) for item in to_device(service)]
        assert got == [(user, device, number) for number, (user, device) in enumerate(devices)]
        assert service.bodies()[-1]["to_device"] == service.bodies()[-1]["de.sorunome.msc2409.to_device"]
        # While it is away, none is lost.
        await service.stop()
        users = {user for user, _ in devices}
        for number in range(170):
            body = {"messages": {user: {"A": {"number": number}, "B": {"number": number}} for user in users}}
            await alice.ok("PUT", f"/sendToDevice/x.test/later{number}", body)
        here.server.kill()
        here.server.start()
        here.again()
        service.transactions.clear()
        await service.start()
        await service.until(lambda: len(to_device(service)) >= 1020)
        # The last one before it went away may be repeated as it was.
        late = to_device(service)[-1020:]
        assert [item["content"]["number"] for item in late] == [number for number in range(170) for _ in range(6)]
        for first in range(0, 1020, 6):
            assert {(item["to_user_id"], item["to_device_id"]) for item in late[first : first + 6]} == set(devices)
        # What it has is not kept for a sync that never comes.
        await here.bot.create_room()
        await service.until(lambda: bool(service.events()))
        for user, device in devices:
            synced = await here.as_ghost(user, "GET", "/sync", device_id=device, timeout=0)
            assert not synced.get("to_device", {}).get("events")


async def test_keys_and_device_lists(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str
) -> None:
    async with running_service() as service:
        flags = {"receive_ephemeral": True, "org.matrix.msc3202": True}
        here = await place(start_server, tmp_path, http, database, registration(service.url, **flags))
        alice, bob = here.alice, await here.person("bob")
        await here.bot.ok("PUT", "/devices/CRYPTO", {})
        keys = {f"signed_curve25519:{n}": {"key": f"k{n}", "signatures": {}} for n in range(3)}
        fallback = {"signed_curve25519:f": {"key": "kf", "fallback": True, "signatures": {}}}
        body = {"one_time_keys": keys, "fallback_keys": fallback}
        uploaded = await here.bot.ok("POST", "/keys/upload", body, params={"device_id": "CRYPTO"})
        assert uploaded["one_time_key_counts"]["signed_curve25519"] == 3
        claim = {"one_time_keys": {BOT: {"CRYPTO": "signed_curve25519"}}}
        await alice.ok("POST", "/keys/claim", claim)

        def told(name: str, wanted: Callable[[Any], bool]) -> bool:
            return any(wanted(body[name]) for body in service.bodies() if name in body)

        def are_left(count: int) -> Callable[[Any], bool]:
            return lambda counts: counts[BOT]["CRYPTO"]["signed_curve25519"] == count

        await service.until(lambda: told("device_one_time_keys_count", are_left(2)))
        assert told("org.matrix.msc3202.device_one_time_keys_count", are_left(2))
        await service.until(
            lambda: told(
                "device_unused_fallback_key_types", lambda kinds: kinds[BOT]["CRYPTO"] == ["signed_curve25519"]
            )
        )
        for _ in range(3):
            await alice.ok("POST", "/keys/claim", claim)
        await service.until(lambda: told("device_one_time_keys_count", are_left(0)))
        await service.until(lambda: told("device_unused_fallback_key_types", lambda kinds: kinds[BOT]["CRYPTO"] == []))

        def listed(how: str, user: str) -> bool:
            return told("device_lists", lambda lists: user in lists[how])

        room = await here.bot.create_room(preset="public_chat")
        await alice.ok("POST", f"/rooms/{part(room)}/join", {})
        await service.until(lambda: listed("changed", alice.user_id))
        service.transactions.clear()
        for user in (bob, alice):  # bob shares no room with it
            await user.ok("POST", "/keys/upload", {"device_keys": device_keys(user.user_id, user.device_id)})
        await service.until(lambda: listed("changed", alice.user_id))
        await alice.ok("POST", f"/rooms/{part(room)}/leave", {})
        await service.until(lambda: listed("left", alice.user_id))
        assert not listed("changed", bob.user_id)


async def place_with(start_server: StartServer, folder: Path, http: aiohttp.ClientSession, **more: Any) -> Place:
    return await place(start_server, folder, http, "sqlite", registration(None, **more))


@pytest.mark.parametrize("method", ["DELETE", "cross-signing"])
async def test_no_interactive_authentication(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, method: str
) -> None:
    here = await place_with(start_server, tmp_path, http)
    await here.bot.ok("PUT", "/devices/D", {})
    if method == "DELETE":
        await here.bot.ok("DELETE", "/devices/D", {})
        asked = await here.alice.request("DELETE", f"/devices/{here.alice.device_id}", {})
        assert asked.status == 401
        return
    keys = {"user_id": BOT, "usage": ["master"], "keys": {"ed25519:" + "A" * 43: "A" * 43}}
    done = await here.bot.request("POST", "/keys/device_signing/upload", {"master_key": keys})
    assert done.status != 401, done
