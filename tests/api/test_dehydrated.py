"""Dehydrated devices.  Source: MSC3814."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.support.client import PASSWORD, Client
from tests.support.keys import device_keys, one_time_keys

PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
ID = "DEHYDRATED+/id"


def body(client: Client, device_id: str = ID) -> dict[str, Any]:
    return {
        "device_id": device_id,
        "device_data": {"algorithm": "m.dehydration.v2", "device_pickle": "x", "nonce": "y"},
        "initial_device_display_name": "Kept",
        "device_keys": {**device_keys(client.user_id, device_id)},
        "one_time_keys": one_time_keys(client.user_id, device_id, "a"),
        "fallback_keys": one_time_keys(client.user_id, device_id, "f", fallback=True),
    }


async def events(client: Client, after: str | None = None, device_id: str = ID) -> dict[str, Any]:
    path = f"{PATH}/{quote(device_id, safe='')}/events"
    answer: dict[str, Any] = await client.ok("GET", path, params={"next_batch": after} if after else {})
    return answer


async def test_a_device_is_kept_and_its_messages_are_read_again_and_again(alice: Client, bob: Client) -> None:
    (await alice.request("GET", PATH)).error(404, "M_NOT_FOUND")
    room = await alice.shared_room(bob)
    assert room
    since = (await bob.sync())["next_batch"]
    assert await alice.ok("PUT", PATH, body(alice)) == {"device_id": ID}
    assert await alice.ok("GET", PATH) == {"device_id": ID, "device_data": body(alice)["device_data"]}
    assert (await bob.sync(since))["device_lists"]["changed"] == [alice.user_id]
    found = await bob.ok("POST", "/keys/query", {"device_keys": {alice.user_id: []}})
    assert set(found["device_keys"][alice.user_id]) == {ID}
    for number in range(120):
        messages = {"messages": {alice.user_id: {ID: {"n": number}}}}
        await bob.ok("PUT", f"/sendToDevice/org.example/{number}", messages)
    for _ in range(2):
        first = await events(alice)
        second = await events(alice, first["next_batch"])
        end = await events(alice, second["next_batch"])
        assert [event["content"]["n"] for event in first["events"] + second["events"]] == list(range(120))
        assert (len(first["events"]), end["events"]) == (100, [])
    older = await alice.ok("POST", f"{PATH}/{quote(ID, safe='')}/events", {"next_batch": first["next_batch"]})
    assert older == second
    (await alice.request("GET", f"{PATH}/OTHER/events")).error(403, "M_FORBIDDEN")
    (await bob.request("GET", f"{PATH}/{quote(ID, safe='')}/events")).error(403, "M_FORBIDDEN")


async def test_what_ends_it_and_what_does_not(alice: Client) -> None:
    await alice.ok("PUT", PATH, body(alice))
    await alice.ok("PUT", PATH, body(alice, "NEWER"))
    assert (await alice.ok("GET", PATH))["device_id"] == "NEWER"
    assert {device["device_id"] for device in (await alice.ok("GET", "/devices"))["devices"]} == {
        alice.device_id,
        "NEWER",
    }
    challenge = (await alice.request("POST", "/account/password", {"new_password": "another long password"})).body
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": PASSWORD,
        "session": challenge["session"],
    }
    await alice.ok("POST", "/account/password", {"new_password": "another long password", "auth": auth})
    assert (await alice.ok("GET", PATH))["device_id"] == "NEWER", "logging others out leaves it"
    assert await alice.ok("DELETE", PATH) == {"device_id": "NEWER"}
    (await alice.request("DELETE", PATH)).error(404, "M_NOT_FOUND")
    assert len((await alice.ok("GET", "/devices"))["devices"]) == 1


async def test_bad_devices_are_refused(alice: Client) -> None:
    good = body(alice)
    for bad, status, code in (
        ({**good, "device_id": alice.device_id}, 400, "M_INVALID_PARAM"),
        ({**body(alice, alice.device_id)}, 400, "M_INVALID_PARAM"),
        ({**good, "device_data": {}}, 400, "M_BAD_JSON"),
        ({**good, "device_data": {"algorithm": "x", "y": "z" * 70_000}}, 413, "M_TOO_LARGE"),
        ({**good, "device_keys": {}}, 400, "M_INVALID_PARAM"),
    ):
        (await alice.request("PUT", PATH, bad)).error(status, code)
    (await alice.request("GET", PATH)).error(404, "M_NOT_FOUND")
