"""Constructs what has to do with end-to-end encryption."""

from __future__ import annotations

from homeserver.boot.accounts import Foundations
from homeserver.services.accounts.interactive import Interactive
from homeserver.services.e2e import DeviceUpdates
from homeserver.services.e2e.backup import BackupLimits, Backups
from homeserver.services.e2e.container import E2eServices
from homeserver.services.e2e.counts import KeyCountsCache
from homeserver.services.e2e.crosssigning import CrossSigning
from homeserver.services.e2e.dehydrated import DehydratedDevices
from homeserver.services.e2e.devicelists import DeviceLists
from homeserver.services.e2e.keys import KeyLimits, Keys
from homeserver.services.e2e.todevice import ToDevice, ToDeviceLimits
from homeserver.services.following import LogFollower
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.sync.keychanges import KeyChanges


def build_e2e(base: Foundations, follower: LogFollower, rooms: RoomLists, interactive: Interactive) -> E2eServices:
    """Keys, signatures, device lists and messages to devices."""
    encryption, store, committer = base.config.encryption, base.store, base.committer
    name = base.config.server.name
    lists = DeviceLists(rooms)
    limits = ToDeviceLimits(encryption.to_device_queue, encryption.to_device_per_request, encryption.to_device_bytes)
    to_device = ToDevice(store, committer, follower.log, name, limits)
    key_limits = KeyLimits(one_time_keys=encryption.one_time_keys_per_device)
    return E2eServices(
        keys=Keys(store, committer, name, key_limits, show_device_names=encryption.show_device_names),
        dehydrated=DehydratedDevices(store, committer, base.clock, key_limits),
        cross_signing=CrossSigning(store, committer, interactive),
        to_device=to_device,
        changes=KeyChanges(store, follower, rooms, lists),
        backups=Backups(
            store,
            BackupLimits(
                encryption.backups_per_user,
                encryption.backup_keys_per_user,
                encryption.backup_bytes_per_user,
                encryption.backup_key_bytes,
                encryption.visitor_backup_keys,
            ),
        ),
        updates=DeviceUpdates(KeyCountsCache(store, follower.log), lists, to_device),
    )
