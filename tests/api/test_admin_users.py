"""The admin API's accounts: who may ask, what tools get, what is refused, and what stands in the record.

The paths and forms are those of existing tools: see docs/operating/admin-api.md.
"""

from __future__ import annotations

from typing import Any

import pytest

from client_api.admin_routes import ADMIN_ROUTES
from client_api.visitors import ALLOWED
from homeserver.web.route import Auth
from tests.support.admin import OWN, V1, V2, acts, administrator
from tests.support.client import PASSWORD, Client, Json, part
from tests.support.fixtures import MakeUser, fresh


@pytest.fixture
async def admin(anonymous: Client) -> Client:
    """A server administrator."""
    return await administrator(anonymous)


def account(user: str | Client) -> str:
    return f"{V2}/users/{part(user if isinstance(user, str) else user.user_id)}"


def everything() -> list[tuple[str, str]]:
    """Every row of the admin API, with something for each parameter."""
    values = {"userId": "@nobody:hromada.test", "roomId": "!nowhere:hromada.test"}
    rows = []
    for route in ADMIN_ROUTES:
        parts = [
            part(values.get(piece[1:-1], "1")) if piece.startswith("{") else piece for piece in route.path.split("/")
        ]
        rows.append((route.method, "/".join(parts)))
    return rows


def test_every_row_is_for_administrators() -> None:
    assert all(route.auth is Auth.ADMIN for route in ADMIN_ROUTES)
    assert not {(route.method, route.path) for route in ADMIN_ROUTES} & ALLOWED.keys()


async def test_nobody_else_comes_in(anonymous: Client, alice: Client) -> None:
    for method, path in everything():
        data = None if method == "GET" else b"not even JSON"
        (await anonymous.request(method, path, data=data)).error(401, "M_MISSING_TOKEN")
        (await anonymous.request(method, path, data=data, token="nonsense")).error(401, "M_UNKNOWN_TOKEN")
        (await alice.request(method, path, data=data)).error(403, "M_FORBIDDEN")


async def test_rights_end_with_the_flag_and_while_suspended(admin: Client, anonymous: Client) -> None:
    other = await administrator(anonymous)
    path = f"{V1}/server_version"
    assert "server_version" in await other.ok("GET", path)
    await admin.ok("PUT", f"{V1}/suspend/{part(other.user_id)}", {"suspend": True})
    (await other.request("GET", path)).error(403, "M_USER_SUSPENDED")
    await admin.ok("POST", f"{V1}/suspend/{part(other.user_id)}", {"suspend": False})
    await other.ok("GET", path)
    await admin.ok("PUT", f"{V1}/users/{part(other.user_id)}/admin", {"admin": False})
    assert await admin.ok("GET", f"{V1}/users/{part(other.user_id)}/admin") == {"admin": False}
    (await other.request("GET", path)).error(403, "M_FORBIDDEN")


async def test_lists_are_searched_ordered_and_paged(admin: Client, make_user: MakeUser) -> None:
    mark = fresh("list").replace("list-", "")
    users = [await make_user(f"{letter}-{mark}") for letter in "abc"]
    await users[0].ok("PUT", f"/profile/{part(users[0].user_id)}/displayname", {"displayname": "Zoë Ґудзик"})
    await admin.ok("PUT", account(users[2]), {"locked": True})

    async def names(**params: Any) -> list[str]:
        found = await admin.ok("GET", f"{V2}/users", params={"name": mark, **params})
        assert found["total"] >= len(found["users"])
        return [user["name"] for user in found["users"]]

    ids = [user.user_id for user in users]
    assert await names() == ids[:2]
    assert await names(locked="true", order_by="creation_ts") == ids
    assert await names(locked="true", dir="b") == ids[::-1]
    assert await names(order_by="displayname") == ids[:2], "who has no name comes last"
    assert await names(admins="true") == []
    assert await names(admins="false") == ids[:2]
    assert await names(name="ґудзик", user_id=mark) == ids[:1]
    assert await names(user_id="%") == []
    first = await admin.ok("GET", f"{V2}/users", params={"user_id": mark, "limit": 1})
    assert first["total"] == 2
    assert first["next_token"] == "1"
    second = await admin.ok("GET", f"{V2}/users", params={"user_id": mark, "limit": 1, "from": first["next_token"]})
    assert [user["name"] for user in second["users"]] == ids[1:2]
    assert "next_token" not in second
    row = first["users"][0]
    assert row["creation_ts"] > 1_600_000_000_000
    assert (row["displayname"], row["admin"], row["locked"], row["is_guest"]) == ("Zoë Ґудзик", False, False, False)
    one = await admin.ok("GET", account(ids[0]))
    assert one["creation_ts"] == row["creation_ts"] // 1000
    assert one["threepids"] == one["external_ids"] == []
    await admin.ok("GET", f"{V2}/users", params={"order_by": "user_type", "limit": 10_000_000})
    for bad in (
        {"from": -1},
        {"limit": -1},
        {"from": 10**12},
        {"order_by": "password"},
        {"dir": "x"},
        {"name": "x" * 300},
    ):
        (await admin.request("GET", f"{V2}/users", params=bad)).error(400, "M_INVALID_PARAM")


async def test_accounts_are_made_and_changed(admin: Client, anonymous: Client) -> None:
    user_id = f"@{fresh('made')}:hromada.test"
    made = await admin.request("PUT", account(user_id), {"password": PASSWORD, "displayname": "Оксана", "admin": False})
    assert made.status == 201
    assert (made.body["name"], made.body["displayname"], made.body["admin"]) == (user_id, "Оксана", False)
    user = await anonymous.anonymous().login(user_id)
    room = await user.create_room()

    # What was read is sent back, as tools do, with one field changed: one act.
    whole = await admin.ok("GET", account(user_id))
    body = {key: whole[key] for key in ("displayname", "avatar_url", "admin", "deactivated", "locked", "threepids")}
    body["user_type"] = None
    changed = await admin.ok("PUT", account(user_id), {**body, "displayname": "Oksana"})
    assert changed["displayname"] == "Oksana"
    assert (await user.state(room, "m.room.member", user_id))["displayname"] == "Oksana"
    recorded = [(act["action"], act["admin"]) for act in await acts(admin, target=user_id)]
    assert recorded == [("user.profile", admin.user_id)] * 2 + [("user.create", admin.user_id)]
    assert PASSWORD not in str(await acts(admin, target=user_id))

    assert (await admin.ok("PUT", account(user_id), {"displayname": "", "locked": True}))["displayname"] is None
    (await user.request("GET", "/account/whoami")).error(401, "M_USER_LOCKED")
    await admin.ok(
        "PUT", account(user_id), {"locked": False, "password": "another good password", "logout_devices": False}
    )
    await user.ok("GET", "/account/whoami")
    await anonymous.anonymous().login(user_id, "another good password")
    await admin.ok("POST", f"{V1}/reset_password/{part(user_id)}", {"new_password": "yet another password"})
    (await user.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    await anonymous.anonymous().login(user_id, "yet another password")


async def test_an_account_without_a_password_waits_for_one(admin: Client, anonymous: Client) -> None:
    user_id = f"@{fresh('later')}:hromada.test"
    assert (await admin.request("PUT", account(user_id), {})).status == 201
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}, "password": ""}
    (await anonymous.request("POST", "/login", body)).error(403, "M_FORBIDDEN")
    assert (await admin.request("PUT", account(user_id), {"password": PASSWORD})).status == 200
    await anonymous.anonymous().login(user_id)


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"password": "short"}, "M_WEAK_PASSWORD"),
        ({"password": 5}, "M_BAD_JSON"),
        ({"displayname": "x" * 1000}, "M_INVALID_PARAM"),
        ({"displayname": "a\0b"}, "M_INVALID_PARAM"),
        ({"avatar_url": "x" * 2000}, "M_INVALID_PARAM"),
        ({"admin": "yes"}, "M_BAD_JSON"),
        ({"threepids": [{"medium": "email", "address": "a@b.c"}]}, "M_INVALID_PARAM"),
        ({"user_type": "bot"}, "M_INVALID_PARAM"),
    ],
)
async def test_bad_changes_change_nothing(admin: Client, alice: Client, body: Json, errcode: str) -> None:
    before = await admin.ok("GET", account(alice))
    (await admin.request("PUT", account(alice), {"admin": True, **body})).error(400, errcode)
    assert await admin.ok("GET", account(alice)) == before
    assert await acts(admin, target=alice.user_id) == []
    new = f"@{fresh('bad')}:hromada.test"
    (await admin.request("PUT", account(new), body)).error(400, errcode)
    (await admin.request("GET", account(new))).error(404, "M_NOT_FOUND")


async def test_strange_names(admin: Client) -> None:
    for user_id in ("nobody", "@nobody:elsewhere.test", "@no\0body:hromada.test", "@" + "x" * 2000 + ":hromada.test"):
        for method, body in (("GET", None), ("PUT", {})):
            (await admin.request(method, account(user_id), body)).error(400, "M_INVALID_PARAM")
    (await admin.request("PUT", account("@ß:hromada.test"), {})).error(400, "M_INVALID_USERNAME")
    (await admin.request("GET", account("@nobody:hromada.test"))).error(404, "M_NOT_FOUND")
    path = f"{V1}/username_available"
    assert await admin.ok("GET", path, params={"username": fresh("free")}) == {"available": True}
    (await admin.request("GET", path, params={"username": admin.user_id})).error(400, "M_USER_IN_USE")
    (await admin.request("GET", path)).error(400, "M_MISSING_PARAM")


async def test_administrators_do_nothing_to_themselves(admin: Client) -> None:
    for body in ({"admin": False}, {"deactivated": True}, {"locked": True}, {"suspended": True}):
        (await admin.request("PUT", account(admin), body)).error(403, "M_FORBIDDEN")
    own = part(admin.user_id)
    (await admin.request("POST", f"{V1}/deactivate/{own}", {})).error(403, "M_FORBIDDEN")
    (await admin.request("PUT", f"{V1}/users/{own}/admin", {"admin": False})).error(403, "M_FORBIDDEN")
    (await admin.request("PUT", f"{V1}/suspend/{own}", {"suspend": True})).error(403, "M_FORBIDDEN")
    assert (await admin.ok("GET", account(admin)))["admin"] is True


async def test_deactivation_is_for_good(admin: Client, alice: Client, bob: Client) -> None:
    room = await bob.shared_room(alice)
    rooms = await admin.ok("GET", f"{V1}/users/{part(alice.user_id)}/joined_rooms")
    assert rooms == {"joined_rooms": [room], "total": 1}
    answer = await admin.ok("POST", f"{V1}/deactivate/{part(alice.user_id)}", {"erase": True})
    assert answer == {"id_server_unbind_result": "success"}
    (await alice.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    assert (await bob.state(room, "m.room.member", alice.user_id))["membership"] == "leave"
    closed = await admin.ok("GET", account(alice))
    assert (closed["deactivated"], closed["erased"]) == (True, True)
    await admin.ok("POST", f"{V1}/deactivate/{part(alice.user_id)}", {"erase": True})
    await admin.ok("PUT", account(alice), {"deactivated": True, "displayname": None})
    (await admin.request("PUT", account(alice), {"deactivated": False})).error(400, "M_INVALID_PARAM")
    (await admin.request("PUT", account(alice), {"password": PASSWORD})).error(400, "M_INVALID_PARAM")
    path = f"{V1}/reset_password/{part(alice.user_id)}"
    (await admin.request("POST", path, {"new_password": PASSWORD})).error(404, "M_NOT_FOUND")
    found = await admin.ok("GET", f"{V2}/users", params={"user_id": alice.user_id})
    assert found == {"users": [], "total": 0}
    found = await admin.ok("GET", f"{V2}/users", params={"user_id": alice.user_id, "deactivated": True})
    assert found["total"] == 1
    assert [(act["action"], act["detail"]) for act in await acts(admin, target=alice.user_id)] == [
        ("user.deactivate", {"erase": True})
    ]


async def test_devices(admin: Client, alice: Client) -> None:
    second, third = await alice.another_device(), await alice.another_device()
    await alice.ok("GET", "/account/whoami")
    path = f"{account(alice)}/devices"
    listed = await admin.ok("GET", path)
    assert listed["total"] == 3
    assert {device["device_id"] for device in listed["devices"]} == {
        alice.device_id,
        second.device_id,
        third.device_id,
    }
    seen = next(device for device in listed["devices"] if device["device_id"] == alice.device_id)
    assert (seen["user_id"], seen["last_seen_ip"]) == (alice.user_id, "127.0.0.1")
    await admin.ok("PUT", f"{path}/{part(second.device_id)}", {"display_name": "Lost phone"})
    assert (await admin.ok("GET", f"{path}/{part(second.device_id)}"))["display_name"] == "Lost phone"
    await admin.ok("DELETE", f"{path}/{part(second.device_id)}")
    await admin.ok("DELETE", f"{path}/{part(second.device_id)}")
    (await second.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    (await admin.request("GET", f"{path}/{part(second.device_id)}")).error(404, "M_NOT_FOUND")
    (await admin.request("PUT", f"{path}/{part(second.device_id)}", {"display_name": "x"})).error(404, "M_NOT_FOUND")
    await admin.ok("POST", f"{account(alice)}/delete_devices", {"devices": [third.device_id, "unknown"]})
    (await third.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    await alice.ok("GET", "/account/whoami")
    (await admin.request("POST", f"{account(alice)}/delete_devices", {"devices": ["x"] * 2000})).error(400)
    known = await admin.ok("GET", f"{V1}/whois/{part(alice.user_id)}")
    assert (known["user_id"], list(known["devices"])) == (alice.user_id, [alice.device_id])


async def test_the_record_is_paged_and_searched(admin: Client, alice: Client, bob: Client) -> None:
    for user in (alice, bob, alice):
        await admin.ok("PUT", account(user), {"displayname": fresh("name")})
    first = await admin.ok("GET", f"{OWN}/audit", params={"admin": admin.user_id, "limit": 2})
    assert [act["target"] for act in first["acts"]] == [alice.user_id, bob.user_id]
    rest = await admin.ok(
        "GET",
        f"{OWN}/audit",
        params={"admin": admin.user_id, "limit": 2, "from": first["next_token"]},
    )
    assert [act["target"] for act in rest["acts"]] == [alice.user_id]
    assert "next_token" not in rest
    assert await acts(admin, action="user.profile", target=bob.user_id)
    assert not await acts(admin, action="user.lock", target=bob.user_id)
    (await admin.request("GET", f"{OWN}/audit", params={"from": -1})).error(400, "M_INVALID_PARAM")
    for bad in ({"admin_term": "x" * 300}, {"from_ts": -1}, {"from_ts": 2, "until_ts": 2}, {"until_ts": 2**60}):
        (await admin.request("GET", f"{OWN}/audit", params=bad)).error(400, "M_INVALID_PARAM")

    async def mine(**search: Any) -> list[Json]:
        every: list[Json] = (await admin.ok("GET", f"{OWN}/audit", params={"admin": admin.user_id, **search}))["acts"]
        return every

    async def found(**search: Any) -> list[str]:
        return [act["target"] for act in await mine(**search)]

    assert await found(admin_term=admin.user_id[3:].upper()) == [alice.user_id, bob.user_id, alice.user_id]
    assert await found(admin_term="nobody of that name") == []
    assert await found(target_term=bob.user_id[2:-3].upper()) == [bob.user_id]
    assert await found(action="user.", target_term=bob.user_id) == [bob.user_id]
    assert await found(action="user") == await found(action="room.") == await found(action="profile.") == []
    times = [act["ts"] for act in await mine()]
    assert len(await found(from_ts=times[0])) == sum(ts >= times[0] for ts in times)
    assert len(await found(until_ts=times[0])) == sum(ts < times[0] for ts in times)
    assert len(await found(from_ts=times[-1], until_ts=times[0] + 1)) == 3
    # What the specification's own endpoints do is on record as well.
    await admin.ok("PUT", f"/_matrix/client/v1/admin/lock/{part(bob.user_id)}", {"locked": True})
    newest = (await acts(admin, target=bob.user_id))[0]
    assert (newest["action"], newest["detail"]) == ("user.flags", {"locked": True})


async def test_pages_of_other_origins_may_ask(anonymous: Client) -> None:
    reply = await anonymous.request("OPTIONS", f"{V2}/users")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
