"""All services of end-to-end encryption, as they are handed on together."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.services.e2e import DeviceUpdates
from homeserver.services.e2e.backup import Backups
from homeserver.services.e2e.crosssigning import CrossSigning
from homeserver.services.e2e.dehydrated import DehydratedDevices
from homeserver.services.e2e.keys import Keys
from homeserver.services.e2e.todevice import ToDevice
from homeserver.services.sync.keychanges import KeyChanges


@dataclass(frozen=True, slots=True)
class E2eServices:
    """Services of end-to-end encryption."""

    keys: Keys
    cross_signing: CrossSigning
    to_device: ToDevice
    changes: KeyChanges
    backups: Backups
    updates: DeviceUpdates
    dehydrated: DehydratedDevices
