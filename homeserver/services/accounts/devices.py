"""The user's devices, and when each was last seen.

Sightings are gathered in memory and written together now and then, so that a request costs no statement.
spec: client-server-api#device-management
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Device
from homeserver.ports.clock import Clock
from homeserver.ports.log import DeviceListEntry
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.accounts.interactive import Interactive, Operation
from homeserver.services.accounts.names import MAX_DISPLAY_NAME, device_id_of, is_storable, require_text
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.accounts.stages import PASSWORD
from homeserver.services.commit import Committer

_log = structlog.get_logger(__name__)

_SEEN_EVERY_MS = 60_000
_MAX_UNWRITTEN = 50_000
_MAX_AGENT = 256


class Devices:
    """Owns devices. `run` must be running for sightings to be stored."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        clock: Clock,
        sessions: Sessions,
        interactive: Interactive,
        *,
        max_devices: int = 100,
    ) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._sessions = sessions
        self._interactive = interactive
        self._most = max_devices
        self._seen: dict[tuple[str, str], Device] = {}

    async def all(self, user_id: str) -> Sequence[Device]:
        """All devices of the user."""
        async with self._store.read() as tx:
            devices = await tx.devices.of_user(user_id)
        return self.newest(devices)

    async def get(self, user_id: str, device_id: str) -> Device:
        """One device. Raises NOT_FOUND."""
        device = None
        if is_storable(device_id):
            async with self._store.read() as tx:
                device = await tx.devices.get(user_id, device_id)
        if device is None:
            raise _no_device()
        return self._newest(device)

    async def rename(self, user_id: str, device_id: str, display_name: str | None) -> None:
        """Set the display name; None leaves it. Raises NOT_FOUND, INVALID_PARAM."""
        if display_name is None:
            await self.get(user_id, device_id)
            return
        require_text(display_name, "display_name", MAX_DISPLAY_NAME)
        if not is_storable(device_id):
            raise _no_device()
        async with self._committer.writing() as unit:
            if not await unit.tx.devices.rename(user_id, device_id, display_name):
                raise _no_device()
            if await unit.tx.keys.device_key(user_id, device_id) is not None:
                unit.tell(lambda position: DeviceListEntry(position, user_id))

    async def provide(self, user_id: str, device_id: str) -> None:
        """Make the device unless the user has it, without a session, for an application service.

        spec: application-service-api#creating-devices. Raises INVALID_PARAM for a bad id or too many devices.
        """
        device_id_of(device_id)
        async with self._committer.writing() as unit:
            await unit.tx.users.lock(user_id)
            if await unit.tx.devices.get(user_id, device_id) is not None:
                return
            if await unit.tx.devices.count(user_id) >= self._most:
                raise MatrixError(ErrCode.INVALID_PARAM, f"A user has at most {self._most} devices")
            await unit.tx.devices.create(Device(user_id, device_id, self._clock.now_ms()))
            unit.tell(lambda position: DeviceListEntry(position, user_id))

    async def delete(self, who: Requester, device_ids: Sequence[str], operation: str, body: dict[str, Any]) -> None:
        """Delete devices and log them out, after interactive authentication of the request `body`.

        Application services need none. `operation` names what is done in terms of the specification. Unknown
        devices count as deleted.
        """
        proof = None
        if who.appservice is None:
            flows = [self._interactive.flow(PASSWORD)]
            proof = await self._interactive.authenticate(Operation(operation, who.user_id, body), flows)
        known = [device_id for device_id in device_ids if is_storable(device_id)]
        async with self._committer.writing() as unit:
            if proof is not None:
                await proof.claim(unit.tx)
            gone = await self._sessions.end_devices_in(unit, who.user_id, known)
        self._sessions.ended(gone)
        self._interactive.remember(Operation(operation, who.user_id, body), {})

    def newest(self, devices: Sequence[Device]) -> list[Device]:
        """The devices with what was seen of them and is not stored yet."""
        return [self._newest(device) for device in devices]

    def saw(self, user_id: str, device_id: str, address: str, agent: str | None) -> None:
        """A request of the device came from `address`, by a client that calls itself `agent`."""
        key = (user_id, device_id)
        now_ms = self._clock.now_ms()
        seen = self._seen.get(key)
        if seen is None or now_ms - (seen.seen_ms or 0) >= _SEEN_EVERY_MS:
            if seen is None and len(self._seen) >= _MAX_UNWRITTEN:
                return
            self._seen[key] = Device(
                user_id, device_id, 0, seen_ms=now_ms, seen_ip=address, seen_agent=agent and agent[:_MAX_AGENT]
            )

    async def flush(self) -> None:
        """Write what was seen."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            async with self._store.write() as tx:
                await tx.devices.seen(list(seen.values()))
        except StoreUnavailable as error:
            _log.warning("sightings_lost", devices=len(seen), error=str(error))

    async def run(self) -> None:
        """Write what was seen once a minute, until cancelled."""
        while True:
            await asyncio.sleep(_SEEN_EVERY_MS / 1000)
            await self.flush()

    def _newest(self, device: Device) -> Device:
        seen = self._seen.get((device.user_id, device.device_id))
        if seen is None:
            return device
        agent = seen.seen_agent or device.seen_agent
        return replace(device, seen_ms=seen.seen_ms, seen_ip=seen.seen_ip, seen_agent=agent)


def _no_device() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "You have no such device")
