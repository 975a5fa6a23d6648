"""Keys and messages to devices: what clients ask for before they can encrypt in a large room.

spec: client-server-api#end-to-end-encryption
"""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.matrix import CLIENT, Account
from benchmarks.measure import Measurement, Meter, drive, each
from benchmarks.world import AT_ONCE, World
from homeserver.core import canonical
from homeserver.core.signatures import SigningKey, encode_base64

ONE_TIME_KEYS = 50
UPLOADERS = 2


async def keys(world: World) -> list[Measurement]:
    """Upload 50 one-time keys, query two devices of each user, claim a key of each, send to every device."""
    holders = await each(range(world.scale.keyholders), lambda number: _holder(world, number), AT_ONCE)
    devices = [device for holder in holders for device in holder]
    found = [await _upload(world, [second for _, second in holders])]
    asker = world.senders[0]

    async def query(_worker: int) -> None:
        body = {"device_keys": {first.user_id: [] for first, _ in holders}}
        answer = await world.matrix.call("POST", f"{CLIENT}/keys/query", asker, body)
        assert sum(map(len, answer["device_keys"].values())) == len(devices)

    async def claim(_worker: int) -> None:
        wanted = {first.user_id: {first.device_id: "signed_curve25519"} for first, _ in holders}
        answer = await world.matrix.call("POST", f"{CLIENT}/keys/claim", asker, {"one_time_keys": wanted})
        assert len(answer["one_time_keys"]) == len(holders)

    transactions = itertools.count()

    async def send(_worker: int) -> None:
        content = {"algorithm": "m.olm.v1.curve25519-aes-sha2", "ciphertext": "x" * 400, "sender_key": "k" * 43}
        messages = {first.user_id: {one.device_id: content for one in (first, second)} for first, second in holders}
        path = f"{CLIENT}/sendToDevice/m.room.encrypted/b{next(transactions)}"
        await world.matrix.call("PUT", path, asker, {"messages": messages})

    bounds = world.scale.bounds(min(world.scale.repeats, ONE_TIME_KEYS - 1))
    for name, operation in (("keys-query", query), ("keys-claim", claim), ("to-device", send)):
        meter = Meter(name, world.server)
        await drive(meter, 1, bounds, operation, warm_up=1)
        found.append(await meter.finish())
    return found


async def _upload(world: World, uploaders: list[Account]) -> Measurement:
    """One-time keys of devices that have none; the signing is not the server's and is done before."""
    bodies = [(one, {"one_time_keys": _one_time_keys(one)}) for one in uploaders]
    meter = Meter("keys-upload", world.server)

    async def upload(_worker: int) -> None:
        device, body = bodies.pop()
        await world.matrix.call("POST", f"{CLIENT}/keys/upload", device, body)

    bounds = world.scale.bounds(len(bodies) - UPLOADERS)
    await drive(meter, UPLOADERS, bounds, upload, warm_up=1)
    return await meter.finish()


async def _holder(world: World, number: int) -> tuple[Account, Account]:
    """A user's two devices with their keys; the first has one-time keys as well."""
    first = await world.matrix.register_by_secret(f"keyholder{number}")
    second = await world.matrix.login(first.name)
    for device, more in ((first, {"one_time_keys": _one_time_keys(first)}), (second, {})):
        await world.matrix.call("POST", f"{CLIENT}/keys/upload", device, {"device_keys": device_keys(device), **more})
    return first, second


def _key(text: str) -> SigningKey:
    return SigningKey("ed25519:x", text.encode().rjust(32, b"\0")[-32:])


def _public(text: str) -> str:
    return encode_base64(_key(text).public_bytes)


def _signed(device: Account, content: dict[str, Any]) -> dict[str, Any]:
    signature = _key(device.user_id + device.device_id).sign(canonical.encode(content))
    return {**content, "signatures": {device.user_id: {f"ed25519:{device.device_id}": signature}}}


def device_keys(device: Account) -> dict[str, Any]:
    """Identity keys of a device, signed by itself."""
    name = device.device_id
    content = {
        "user_id": device.user_id,
        "device_id": name,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{name}": _public(device.user_id + name), f"curve25519:{name}": _public(f"curve{name}")},
    }
    return _signed(device, content)


def _one_time_keys(device: Account) -> dict[str, Any]:
    return {
        f"signed_curve25519:K{number:03}": _signed(device, {"key": _public(f"{device.device_id}{number}")})
        for number in range(ONE_TIME_KEYS)
    }
