"""End-to-end encryption, as far as a server has a part in it: keys, signatures, device lists, messages to devices."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.services.e2e.counts import KeyCountsCache
from homeserver.services.e2e.devicelists import DeviceLists
from homeserver.services.e2e.todevice import ToDevice


@dataclass(frozen=True, slots=True)
class DeviceUpdates:
    """What syncing tells a device of keys and messages."""

    counts: KeyCountsCache
    lists: DeviceLists
    to_device: ToDevice
