"""How many keys devices have left, in memory and kept true by the log: every sync response tells it.

spec: client-server-api#end-to-end-encryption (extensions to /sync)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import orjson

from homeserver.ports.e2e import DeviceName, KeyCounts
from homeserver.ports.log import KeyCountsEntry, LogEntry, SessionsEntry
from homeserver.ports.store import Store
from homeserver.services.log import Log

_UNSTABLE_FALLBACK = "org.matrix.msc2732.device_unused_fallback_key_types"
_USUAL = "signed_curve25519"


class KeyCountsCache:
    """Key counts of the devices that sync, as the members of a sync response. Bounded."""

    def __init__(self, store: Store, log: Log, *, max_devices: int = 50_000) -> None:
        self._store = store
        self._max_devices = max_devices
        self._known: OrderedDict[DeviceName, bytes] = OrderedDict()
        self._changes = 0
        log.listen(self._follow, self._forget)

    def peek(self, device: DeviceName) -> bytes | None:
        """The members if they are in memory."""
        return self._known.get(device)

    async def of(self, device: DeviceName) -> bytes:
        """The members as of now."""
        known = self._known.get(device)
        while known is None:
            changes = self._changes
            async with self._store.read_committed() as tx:
                known = members(await tx.keys.counts(device))
            if changes == self._changes:
                self._known[device] = known
                if len(self._known) > self._max_devices:
                    self._known.popitem(last=False)
            else:
                known = self._known.get(device)  # something was claimed or uploaded while we read: read again
        return known

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if isinstance(entry, KeyCountsEntry):
                self._changes += 1
                for device in entry.devices:
                    self._known.pop(device, None)
            elif isinstance(entry, SessionsEntry):
                self._changes += 1
                for device in [device for device in self._known if device[0] == entry.user_id]:
                    del self._known[device]

    def _forget(self) -> None:
        self._changes += 1
        self._known.clear()


def with_usual(one_time: Mapping[str, int]) -> dict[str, int]:
    """The counts, with the usual algorithm even if it has no key left."""
    return {_USUAL: 0, **one_time}


def members(counts: KeyCounts) -> bytes:
    """The members of a sync response, without braces.

    They are always there: clients break without them (matrix-org/synapse#10456), and the usual algorithm is named
    even if no key is left, or they would not know that they have to upload some.
    """
    unused = list(counts.unused_fallback)
    encoded = orjson.dumps(
        {
            "device_one_time_keys_count": with_usual(counts.one_time),
            _UNSTABLE_FALLBACK: unused,
            "device_unused_fallback_key_types": unused,
        }
    )
    return encoded[1:-1]


NO_KEYS = members(KeyCounts())
"""Of whoever has no device."""
