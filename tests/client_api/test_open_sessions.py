"""What is open when a session ends, an account is locked or suspended, or a room is left: closed or filtered at once.

reliability: S2. Every case has a socket and a long poll open that would otherwise go on for minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.client import PASSWORD, Client, Reply, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.server import ROOT, SHARED_SECRET, Server
from tests.support.stream import Stream, streaming

ADMIN_REGISTER = "/_synapse/admin/v1/register"
ADMIN = "/_matrix/client/v1/admin"

End = Callable[[Client, Client], Awaitable[None]]
"""Ends a session: of the device that is watched, as that user's other device."""


@pytest.fixture
async def admin(anonymous: Client) -> Client:
    """A server administrator."""
    name = fresh("admin")
    nonce = (await anonymous.ok("GET", ADMIN_REGISTER))["nonce"]
    mac = hmac.new(SHARED_SECRET.encode(), "\0".join([nonce, name, PASSWORD, "admin"]).encode(), hashlib.sha1)
    body = {"nonce": nonce, "username": name, "password": PASSWORD, "admin": True, "mac": mac.hexdigest()}
    return anonymous.anonymous().adopt(await anonymous.ok("POST", ADMIN_REGISTER, body))


async def with_password(client: Client, method: str, path: str, body: Any) -> None:
    """A request behind interactive authentication."""
    session = (await client.request(method, path, body)).body["session"]
    identifier = {"type": "m.id.user", "user": client.user_id}
    auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "session": session}
    await client.ok(method, path, {**body, "auth": auth})


async def logout(watched: Client, _other: Client) -> None:
    await watched.ok("POST", "/logout", {})


async def logout_everywhere(_watched: Client, other: Client) -> None:
    await other.ok("POST", "/logout/all", {})


async def delete_device(watched: Client, other: Client) -> None:
    await with_password(other, "DELETE", f"/devices/{part(watched.device_id)}", {})


async def delete_devices(watched: Client, other: Client) -> None:
    await with_password(other, "POST", "/delete_devices", {"devices": [watched.device_id]})


async def change_password(_watched: Client, other: Client) -> None:
    await with_password(other, "POST", "/account/password", {"new_password": PASSWORD + "!"})


async def deactivate(_watched: Client, other: Client) -> None:
    await with_password(other, "POST", "/account/deactivate", {})


async def log_in_as_the_same_device(watched: Client, other: Client) -> None:
    await other.another_device(device_id=watched.device_id)


class Open:
    """A device with a poll and a socket that wait for something to happen."""

    def __init__(self, client: Client, stream: Stream, poll: asyncio.Task[Reply]) -> None:
        self.client, self.stream, self.poll = client, stream, poll


async def poll(client: Client, since: str) -> Reply:
    return await client.request("GET", "/sync", params={"since": since, "timeout": 50_000})


async def held(client: Client, count: int) -> None:
    """Wait until the server holds so many requests."""
    async with asyncio.timeout(60):
        while True:
            text = (await client.request("GET", "/metrics")).raw.decode()
            if any(line == f"hromada_http_held {float(count)}" for line in text.splitlines()):
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "end",
    [logout, logout_everywhere, delete_device, delete_devices, change_password, deactivate, log_in_as_the_same_device],
)
async def test_a_session_that_ends(make_user: MakeUser, end: End) -> None:
    other = await make_user("alice")
    watched = await other.another_device()
    since = (await watched.sync())["next_batch"]
    async with streaming(watched, since=since) as stream:
        polling = asyncio.create_task(poll(watched, since))
        await held(other, 2)
        await end(watched, other)
        assert await stream.closed() == 4001
        body = (await polling).error(401, "M_UNKNOWN_TOKEN")
        assert body.get("soft_logout") is not True


async def lock_by_request(_server: Server, admin: Client, user: Client) -> None:
    await admin.ok("PUT", f"{ADMIN}/lock/{part(user.user_id)}", {"locked": True})


async def lock_by_command(server: Server, _admin: Client, user: Client) -> None:
    arguments = server.options.arguments(server.data_dir)[1:]
    command = [sys.executable, "-m", "homeserver", "user", "lock", *arguments, user.user_id]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("lock", [lock_by_request, lock_by_command])
async def test_an_account_that_is_locked(
    server: Server, admin: Client, make_user: MakeUser, lock: Callable[[Server, Client, Client], Awaitable[None]]
) -> None:
    alice = await make_user("alice")
    since = (await alice.sync())["next_batch"]
    async with streaming(alice, since=since) as stream:
        polling = asyncio.create_task(poll(alice, since))
        await held(admin, 2)
        await lock(server, admin, alice)
        error = await stream.receive("error")
        assert (error["errcode"], error["soft_logout"]) == ("M_USER_LOCKED", True)
        assert await stream.closed() == 4001
        assert (await polling).error(401, "M_USER_LOCKED")["soft_logout"] is True


async def test_an_account_that_is_suspended(admin: Client, alice: Client, bob: Client) -> None:
    room = await bob.shared_room(alice)
    async with streaming(alice, since=(await alice.sync())["next_batch"]) as stream:
        await admin.ok("PUT", f"{ADMIN}/suspend/{part(alice.user_id)}", {"suspended": True})
        path = f"/rooms/{part(room)}/send/m.room.message/t"
        refused = await stream.call("PUT", path, {"msgtype": "m.text", "body": "no"})
        assert (refused["status"], refused["body"]["errcode"]) == (403, "M_USER_SUSPENDED")
        await bob.send(room, "it may still read")
        (event,) = (await stream.update())["rooms"]["join"][room]["timeline"]["events"]
        assert event["content"]["body"] == "it may still read"


async def test_a_room_that_one_is_banned_from(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    async with streaming(bob, since=(await bob.sync())["next_batch"]) as stream:
        assert (await alice.member(room, "ban", bob.user_id)).status == 200
        await alice.send(room, "not for bob")
        update = (await stream.update())["rooms"]
        assert "join" not in update or room not in update["join"]
        assert [event["type"] for event in update["leave"][room]["timeline"]["events"]] == ["m.room.member"]
        path = f"/rooms/{part(room)}/send/m.room.message/t"
        refused = await stream.call("PUT", path, {"msgtype": "m.text", "body": "no"})
        assert (refused["status"], refused["body"]["errcode"]) == (403, "M_FORBIDDEN")
