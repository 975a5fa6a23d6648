"""Backups of room keys over the API.  spec: client-server-api#server-side-key-backups"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.support.client import Client, part
from tests.support.fixtures import StartServer

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
AUTH_DATA = {"public_key": "abc", "signatures": {}}
ROOM = "!room:hromada.test"


def key(index: int = 0, forwarded: int = 0, *, verified: bool = False, data: str = "x") -> dict[str, Any]:
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data, "ephemeral": "e", "mac": "m"},
    }


async def create(client: Client, **more: Any) -> str:
    body = {"algorithm": ALGORITHM, "auth_data": AUTH_DATA, **more}
    answer: dict[str, str] = await client.ok("POST", "/room_keys/version", body)
    return answer["version"]


def keys_path(*parts: str) -> str:
    return "/".join(["/room_keys/keys", *map(part, parts)])


async def test_versions(alice: Client) -> None:
    (await alice.request("GET", "/room_keys/version")).error(404, "M_NOT_FOUND")
    first = await create(alice)
    assert isinstance(first, str)
    about = {"algorithm": ALGORITHM, "auth_data": AUTH_DATA, "count": 0, "etag": "0", "version": first}
    assert await alice.ok("GET", "/room_keys/version") == await alice.ok("GET", f"/room_keys/version/{first}") == about
    second = await create(alice, auth_data={"public_key": "new\u0000"})
    assert second != first
    newest = await alice.ok("GET", "/room_keys/version")
    assert newest["version"] == second and newest["auth_data"] == {"public_key": "new\u0000"}
    changed = {"algorithm": ALGORITHM, "auth_data": {"public_key": "abc", "signatures": {"@a": {}}}}
    assert await alice.ok("PUT", f"/room_keys/version/{first}", {**changed, "version": first}) == {}
    assert (await alice.ok("GET", f"/room_keys/version/{first}"))["auth_data"] == changed["auth_data"]


async def test_updates_that_are_refused(alice: Client) -> None:
    version = await create(alice)
    path = f"/room_keys/version/{version}"
    body = {"algorithm": ALGORITHM, "auth_data": {}}
    (await alice.request("PUT", path, {**body, "algorithm": "other"})).error(400, "M_INVALID_PARAM")
    (await alice.request("PUT", path, {**body, "version": "77"})).error(400, "M_INVALID_PARAM")
    (await alice.request("PUT", "/room_keys/version/77", body)).error(404, "M_NOT_FOUND")
    (await alice.request("PUT", path, {"algorithm": ALGORITHM})).error(400, "M_MISSING_PARAM")
    (await alice.request("PUT", path, {"algorithm": ALGORITHM, "auth_data": []})).error(400, "M_BAD_JSON")
    assert (await alice.ok("GET", path))["auth_data"] == AUTH_DATA


async def test_deleted_versions(alice: Client, bob: Client) -> None:
    first, second = await create(alice), await create(alice)
    await alice.ok("PUT", keys_path(ROOM, "s"), key(), params={"version": second})
    (await bob.request("DELETE", f"/room_keys/version/{second}")).error(404, "M_NOT_FOUND")
    for _ in range(2):
        assert await alice.ok("DELETE", f"/room_keys/version/{second}") == {}
    (await alice.request("GET", f"/room_keys/version/{second}")).error(404, "M_NOT_FOUND")
    (await alice.request("GET", keys_path(), params={"version": second})).error(404, "M_NOT_FOUND")
    assert (await alice.ok("GET", "/room_keys/version"))["version"] == first
    assert await create(alice) not in {first, second}, "a version is never used again"
    (await alice.request("DELETE", "/room_keys/version/99")).error(404, "M_NOT_FOUND")


async def test_the_three_ways_to_store_and_to_read(alice: Client) -> None:
    version = {"version": await create(alice)}
    other = "!other/room:hromada.test"
    assert await alice.ok("PUT", keys_path(ROOM, "a/b+c"), key(1), params=version) == {"count": 1, "etag": "1"}
    of_room = {"sessions": {"d": key(2), "e": key(3)}}
    assert await alice.ok("PUT", keys_path(ROOM), of_room, params=version) == {"count": 3, "etag": "2"}
    all_rooms = {"rooms": {ROOM: {"sessions": {"f": key(4)}}, other: {"sessions": {"g": key(5, data="\0é")}}}}
    assert await alice.ok("PUT", keys_path(), all_rooms, params=version) == {"count": 5, "etag": "3"}
    sessions = {"a/b+c": key(1), "d": key(2), "e": key(3), "f": key(4)}
    expected = {"rooms": {ROOM: {"sessions": sessions}, other: {"sessions": {"g": key(5, data="\0é")}}}}
    reply = await alice.request("GET", keys_path(), params=version)
    assert reply.ok() == expected and reply.headers["Content-Type"] == "application/json"
    assert await alice.ok("GET", keys_path(ROOM), params=version) == {"sessions": sessions}
    assert await alice.ok("GET", keys_path(ROOM, "a/b+c"), params=version) == key(1)
    assert (await alice.ok("GET", "/room_keys/version"))["count"] == 5


async def test_nothing_is_there(alice: Client) -> None:
    version = {"version": await create(alice)}
    assert await alice.ok("GET", keys_path(), params=version) == {"rooms": {}}
    assert await alice.ok("GET", keys_path(ROOM), params=version) == {"sessions": {}}
    (await alice.request("GET", keys_path(ROOM, "s"), params=version)).error(404, "M_NOT_FOUND")
    (await alice.request("GET", "/room_keys/keys/%00/%00", params=version)).error(400, "M_INVALID_PARAM")
    assert await alice.ok("DELETE", keys_path(ROOM, "s"), params=version) == {"count": 0, "etag": "0"}
    assert await alice.ok("PUT", keys_path(), {"rooms": {}}, params=version) == {"count": 0, "etag": "0"}


async def test_deleting_keys(alice: Client) -> None:
    version = {"version": await create(alice)}
    sessions = {name: key() for name in "abc"}
    both = {"rooms": {ROOM: {"sessions": sessions}, "!other:hromada.test": {"sessions": sessions}}}
    await alice.ok("PUT", keys_path(), both, params=version)
    assert await alice.ok("DELETE", keys_path(ROOM, "a"), params=version) == {"count": 5, "etag": "2"}
    assert await alice.ok("DELETE", keys_path(ROOM, "a"), params=version) == {"count": 5, "etag": "2"}
    assert await alice.ok("DELETE", keys_path(ROOM), params=version) == {"count": 3, "etag": "3"}
    assert set((await alice.ok("GET", keys_path(), params=version))["rooms"]) == {"!other:hromada.test"}
    assert await alice.ok("DELETE", keys_path(), params=version) == {"count": 0, "etag": "4"}


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        (key(5), key(5), False),
        (key(5), key(4), True),
        (key(5), key(6), False),
        (key(5), key(6, verified=True), True),
        (key(5, verified=True), key(0), False),
        (key(5, 1), key(5, 0), True),
        (key(5, 1), key(5, 2), False),
        (key(5, 1), key(4, 2), True),
        (key(5, 1, verified=True), key(5, 0, verified=True), True),
    ],
)
async def test_the_better_key_stays(alice: Client, old: dict[str, Any], new: dict[str, Any], replaced: bool) -> None:
    version = {"version": await create(alice)}
    new = {**new, "session_data": {"ciphertext": "new"}}
    await alice.ok("PUT", keys_path(ROOM, "s"), old, params=version)
    answer = await alice.ok("PUT", keys_path(ROOM, "s"), new, params=version)
    assert answer == {"count": 1, "etag": "2" if replaced else "1"}
    assert await alice.ok("GET", keys_path(ROOM, "s"), params=version) == (new if replaced else old)


async def test_only_the_current_version_is_written(alice: Client) -> None:
    old = await create(alice)
    await alice.ok("PUT", keys_path(ROOM, "s"), key(), params={"version": old})
    current = await create(alice)
    for path, body in (
        (keys_path(), {"rooms": {ROOM: {"sessions": {"s": key()}}}}),
        (keys_path(ROOM), {"sessions": {"s": key()}}),
        (keys_path(ROOM, "s"), key()),
    ):
        refused = await alice.request("PUT", path, body, params={"version": old})
        assert refused.error(403, "M_WRONG_ROOM_KEYS_VERSION")["current_version"] == current
        (await alice.request("PUT", path, body, params={"version": "99"})).error(404, "M_NOT_FOUND")
        (await alice.request("PUT", path, body)).error(400, "M_MISSING_PARAM")
    assert await alice.ok("GET", keys_path(ROOM, "s"), params={"version": old}) == key()
    assert await alice.ok("DELETE", keys_path(ROOM, "s"), params={"version": old}) == {"count": 0, "etag": "2"}


async def test_bad_versions_name_no_backup(alice: Client) -> None:
    await create(alice)
    for version in ("0", "01", "-1", "1.0", "٣", "x", "9" * 30, "", "1 "):
        (await alice.request("GET", keys_path(), params={"version": version})).error(404, "M_NOT_FOUND")
    (await alice.request("DELETE", "/room_keys/version/0")).error(404, "M_NOT_FOUND")


async def test_bad_keys_store_nothing(alice: Client) -> None:
    version = {"version": await create(alice)}
    good = key()
    for name in good:
        lacking = {member: value for member, value in good.items() if member != name}
        (await alice.request("PUT", keys_path(ROOM, "s"), lacking, params=version)).error(400, "M_MISSING_PARAM")
    for change in (
        {"first_message_index": "0"},
        {"first_message_index": -1},
        {"first_message_index": 2**53},
        {"forwarded_count": 1.5},
        {"is_verified": 1},
        {"session_data": "x"},
    ):
        bad = {"rooms": {ROOM: {"sessions": {"good": good, "s": {**good, **change}}}}}
        (await alice.request("PUT", keys_path(), bad, params=version)).error(400, "M_BAD_JSON")
    for room, session in (("!a\0b", "s"), (ROOM, "s\0"), (ROOM, "s" * 256)):
        bad = {"rooms": {ROOM: {"sessions": {"good": good}}, room: {"sessions": {session: good}}}}
        (await alice.request("PUT", keys_path(), bad, params=version)).error(400, "M_INVALID_PARAM")
    large = {"rooms": {ROOM: {"sessions": {"good": good, "s": key(data="x" * 20_000)}}}}
    (await alice.request("PUT", keys_path(), large, params=version)).error(413, "M_TOO_LARGE")
    large_version = {"algorithm": ALGORITHM, "auth_data": {"public_key": "x" * 20_000}}
    (await alice.request("POST", "/room_keys/version", large_version)).error(413, "M_TOO_LARGE")
    (await alice.request("POST", "/room_keys/version", {"auth_data": {}})).error(400, "M_MISSING_PARAM")
    (await alice.request("POST", "/room_keys/version", {"algorithm": "a\0", "auth_data": {}})).error(
        400, "M_INVALID_PARAM"
    )
    about = await alice.ok("GET", "/room_keys/version")
    assert about["count"] == 0 and about["etag"] == "0"


async def test_a_backup_is_its_owners(alice: Client, bob: Client) -> None:
    version = {"version": await create(alice)}
    await alice.ok("PUT", keys_path(ROOM, "s"), key(), params=version)
    for method, path, body in (
        ("GET", f"/room_keys/version/{version['version']}", None),
        ("GET", keys_path(), None),
        ("GET", keys_path(ROOM, "s"), None),
        ("PUT", keys_path(ROOM, "s"), key()),
        ("DELETE", keys_path(), None),
    ):
        (await bob.request(method, path, body, params=version)).error(404, "M_NOT_FOUND")
    assert (await alice.ok("GET", "/room_keys/version"))["count"] == 1


async def test_uploads_at_once_lose_nothing(alice: Client) -> None:
    version = {"version": await create(alice)}

    async def upload(number: int) -> str:
        body = {"rooms": {ROOM: {"sessions": {"shared": key(number), f"own{number}": key()}}}}
        answer: dict[str, str] = await alice.ok("PUT", keys_path(), body, params=version)
        return answer["etag"]

    etags = await asyncio.gather(*(upload(number) for number in range(20)))
    assert sorted(map(int, etags)) == list(range(1, 21))
    about = await alice.ok("GET", "/room_keys/version")
    stored = await alice.ok("GET", keys_path(ROOM), params=version)
    assert about["count"] == len(stored["sessions"]) == 21
    assert stored["sessions"]["shared"]["first_message_index"] == 0


async def test_bounds(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    bounds = {
        "HROMADA_ENCRYPTION_BACKUPS_PER_USER": "2",
        "HROMADA_ENCRYPTION_BACKUP_KEYS_PER_USER": "1000",
    }
    alice = await Client(http, start_server(environment=bounds).url).register("alice")
    await create(alice)
    version = await create(alice)
    body = {"algorithm": ALGORITHM, "auth_data": {}}
    (await alice.request("POST", "/room_keys/version", body)).error(403, "M_RESOURCE_LIMIT_EXCEEDED")
    sessions = {f"s{number}": key() for number in range(1000)}
    await alice.ok("PUT", keys_path(ROOM), {"sessions": sessions}, params={"version": version})
    one_more = await alice.request("PUT", keys_path(ROOM, "more"), key(), params={"version": version})
    one_more.error(403, "M_RESOURCE_LIMIT_EXCEEDED")
    assert (await alice.ok("GET", "/room_keys/version"))["count"] == 1000
    await alice.ok("PUT", keys_path(ROOM, "s7"), key(verified=True), params={"version": version})
    await alice.ok("DELETE", f"/room_keys/version/{version}")
    await alice.ok("PUT", keys_path(ROOM, "s"), key(), params={"version": await create(alice)})
