"""Messages from device to device: queued durably, given out in order, kept until they are acknowledged.

A message is an entry of the log for its device; the position is its place in the queue. A sync token says how far a
device has come, so nothing is deleted when it is sent, only when a token at or past it comes back.
spec: client-server-api#send-to-device-messaging
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
import structlog

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import is_user_of
from homeserver.ports.e2e import DeviceMessage, DeviceName
from homeserver.ports.log import LogEntry, ToDeviceEntry
from homeserver.ports.store import Store, StoreUnavailable, Transaction
from homeserver.services.commit import Committer
from homeserver.services.log import Log

EVERY_DEVICE = "*"
PER_RESPONSE = 100

_FLUSH_EVERY_S = 2.0
_MAX_CLEAN = 100_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ToDeviceLimits:
    """Bounds of one request and of one device's queue."""

    queue: int = 100_000  # messages that wait for one device; the oldest stay
    devices: int = 10_000  # that one request names
    content_bytes: int = 65_536


class _Queues:
    """Which queues take no more, without counting them for every message.

    A queue is counted when what was added to it since it was counted last could have filled half of the room that was
    left. So of a queue with much room hardly anything is asked, and what other processes add is found in time.
    """

    def __init__(self, most: int, *, max_known: int = 100_000) -> None:
        self._most = most
        self._max_known = max_known
        self._unasked: OrderedDict[DeviceName, int] = OrderedDict()  # how many more are added before it is counted

    async def full(self, tx: Transaction, devices: Sequence[DeviceName]) -> set[DeviceName]:
        """Those of the devices that take nothing; one message is added to each of the others."""
        unasked, unsure = self._unasked, []
        for device in devices:
            left = unasked.get(device, 0)
            if left > 0:
                unasked[device] = left - 1
            else:
                unsure.append(device)
        full: set[DeviceName] = set()
        if unsure:
            lengths = await tx.to_device.lengths(unsure, self._most)
            for device in unsure:
                length = lengths[device]
                if length >= self._most:
                    full.add(device)
                else:
                    unasked[device] = (self._most - length + 1) // 2 - 1
            while len(unasked) > self._max_known:
                unasked.popitem(last=False)
        return full


@dataclass(slots=True)
class _Send:
    """The change of one `sendToDevice`."""

    key: bytes
    noted_at: int
    messages: Mapping[DeviceName, bytes]  # device id `*`: all of the user's
    queues: _Queues
    _to: list[tuple[DeviceName, bytes]] = field(default_factory=list, init=False)

    async def prepare(self, tx: Transaction) -> int:
        """Find the devices; nobody if the request has been done before."""
        self._to = []
        if not await tx.to_device.begin(self.key, self.noted_at):
            return 0
        messages = self.messages
        everywhere = {user_id for user_id, device_id in messages if device_id == EVERY_DEVICE}
        existing = await tx.to_device.existing(messages.keys(), everywhere)
        full = await self.queues.full(tx, existing)
        for device in full:
            _log.warning("to_device_queue_full", user_id=device[0], device_id=device[1])
        # What is for one device goes before what is for all.
        self._to = [
            (device, messages[device] if device in messages else messages[device[0], EVERY_DEVICE])
            for device in existing
            if device not in full
        ]
        return bool(self._to)

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Queue the messages."""
        if not self._to:
            return []
        await tx.to_device.add(first, self._to)
        return [ToDeviceEntry(first, frozenset([device for device, _ in self._to]))]


class ToDevice:
    """Owns the queues. `run` must be running for acknowledged messages to be deleted."""

    def __init__(self, store: Store, committer: Committer, log: Log, server_name: str, limits: ToDeviceLimits) -> None:
        self._store = store
        self._committer = committer
        self._log = log
        self._server_name = server_name
        self._limits = limits
        self._queues = _Queues(limits.queue)
        self._acknowledged: dict[DeviceName, int] = {}
        self._clean: OrderedDict[DeviceName, None] = OrderedDict()  # nothing to delete for them

    async def send(
        self,
        sender: tuple[str, str],
        event_type: str,
        txn_id: str,
        messages: Mapping[str, Mapping[str, Mapping[str, Any]]],
    ) -> None:
        """Queue `messages[user][device or *]` from `sender` (user id, device id); unknown devices are passed over.

        The same `txn_id` again does nothing. Raises MatrixError: INVALID_PARAM for too many devices, TOO_LARGE.
        spec: client-server-api#put_matrixclientv3sendtodeviceeventtypetxnid
        """
        if sum(map(len, messages.values())) > self._limits.devices:
            raise MatrixError(ErrCode.INVALID_PARAM, f"Send to at most {self._limits.devices} devices at once")
        user_id, device_id = sender
        encoded: dict[DeviceName, bytes] = {}
        head = orjson.dumps({"type": event_type, "sender": user_id})[:-1] + b',"content":'
        most, encode = self._limits.content_bytes, orjson.dumps
        for to_user, by_device in messages.items():
            if not is_user_of(to_user, self._server_name):
                continue
            for to_device, content in by_device.items():
                json = head + encode(content) + b"}"
                if len(json) > most:
                    raise MatrixError(ErrCode.TOO_LARGE, f"A message to a device has at most {most} bytes")
                encoded[to_user, to_device] = json
        key = sha256("\0".join((user_id, device_id, "sendToDevice", event_type, txn_id)).encode()).digest()[:16]
        await self._committer.commit(_Send(key, self._log.position, encoded, self._queues))

    async def waiting(self, tx: Transaction, device: DeviceName, after: int, upto: int) -> list[DeviceMessage]:
        """The oldest messages after the position that the device has acknowledged: one more than are given out
        at once, if there are so many.
        """
        found = await tx.to_device.waiting(device, after, upto, PER_RESPONSE + 1)
        if found:
            self._clean.pop(device, None)
        return found

    def acknowledge(self, device: DeviceName, position: int) -> None:
        """The device has got its messages up to a position: they may be deleted, at some time."""
        if device not in self._clean:
            self._acknowledged[device] = max(position, self._acknowledged.get(device, 0))

    async def flush(self) -> None:
        """Delete what was acknowledged."""
        acknowledged, self._acknowledged = self._acknowledged, {}
        if not acknowledged:
            return
        for device in acknowledged:
            self._clean[device] = None  # until it is given the next message, which may be at once
        while len(self._clean) > _MAX_CLEAN:
            self._clean.popitem(last=False)
        if faults.plan is not None:
            await faults.plan.reach("to_device.flush")
        try:
            async with self._store.write() as tx:
                await tx.to_device.delete_acknowledged(acknowledged)
        except StoreUnavailable as error:
            # Nobody is given them again: the token that acknowledged them is behind them.
            _log.warning("to_device_not_deleted", devices=len(acknowledged), error=str(error))
            for device in acknowledged:
                self._clean.pop(device, None)

    async def run(self) -> None:
        """Delete what was acknowledged every now and then, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_EVERY_S)
            await self.flush()
