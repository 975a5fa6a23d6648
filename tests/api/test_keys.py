"""Keys of devices and users over the API.  spec: client-server-api#end-to-end-encryption"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client import PASSWORD, Client
from tests.support.keys import CrossSigningKeys, device_keys, one_time_keys, public, signed, signing_key

ALGORITHM = "signed_curve25519"


async def upload(client: Client, **body: Any) -> dict[str, int]:
    answer: dict[str, Any] = await client.ok("POST", "/keys/upload", body)
    counts: dict[str, int] = answer["one_time_key_counts"]
    return counts


async def publish(client: Client, *names: str) -> dict[str, Any]:
    """Upload identity keys and one-time keys."""
    keys = device_keys(client.user_id, client.device_id)
    await upload(client, device_keys=keys, one_time_keys=one_time_keys(client.user_id, client.device_id, *names))
    return keys


async def query(client: Client, *users: Client) -> dict[str, Any]:
    body = {"device_keys": {user.user_id: [] for user in users}}
    answer: dict[str, Any] = await client.ok("POST", "/keys/query", body)
    return answer


async def claim(client: Client, owner: Client, algorithm: str = ALGORITHM) -> dict[str, Any]:
    body = {"one_time_keys": {owner.user_id: {owner.device_id: algorithm}}}
    answer: dict[str, Any] = await client.ok("POST", "/keys/claim", body)
    keys: dict[str, Any] = answer["one_time_keys"].get(owner.user_id, {}).get(owner.device_id, {})
    return keys


async def test_identity_keys(alice: Client, bob: Client) -> None:
    keys = await publish(alice)
    await alice.ok("PUT", f"/devices/{alice.device_id}", {"display_name": "Phone"})
    answer = await query(bob, alice)
    assert answer["device_keys"] == {
        alice.user_id: {alice.device_id: {**keys, "unsigned": {"device_display_name": "Phone"}}}
    }
    nobody = {"device_keys": {alice.user_id: ["OTHER"], "@nobody:elsewhere.test": []}}
    answer = await bob.ok("POST", "/keys/query", nobody)
    assert answer["device_keys"] == {alice.user_id: {}} and set(answer["failures"]) == {"elsewhere.test"}


async def test_one_time_keys_are_claimed_once_and_oldest_first(alice: Client, bob: Client) -> None:
    await publish(alice, "b", "a")
    assert await upload(alice, one_time_keys=one_time_keys(alice.user_id, alice.device_id, "0")) == {ALGORITHM: 3}
    claimed = [next(iter(await claim(bob, alice))) for _ in range(3)]
    assert claimed == [f"{ALGORITHM}:a", f"{ALGORITHM}:b", f"{ALGORITHM}:0"]
    assert await claim(bob, alice) == {}
    again = one_time_keys(alice.user_id, alice.device_id, "a", "new")
    assert await upload(alice, one_time_keys=again) == {ALGORITHM: 1}, "what was claimed does not come back"
    assert set(await claim(bob, alice)) == {f"{ALGORITHM}:new"}


async def test_keys_are_claimed_batch_by_batch(alice: Client, bob: Client) -> None:
    """element-hq/synapse#17903: ids in the order of base64 are not in the order of uploads."""
    await publish(alice)
    batches = [[f"AAAAA{last}{first}" for last in "zaZA"] for first in "9wB0A"]
    for batch in batches:
        await upload(alice, one_time_keys=one_time_keys(alice.user_id, alice.device_id, *batch))
    for batch in batches:
        claimed = {next(iter(await claim(bob, alice))) for _ in batch}
        assert claimed == {f"{ALGORITHM}:{name}" for name in batch}


async def test_equal_uploads_at_once(alice: Client) -> None:
    """matrix-org/synapse#17241."""
    await publish(alice)
    keys = one_time_keys(alice.user_id, alice.device_id, *"abcdef")
    assert await asyncio.gather(*(upload(alice, one_time_keys=keys) for _ in range(20))) == [{ALGORITHM: 6}] * 20


async def test_null_means_absent_and_none_left_is_said(alice: Client, bob: Client) -> None:
    """element-hq/synapse#19023, matrix-org/synapse#10484."""
    assert await upload(alice, device_keys=None, one_time_keys=None, fallback_keys=None) == {ALGORITHM: 0}
    await publish(alice, "a")
    await claim(bob, alice)
    assert await upload(alice) == {ALGORITHM: 0}


async def test_a_login_without_keys_is_not_listed(alice: Client, bob: Client) -> None:
    """matrix-nio#263: a device without signatures made clients discard the whole answer."""
    await alice.ok("PUT", f"/devices/{alice.device_id}", {"display_name": "Phone"})
    assert (await query(bob, alice))["device_keys"] == {alice.user_id: {}}


async def test_racing_claims_never_get_the_same_key(alice: Client, bob: Client) -> None:
    await publish(alice, *(f"k{number:02}" for number in range(40)))
    found = await asyncio.gather(*(claim(bob, alice) for _ in range(50)))
    names = [name for keys in found for name in keys]
    assert len(names) == len(set(names)) == 40


async def test_the_same_keys_again_are_fine_and_others_are_not(alice: Client) -> None:
    keys = one_time_keys(alice.user_id, alice.device_id, "a")
    identity = await publish(alice, "a")
    assert await upload(alice, device_keys=identity, one_time_keys=keys) == {ALGORITHM: 1}
    other = {f"{ALGORITHM}:a": {"key": public(signing_key("other"))}}
    refused = await alice.request("POST", "/keys/upload", {"one_time_keys": other})
    refused.error(400, "M_INVALID_PARAM")
    replaced = device_keys(alice.user_id, alice.device_id, "another seed")
    (await alice.request("POST", "/keys/upload", {"device_keys": replaced})).error(400, "M_INVALID_PARAM")
    assert (await query(alice, alice))["device_keys"][alice.user_id][alice.device_id]["keys"] == identity["keys"]


async def test_fallback_keys(alice: Client, bob: Client) -> None:
    await publish(alice, "one")
    fallback = one_time_keys(alice.user_id, alice.device_id, "f", fallback=True)
    await upload(alice, fallback_keys=fallback)
    state = await alice.sync()
    assert state["device_unused_fallback_key_types"] == [ALGORITHM]
    assert state["device_one_time_keys_count"] == {ALGORITHM: 1}
    assert set(await claim(bob, alice)) == {f"{ALGORITHM}:one"}
    assert await claim(bob, alice) == await claim(bob, alice) == fallback
    state = await alice.sync(state["next_batch"])
    assert state["device_unused_fallback_key_types"] == [] and state["device_one_time_keys_count"] == {ALGORITHM: 0}
    await upload(alice, fallback_keys=fallback)
    assert (await alice.sync())["device_unused_fallback_key_types"] == [], "it stays used"
    await upload(alice, fallback_keys=one_time_keys(alice.user_id, alice.device_id, "g", fallback=True))
    assert (await alice.sync())["device_unused_fallback_key_types"] == [ALGORITHM]


async def test_an_idle_device_hears_that_its_keys_go(alice: Client, bob: Client) -> None:
    await publish(alice, "a", "b")
    other = await alice.another_device()
    since, elsewhere = (await alice.sync())["next_batch"], (await other.sync())["next_batch"]
    waiting = asyncio.create_task(alice.sync(since, timeout=30_000))
    await claim(bob, alice)
    answer = await waiting
    assert answer["device_one_time_keys_count"] == {ALGORITHM: 1}
    assert (await other.sync(elsewhere))["device_one_time_keys_count"] == {ALGORITHM: 0}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"device_keys": {"user_id": "@other:x", "device_id": "D"}}, "M_INVALID_PARAM"),
        ({"device_keys": "no"}, "M_BAD_JSON"),
        ({"device_keys": {"user_id": "ME", "device_id": "MINE"}}, "M_BAD_JSON"),
        ({"device_keys": {"user_id": "ME", "device_id": "MINE", "algorithms": "x", "keys": {}}}, "M_BAD_JSON"),
        (
            {"device_keys": {"user_id": "ME", "device_id": "MINE", "algorithms": [], "keys": {"a:b": "c"}}},
            "M_INVALID_PARAM",
        ),
        ({"device_keys": {"user_id": "ME", "device_id": "MINE", "algorithms": [], "keys": {}}}, "M_BAD_JSON"),
        ({"one_time_keys": {"nocolon": "x"}}, "M_INVALID_PARAM"),
        ({"one_time_keys": {"a:b": 5}}, "M_BAD_JSON"),
        ({"one_time_keys": {"a:b": {"signatures": {}}}}, "M_BAD_JSON"),
        ({"one_time_keys": {"a:b": {"key": "x", "signatures": {"@other:x": {"ed25519:D": "x"}}}}}, "M_INVALID_PARAM"),
        ({"one_time_keys": {f"a:{number}": "x" for number in range(1_001)}}, "M_INVALID_PARAM"),
        ({"fallback_keys": {f"a{number}:b": "x" for number in range(20)}}, "M_INVALID_PARAM"),
        ({"one_time_keys": []}, "M_BAD_JSON"),
    ],
)
async def test_bad_uploads_change_nothing(alice: Client, body: Any, code: str) -> None:
    await publish(alice, "a")
    if isinstance(own := body.get("device_keys"), dict) and own["user_id"] == "ME":
        body = {"device_keys": {**own, "user_id": alice.user_id, "device_id": alice.device_id}}
    before = await query(alice, alice)
    (await alice.request("POST", "/keys/upload", body)).error(400, code)
    assert await query(alice, alice) == before
    assert await upload(alice) == {ALGORITHM: 1}


async def test_identity_keys_that_their_device_has_not_signed(alice: Client) -> None:
    good = device_keys(alice.user_id, alice.device_id)
    name = f"ed25519:{alice.device_id}"
    changed = {**good, "algorithms": [*good["algorithms"], "another"]}
    (await alice.request("POST", "/keys/upload", {"device_keys": changed})).error(400, "M_INVALID_SIGNATURE")
    broken = {**good, "signatures": {alice.user_id: {name: "A" * 86}}}
    (await alice.request("POST", "/keys/upload", {"device_keys": broken})).error(400, "M_INVALID_SIGNATURE")
    other = {**good, "signatures": {alice.user_id: {"ed25519:ANOTHER": good["signatures"][alice.user_id][name]}}}
    (await alice.request("POST", "/keys/upload", {"device_keys": other})).error(400, "M_BAD_JSON")
    assert (await query(alice, alice))["device_keys"] == {alice.user_id: {}}
    await upload(alice, device_keys=good)


async def test_logging_out_takes_the_keys_along(alice: Client, bob: Client) -> None:
    await publish(alice, "a")
    room = await alice.shared_room(bob)
    assert room
    since = (await bob.sync())["next_batch"]
    other = await alice.another_device()
    await publish(other, "x")
    answer = await bob.sync(since)
    assert answer["device_lists"]["changed"] == [alice.user_id]
    await other.ok("POST", "/logout")
    answer = await bob.sync(answer["next_batch"])
    assert answer["device_lists"] == {"changed": [alice.user_id], "left": []}
    assert set((await query(bob, alice))["device_keys"][alice.user_id]) == {alice.device_id}
    assert await claim(bob, other) == {}


async def test_cross_signing(alice: Client, bob: Client) -> None:
    await publish(alice)
    mine, theirs = CrossSigningKeys(alice.user_id), CrossSigningKeys(bob.user_id)
    await alice.ok("POST", "/keys/device_signing/upload", mine.body())
    await bob.ok("POST", "/keys/device_signing/upload", theirs.body())
    await alice.ok("POST", "/keys/device_signing/upload", mine.body())  # the same once more needs no password
    seen = await query(bob, alice)
    assert seen["master_keys"][alice.user_id] == mine.body()["master_key"]
    assert seen["self_signing_keys"][alice.user_id] == mine.body()["self_signing_key"]
    assert seen["user_signing_keys"] == {}
    assert set((await query(alice, alice))["user_signing_keys"]) == {alice.user_id}

    stored = seen["device_keys"][alice.user_id][alice.device_id]
    stored.pop("unsigned", None)
    own = signed(stored, alice.user_id, f"ed25519:{public(mine.self_signing)}", mine.self_signing)
    their_master = signed(
        theirs.body()["master_key"], alice.user_id, f"ed25519:{public(mine.user_signing)}", mine.user_signing
    )
    body = {alice.user_id: {alice.device_id: own}, bob.user_id: {public(theirs.master): their_master}}
    assert (await alice.ok("POST", "/keys/signatures/upload", body))["failures"] == {}
    device = (await query(bob, alice))["device_keys"][alice.user_id][alice.device_id]
    assert set(device["signatures"][alice.user_id]) == {
        f"ed25519:{alice.device_id}",
        f"ed25519:{public(mine.self_signing)}",
    }
    assert alice.user_id in (await query(alice, bob))["master_keys"][bob.user_id]["signatures"]
    assert "signatures" not in (await query(bob, bob))["master_keys"][bob.user_id], "only the signer sees it"


async def test_other_cross_signing_keys_need_the_password(alice: Client) -> None:
    await alice.ok("POST", "/keys/device_signing/upload", CrossSigningKeys(alice.user_id).body())
    other = CrossSigningKeys(alice.user_id, "other").body()
    challenge = (await alice.request("POST", "/keys/device_signing/upload", other)).body
    assert challenge["flows"] == [{"stages": ["m.login.password"]}]
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": PASSWORD,
        "session": challenge["session"],
    }
    await alice.ok("POST", "/keys/device_signing/upload", {**other, "auth": auth})
    assert (await query(alice, alice))["master_keys"][alice.user_id] == other["master_key"]


async def test_bad_cross_signing_keys(alice: Client, bob: Client) -> None:
    mine, theirs = CrossSigningKeys(alice.user_id), CrossSigningKeys(bob.user_id)
    body = mine.body()
    unsigned = {**body, "self_signing_key": {**body["self_signing_key"], "signatures": {}}}
    foreign = {**body, "self_signing_key": CrossSigningKeys(alice.user_id, "x").body()["self_signing_key"]}
    for bad, code in (
        (unsigned, "M_INVALID_SIGNATURE"),
        (foreign, "M_INVALID_SIGNATURE"),
        (theirs.body(), "M_INVALID_PARAM"),
        ({"self_signing_key": body["self_signing_key"]}, "M_MISSING_PARAM"),
        ({"master_key": {**body["master_key"], "usage": ["self_signing"]}}, "M_INVALID_PARAM"),
        ({"master_key": "x"}, "M_BAD_JSON"),
    ):
        (await alice.request("POST", "/keys/device_signing/upload", bad)).error(400, code)
    assert (await query(bob, alice))["master_keys"] == {}


async def test_signatures_that_come_with_a_key_are_verified(alice: Client, bob: Client) -> None:
    """A cross-signing key brings those of the user's devices along, a device's keys that of the self-signing key."""
    mine = CrossSigningKeys(alice.user_id)
    body, own = mine.body(), f"ed25519:{alice.device_id}"
    device = signing_key(alice.user_id + alice.device_id)
    await publish(alice)
    wrong = {**body["master_key"], "signatures": {alice.user_id: {own: "A" * 86}}}
    for bad in ({**body, "master_key": wrong}, {**body, "user_signing_key": signed_wrongly(body, alice, own)}):
        (await alice.request("POST", "/keys/device_signing/upload", bad)).error(400, "M_INVALID_SIGNATURE")
    assert (await query(alice, alice))["master_keys"] == {}
    right = signed(body["master_key"], alice.user_id, own, device)
    unknown = signed(right, alice.user_id, "ed25519:NOBODY", device)
    await alice.ok("POST", "/keys/device_signing/upload", {**body, "master_key": unknown})
    assert (await query(bob, alice))["master_keys"][alice.user_id] == right, "what nobody can verify is not kept"

    keys = device_keys(alice.user_id, alice.device_id)
    other = f"ed25519:{public(mine.self_signing)}"
    bad_device = {**keys, "signatures": {alice.user_id: {**keys["signatures"][alice.user_id], other: "A" * 86}}}
    (await alice.request("POST", "/keys/upload", {"device_keys": bad_device})).error(400, "M_INVALID_SIGNATURE")
    signed_device = signed(keys, alice.user_id, other, mine.self_signing)
    await upload(alice, device_keys=signed(signed_device, alice.user_id, "ed25519:nobody", device))
    stored = (await query(bob, alice))["device_keys"][alice.user_id][alice.device_id]
    assert stored["signatures"] == signed_device["signatures"]


def signed_wrongly(body: dict[str, Any], owner: Client, key_id: str) -> dict[str, Any]:
    """The user-signing key with a wrong signature beside the master key's."""
    key = body["user_signing_key"]
    return {**key, "signatures": {owner.user_id: {**key["signatures"][owner.user_id], key_id: "A" * 86}}}


async def test_wrong_signatures_fail_alone(alice: Client, bob: Client) -> None:
    keys = await publish(alice)
    mine = CrossSigningKeys(alice.user_id)
    await alice.ok("POST", "/keys/device_signing/upload", mine.body())
    wrong = {**keys, "signatures": {alice.user_id: {f"ed25519:{public(mine.self_signing)}": "A" * 86}}}
    changed = signed(
        {**keys, "algorithms": []}, alice.user_id, f"ed25519:{public(mine.self_signing)}", mine.self_signing
    )
    right = signed(
        mine.body()["master_key"],
        alice.user_id,
        f"ed25519:{alice.device_id}",
        signing_key(alice.user_id + alice.device_id),
    )
    body = {
        alice.user_id: {alice.device_id: wrong, public(mine.master): right, "NODEVICE": wrong},
        bob.user_id: {"nokey": right},
    }
    failures = (await alice.ok("POST", "/keys/signatures/upload", body))["failures"]
    assert failures[alice.user_id][alice.device_id]["errcode"] == "M_INVALID_SIGNATURE"
    assert failures[alice.user_id]["NODEVICE"]["errcode"] == "M_NOT_FOUND"
    assert failures[bob.user_id]["nokey"]["errcode"] == "M_NOT_FOUND"
    assert public(mine.master) not in failures[alice.user_id]
    body = {alice.user_id: {alice.device_id: changed}}
    failures = (await alice.ok("POST", "/keys/signatures/upload", body))["failures"]
    assert failures[alice.user_id][alice.device_id]["errcode"] == "M_INVALID_PARAM"
