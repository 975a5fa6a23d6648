"""Dehydrated devices: a device kept in the account, which gets room keys while its user has no other.

It is a device like others, with keys and a queue of messages, but nobody is logged in with it. Reading its messages
deletes nothing: whoever rehydrates it may be interrupted, and another device begins again.
Source: MSC3814.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core import canonical
from homeserver.core.devicekeys import check_device_keys, check_one_time_keys
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Device
from homeserver.ports.clock import Clock
from homeserver.ports.e2e import DehydratedDevice
from homeserver.ports.log import DeviceListEntry
from homeserver.ports.store import Store
from homeserver.services.accounts.names import display_name_of_device, require_text
from homeserver.services.commit import Committer
from homeserver.services.e2e.crosssigning import only_verified_device_keys
from homeserver.services.e2e.keys import KeyLimits
from homeserver.services.e2e.todevice import PER_RESPONSE

_MAX_DATA = 65_536


@dataclass(frozen=True, slots=True)
class NewDehydratedDevice:
    """What a client uploads."""

    device_id: str
    device_data: Mapping[str, Any]
    device_keys: Mapping[str, Any]
    one_time_keys: Mapping[str, Any]
    fallback_keys: Mapping[str, Any]
    display_name: str | None


class DehydratedDevices:
    """At most one for each user."""

    def __init__(self, store: Store, committer: Committer, clock: Clock, limits: KeyLimits) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._limits = limits

    async def put(self, user_id: str, new: NewDehydratedDevice) -> None:
        """Keep the device in the place of the one there was.

        Raises MatrixError: INVALID_PARAM for keys of another device, too many keys or an id that is somebody's who is
        logged in; BAD_JSON; TOO_LARGE.
        """
        device = user_id, require_text(new.device_id, "device_id")
        most = self._limits.one_time_keys
        if len(new.one_time_keys) > most or len(new.fallback_keys) > self._limits.algorithms:
            raise MatrixError(ErrCode.INVALID_PARAM, f"A device has at most {most} one-time keys")
        keys = check_device_keys(user_id, new.device_id, new.device_keys)
        one_time = check_one_time_keys(user_id, new.one_time_keys, "one_time_keys")
        fallback = check_one_time_keys(user_id, new.fallback_keys, "fallback_keys")
        if not isinstance(new.device_data.get("algorithm"), str):
            raise MatrixError(ErrCode.BAD_JSON, "device_data must name its algorithm")
        data = canonical.encode(new.device_data)
        if len(data) > _MAX_DATA:
            raise MatrixError(ErrCode.TOO_LARGE, f"device_data has at most {_MAX_DATA} bytes")
        name = display_name_of_device(new.display_name)
        async with self._committer.writing() as unit:
            tx = unit.tx
            await tx.users.lock(user_id)
            before = await tx.keys.dehydrated(user_id)
            if before is not None:
                await tx.devices.delete(user_id, [before.device_id])
                await tx.keys.delete_devices(user_id, [before.device_id])
            if await tx.devices.get(*device) is not None:
                raise MatrixError(ErrCode.INVALID_PARAM, "You have another device of this id")
            await tx.devices.create(Device(*device, self._clock.now_ms(), name))
            await tx.keys.put_dehydrated(user_id, DehydratedDevice(new.device_id, data))
            signed = await only_verified_device_keys(tx, device, keys)
            await tx.keys.put_device_keys(*device, canonical.encode(signed))
            await tx.keys.add_one_time_keys(device, one_time, {})
            await tx.keys.put_fallback_keys(device, fallback)
            unit.tell(lambda position: DeviceListEntry(position, user_id))

    async def get(self, user_id: str) -> DehydratedDevice:
        """The user's dehydrated device. Raises MatrixError(NOT_FOUND)."""
        async with self._store.read() as tx:
            device = await tx.keys.dehydrated(user_id)
        if device is None:
            raise MatrixError(ErrCode.NOT_FOUND, "You have no dehydrated device")
        return device

    async def delete(self, user_id: str) -> str:
        """Delete it; returns its id. Raises MatrixError(NOT_FOUND)."""
        device = await self.get(user_id)
        async with self._committer.writing() as unit:
            await unit.tx.devices.delete(user_id, [device.device_id])
            if await unit.tx.keys.delete_devices(user_id, [device.device_id]):
                unit.tell(lambda position: DeviceListEntry(position, user_id))
        return device.device_id

    async def events(self, user_id: str, device_id: str, after: str | None) -> tuple[Sequence[bytes], str]:
        """The messages that wait for it behind `after`, the oldest first, and the token to go on from.

        Raises MatrixError: FORBIDDEN for another device, INVALID_PARAM for a token that is not this server's.
        """
        low = _position(after)
        async with self._store.read() as tx:
            device = await tx.keys.dehydrated(user_id)
            if device is None or device.device_id != device_id:
                raise MatrixError(ErrCode.FORBIDDEN, "This is not your dehydrated device")
            messages = await tx.to_device.waiting((user_id, device_id), low, 2**63 - 1, PER_RESPONSE)
        return [message.json for message in messages], str(messages[-1].position if messages else low)


def _position(token: str | None) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise MatrixError(ErrCode.INVALID_PARAM, "next_batch is not one of this server's")
    return int(token)
