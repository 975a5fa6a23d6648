"""The user's devices.  spec: client-server-api#device-management"""

from __future__ import annotations

from typing import Any

import msgspec

from client_api.bounds import DEVICES, Line
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports import accounts
from homeserver.ports.requester import Requester


class Device(msgspec.Struct, omit_defaults=True):
    """A device as clients see it."""

    device_id: str
    display_name: str | None = None
    last_seen_ip: str | None = None
    last_seen_ts: int | None = None


class UpdateDeviceRequest(msgspec.Struct):
    """A new name."""

    display_name: Line | None = None


async def get_devices(api: ClientServices, who: Requester) -> dict[str, Any]:
    """All devices."""
    return {"devices": [_device(device) for device in await api.accounts.devices.all(who.user_id)]}


async def get_device(api: ClientServices, who: Requester, *, device_id: str) -> Device:
    """One device."""
    return _device(await api.accounts.devices.get(who.user_id, device_id))


async def update_device(api: ClientServices, who: Requester, *, device_id: str, body: UpdateDeviceRequest) -> None:
    """Rename a device; an application service makes it where there is none."""
    if who.appservice is not None:
        await api.accounts.devices.provide(who.user_id, device_id)
    await api.accounts.devices.rename(who.user_id, device_id, body.display_name)


async def delete_device(
    api: ClientServices, who: Requester, *, device_id: str, body: dict[str, Any] | None = None
) -> None:
    """Delete a device."""
    await api.accounts.devices.delete(who, [device_id], f"deleteDevice {device_id}", body or {})


async def delete_devices(api: ClientServices, who: Requester, *, body: dict[str, Any]) -> None:
    """Delete some devices."""
    devices = body.get("devices")
    if devices is None:
        raise MatrixError(ErrCode.MISSING_PARAM, "devices is missing")
    if not isinstance(devices, list) or not all(isinstance(device, str) for device in devices):
        raise MatrixError(ErrCode.BAD_JSON, "devices must be a list of strings")
    if len(devices) > DEVICES:
        raise MatrixError(ErrCode.INVALID_PARAM, f"At most {DEVICES} devices are deleted at once")
    await api.accounts.devices.delete(who, devices, "deleteDevices", body)


def _device(device: accounts.Device) -> Device:
    return Device(device.device_id, device.display_name, device.seen_ip, device.seen_ms)
