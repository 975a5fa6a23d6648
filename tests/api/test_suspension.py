"""Suspended accounts: they may read, leave, redact what is theirs and log out, and do nothing else to others.

spec: client-server-api#account-suspension
"""

from __future__ import annotations

import hashlib
import hmac

import pytest

from tests.support.client import PASSWORD, Client, part
from tests.support.fixtures import fresh
from tests.support.server import SHARED_SECRET

ADMIN_REGISTER = "/_synapse/admin/v1/register"
MESSAGE = {"msgtype": "m.text", "body": "hello"}


@pytest.fixture
async def admin(anonymous: Client) -> Client:
    """A server administrator."""
    name = fresh("admin")
    nonce = (await anonymous.ok("GET", ADMIN_REGISTER))["nonce"]
    mac = hmac.new(SHARED_SECRET.encode(), "\0".join([nonce, name, PASSWORD, "admin"]).encode(), hashlib.sha1)
    body = {"nonce": nonce, "username": name, "password": PASSWORD, "admin": True, "mac": mac.hexdigest()}
    return anonymous.anonymous().adopt(await anonymous.ok("POST", ADMIN_REGISTER, body))


async def suspend(admin: Client, user: Client, suspended: bool = True) -> None:
    path = f"/_matrix/client/v1/admin/suspend/{part(user.user_id)}"
    await admin.ok("PUT", path, {"suspended": suspended})


async def test_acting_is_refused_until_the_suspension_is_lifted(
    admin: Client, alice: Client, bob: Client, carol: Client
) -> None:
    room = await alice.create_room(preset="public_chat")
    other = await bob.create_room(preset="public_chat")
    await bob.join(room)
    here = f"/rooms/{part(room)}"
    refused = [
        ("PUT", f"{here}/send/m.room.message/a", MESSAGE),
        ("PUT", f"{here}/state/m.room.topic", {"topic": "no"}),
        ("PUT", f"{here}/state/m.room.member/{part(alice.user_id)}", {"membership": "join", "displayname": "x"}),
        ("PUT", f"{here}/state/m.room.member/{part(bob.user_id)}", {"membership": "leave"}),
        ("POST", "/createRoom", {}),
        ("POST", f"{here}/upgrade", {"new_version": "12"}),
        ("POST", f"/join/{part(other)}", {}),
        ("POST", f"/rooms/{part(other)}/join", {}),
        ("POST", f"/knock/{part(other)}", {}),
        ("POST", f"{here}/invite", {"user_id": carol.user_id}),
        ("POST", f"{here}/kick", {"user_id": bob.user_id}),
        ("POST", f"{here}/ban", {"user_id": bob.user_id}),
        ("POST", f"{here}/unban", {"user_id": carol.user_id}),
        ("PUT", f"/directory/room/{part('#' + fresh('alias') + ':hromada.test')}", {"room_id": room}),
        ("PUT", f"/directory/list/room/{part(room)}", {"visibility": "private"}),
        ("PUT", f"/profile/{part(alice.user_id)}/displayname", {"displayname": "x"}),
        ("DELETE", f"/profile/{part(alice.user_id)}/displayname", None),
    ]
    await suspend(admin, alice)
    for method, path, body in refused:
        (await alice.request(method, path, body)).error(403, "M_USER_SUSPENDED")
    assert "topic" not in str(await bob.full_state(room))
    await suspend(admin, alice, False)
    await alice.send(room, MESSAGE)


async def test_reading_redacting_leaving_and_logging_out_go_on(admin: Client, alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    invited = await bob.create_room(invite=[alice.user_id])
    await bob.join(room)
    own = [await alice.send(room, MESSAGE) for _ in range(2)]
    foreign = await bob.send(room, MESSAGE)
    await suspend(admin, alice)

    assert room in (await alice.sync())["rooms"]["join"]
    assert await alice.messages(room)
    # By both endpoints; alice has the power to redact bob's event, and may not use it.
    await alice.redact(room, own[0])
    sent = f"/rooms/{part(room)}/send/m.room.redaction"
    await alice.ok("PUT", f"{sent}/r1", {"redacts": own[1]})
    assert [(await bob.event(room, event))["content"] for event in own] == [{}, {}]
    (await alice.request("PUT", f"{sent}/r2", {"redacts": foreign})).error(403, "M_USER_SUSPENDED")
    (await alice.request("PUT", f"{sent}/r3", {"redacts": 7})).error(403, "M_USER_SUSPENDED")
    path = f"/rooms/{part(room)}/redact/{part(foreign)}/r4"
    (await alice.request("PUT", path, {})).error(403, "M_USER_SUSPENDED")
    assert (await bob.event(room, foreign))["content"] == MESSAGE

    (await alice.member(invited, "leave")).ok()
    state = f"/rooms/{part(room)}/state/m.room.member/{part(alice.user_id)}"
    await alice.ok("PUT", state, {"membership": "leave"})
    assert (await bob.state(room, "m.room.member", alice.user_id))["membership"] == "leave"
    again = await alice.another_device()
    await again.ok("POST", "/logout", {})
    await alice.ok("POST", "/logout", {})
