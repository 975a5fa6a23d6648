"""Messages from device to device: queued durably, given out in order, kept until they are acknowledged.

A message is an entry of the log for its device; the position is its place in the queue. A sync token says how far a
device has come, so nothing is deleted when it is sent, only when a token at or past it comes back.
spec: client-server-api#send-to-device-messaging
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
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


class _Full:
    """Which queues take no more, without counting them for every message.

    A queue is counted when what was added to it since it was counted last could have filled half of the room that was
    left. So of a queue with much room hardly anything is asked, and what other processes add is found in time.
    """

    def __init__(self, most: int, *, max_known: int = 100_000) -> None:
        self._most = most
        self._max_known = max_known
        self._unasked: OrderedDict[int, int] = OrderedDict()  # how many more are added before it is counted

    async def among(self, tx: Transaction, queues: Collection[int]) -> set[int]:
        """Those of the queues that take nothing; one message is added to each of the others."""
        unasked, unsure = self._unasked, []
        for queue in queues:
            left = unasked.get(queue, 0)
            if left > 0:
                unasked[queue] = left - 1
            else:
                unsure.append(queue)
        full: set[int] = set()
        if unsure:
            lengths = await tx.to_device.lengths(unsure, self._most)
            for queue in unsure:
                length = lengths[queue]
                if length >= self._most:
                    full.add(queue)
                else:
                    unasked[queue] = (self._most - length + 1) // 2 - 1
            while len(unasked) > self._max_known:
                unasked.popitem(last=False)
        return full


@dataclass(slots=True)
class _Send:
    """The change of one `sendToDevice`."""

    key: bytes
    noted_at: int
    head: bytes  # what all events begin with
    messages: Mapping[str, Mapping[str, bytes]]  # contents by user and device; device id `*`: all of the user's
    full: _Full
    _devices: list[DeviceName] = field(default_factory=list, init=False)
    _queues: list[int] = field(default_factory=list, init=False)
    _contents: list[bytes] = field(default_factory=list, init=False)

    async def prepare(self, tx: Transaction) -> int:
        """Find the devices; nobody if the request has been done before."""
        self._devices, self._queues, self._contents = [], [], []
        if not await tx.to_device.begin(self.key, self.noted_at):
            return 0
        self._find(await tx.to_device.queues(self.messages.keys()))
        if full := await self.full.among(tx, self._queues):
            self._leave_out(full)
        return bool(self._devices)

    def _find(self, queues: Sequence[tuple[str, str, int]]) -> None:
        """What goes to which of the devices: in lists side by side, since of pairs the garbage collector takes note."""
        devices, numbers, contents = self._devices, self._queues, self._contents
        messages = self.messages
        for user_id, device_id, number in queues:
            by_device = messages[user_id]
            # What is for one device goes before what is for all.
            content = by_device.get(device_id) or by_device.get(EVERY_DEVICE)
            if content is not None:
                devices.append((user_id, device_id))
                numbers.append(number)
                contents.append(content)

    def _leave_out(self, full: Collection[int]) -> None:
        for place in reversed([place for place, queue in enumerate(self._queues) if queue in full]):
            user_id, device_id = self._devices.pop(place)
            _log.warning("to_device_queue_full", user_id=user_id, device_id=device_id)
            del self._queues[place], self._contents[place]

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Queue the messages."""
        if not self._devices:
            return []
        await tx.to_device.add(first, self.head, self._queues, self._contents)
        return [ToDeviceEntry(first, frozenset(self._devices))]


class ToDevice:
    """Owns the queues. `run` must be running for acknowledged messages to be deleted."""

    def __init__(self, store: Store, committer: Committer, log: Log, server_name: str, limits: ToDeviceLimits) -> None:
        self._store = store
        self._committer = committer
        self._log = log
        self._server_name = server_name
        self._limits = limits
        self._full = _Full(limits.queue)
        self._acknowledged: dict[DeviceName, int] = {}
        self._clean: OrderedDict[DeviceName, None] = OrderedDict()  # nothing to delete for them

    async def send(
        self,
        sender: tuple[str, str],
        event_type: str,
        txn_id: str,
        messages: Mapping[str, Any],
    ) -> None:
        """Queue `messages[user][device or *]` from `sender` (user id, device id); unknown devices are passed over.

        They are taken apart on the way. The same `txn_id` again does nothing.
        Raises MatrixError: BAD_JSON, INVALID_PARAM for too many devices, TOO_LARGE.
        spec: client-server-api#put_matrixclientv3sendtodeviceeventtypetxnid
        """
        user_id, device_id = sender
        head = orjson.dumps({"type": event_type, "sender": user_id})[:-1] + b',"content":'
        contents = self._encoded(messages, self._limits.content_bytes - len(head) - 1)
        key = sha256("\0".join((user_id, device_id, "sendToDevice", event_type, txn_id)).encode()).digest()[:16]
        await self._committer.commit(_Send(key, self._log.position, head, contents, self._full))

    def _encoded(self, messages: Mapping[str, Any], most: int) -> dict[str, dict[str, bytes]]:
        """The contents, of at most so many bytes each, for users of this server."""
        left = self._limits.devices
        encode = orjson.dumps
        found: dict[str, dict[str, bytes]] = {}
        for user_id, by_device in messages.items():
            if type(by_device) is not dict:
                raise MatrixError(ErrCode.BAD_JSON, "Messages must be an object of each user's devices")
            left -= len(by_device)
            if left < 0:
                raise MatrixError(ErrCode.INVALID_PARAM, f"Send to at most {self._limits.devices} devices at once")
            is_ours = is_user_of(user_id, self._server_name)
            for device_id, content in by_device.items():
                if type(content) is not dict:
                    raise MatrixError(ErrCode.BAD_JSON, "A message to a device must be an object")
                if is_ours:
                    by_device[device_id] = json = encode(content)
                    if len(json) > most:
                        size = self._limits.content_bytes
                        raise MatrixError(ErrCode.TOO_LARGE, f"A message to a device has at most {size} bytes")
            if is_ours:
                found[user_id] = by_device
        return found

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
        try:
            async with self._store.write() as tx:
                if faults.plan is not None:
                    await faults.plan.reach("to_device.flush")
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
