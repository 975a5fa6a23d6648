"""The admin API's media: lists by user, deleting, quarantine and protection."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.admin import V1, acts, administrator
from tests.support.client import Client, part
from tests.support.media import upload

DOWNLOAD = "/_matrix/client/v1/media/download"


@pytest.fixture
async def admin(anonymous: Client) -> Client:
    """A server administrator."""
    return await administrator(anonymous)


def media_path(user: Client) -> str:
    return f"{V1}/users/{part(user.user_id)}/media"


async def uploaded(user: Client, *contents: bytes) -> list[str]:
    """Upload texts; their ids as `server/id`."""
    return [(await upload(user, content, "text/plain", "a.txt")).removeprefix("mxc://") for content in contents]


async def test_media_of_a_user(admin: Client, alice: Client, bob: Client) -> None:
    own = await uploaded(alice, b"1", b"22", b"333")
    await uploaded(bob, b"of bob")
    ids = [uri.partition("/")[2] for uri in own]

    async def listed(**params: Any) -> list[str]:
        found = await admin.ok("GET", media_path(alice), params=params)
        assert found["total"] == 3
        return [media["media_id"] for media in found["media"]]

    assert await listed(order_by="media_length") == ids
    assert await listed(order_by="media_length", dir="b") == ids[::-1]
    assert set(await listed()) == set(ids)
    first = await admin.ok("GET", media_path(alice), params={"order_by": "media_length", "limit": 2})
    assert first["next_token"] == 2
    assert {key: first["media"][0][key] for key in ("media_type", "media_length", "upload_name", "quarantined_by")} == {
        "media_type": "text/plain",
        "media_length": 1,
        "upload_name": "a.txt",
        "quarantined_by": None,
    }
    params = {"order_by": "media_length", "limit": 2}
    assert await admin.ok("DELETE", media_path(alice), params=params) == {"deleted_media": ids[:2], "total": 2}
    (await alice.request("GET", f"{DOWNLOAD}/{own[0]}")).error(404, "M_NOT_FOUND")
    assert (await alice.request("GET", f"{DOWNLOAD}/{own[2]}")).raw == b"333"
    gone = await admin.ok("DELETE", f"{V1}/media/{own[2]}")
    assert gone == {"deleted_media": [ids[2]], "total": 1}
    (await admin.request("DELETE", f"{V1}/media/{own[2]}")).error(404, "M_NOT_FOUND")
    assert (await admin.ok("GET", media_path(alice)))["total"] == 0
    assert (await admin.ok("GET", media_path(bob)))["total"] == 1
    assert [act["detail"] for act in await acts(admin, target=alice.user_id)] == [{"count": 2}]
    assert [act["action"] for act in await acts(admin, target=f"mxc://{own[2]}")] == ["media.delete"]
    for bad in ({"order_by": "password"}, {"from": -1}, {"limit": -1}, {"dir": "x"}):
        (await admin.request("GET", media_path(alice), params=bad)).error(400, "M_INVALID_PARAM")
    nobody = f"{V1}/users/{part('@nobody:hromada.test')}/media"
    (await admin.request("GET", nobody)).error(404, "M_NOT_FOUND")


async def test_quarantine_and_protection(admin: Client, alice: Client) -> None:
    first, second = await uploaded(alice, b"bad", b"an emblem")
    await admin.ok("POST", f"{V1}/media/quarantine/{first}")
    (await alice.request("GET", f"{DOWNLOAD}/{first}")).error(404, "M_NOT_FOUND")
    found = await admin.ok("GET", media_path(alice), params={"order_by": "media_length"})
    assert [media["quarantined_by"] for media in found["media"]] == [admin.user_id, None]
    await admin.ok("POST", f"{V1}/media/unquarantine/{first}")
    assert (await alice.request("GET", f"{DOWNLOAD}/{first}")).raw == b"bad"
    media_id = second.partition("/")[2]
    await admin.ok("POST", f"{V1}/media/protect/{part(media_id)}")
    path = f"{V1}/user/{part(alice.user_id)}/media/quarantine"
    assert await admin.ok("POST", path) == {"num_quarantined": 1}
    assert (await alice.request("GET", f"{DOWNLOAD}/{second}")).raw == b"an emblem"
    await admin.ok("POST", f"{V1}/media/unprotect/{part(media_id)}")
    assert await admin.ok("POST", path) == {"num_quarantined": 1}
    (await alice.request("GET", f"{DOWNLOAD}/{second}")).error(404, "M_NOT_FOUND")
    for word in ("quarantine", "unquarantine"):
        (await admin.request("POST", f"{V1}/media/{word}/hromada.test/unknown")).error(404, "M_NOT_FOUND")
    (await admin.request("POST", f"{V1}/media/protect/unknown")).error(404, "M_NOT_FOUND")
    actions = [act["action"] for act in await acts(admin, target=f"mxc://{first}")]
    assert actions == ["media.release", "media.quarantine"]


async def test_who_has_uploaded_how_much(admin: Client, alice: Client, bob: Client) -> None:
    await uploaded(alice, b"1", b"22", b"333")
    await uploaded(bob, b"of bob")
    path = f"{V1}/statistics/users/media"

    async def asked(**params: Any) -> dict[str, Any]:
        found: dict[str, Any] = await admin.ok("GET", path, params={"limit": 1000, **params})
        return found

    one = await asked(search_term=alice.user_id.upper())
    row = {"user_id": alice.user_id, "displayname": None, "media_count": 3, "media_length": 6}
    assert one == {"users": [row], "total": 1}
    for order, way in (("media_count", "b"), ("media_length", "f"), ("user_id", "f"), ("displayname", "b")):
        rows = (await asked(order_by=order, dir=way))["users"]
        assert {alice.user_id, bob.user_id} <= {each["user_id"] for each in rows}
        values = [each[order] for each in rows if each[order] is not None]
        assert values == sorted(values, reverse=way == "b")
    page = await asked(limit=1)
    assert len(page["users"]) == 1
    assert page["next_token"] == 1
    assert (await asked(from_ts=2**50))["users"] == []
    assert (await asked(until_ts=1))["total"] == 0
    for bad in ({"order_by": "age"}, {"dir": "x"}, {"from_ts": -1}, {"from_ts": 5, "until_ts": 5}, {"from": -1}):
        (await admin.request("GET", path, params=bad)).error(400, "M_INVALID_PARAM")
    (await admin.request("GET", path, params={"search_term": "x" * 300})).error(400, "M_INVALID_PARAM")
    (await alice.request("GET", path)).error(403, "M_FORBIDDEN")
    # The list of accounts says so, too, and how many devices each has.
    (listed,) = (await admin.ok("GET", "/_synapse/admin/v2/users", params={"user_id": alice.user_id}))["users"]
    assert (listed["chat.hromada.devices"], listed["chat.hromada.media_length"]) == (1, 6)
