"""Keys of devices and users and messages to devices, as the store knows them.

Contents are JSON as bytes: the server checks them once, when they come, and hands them on.
spec: client-server-api#end-to-end-encryption
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

DeviceName = tuple[str, str]
"""User id and device id."""

KeyName = tuple[str, str]
"""Algorithm and key id of a one-time or fallback key."""


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The identity keys of a device, and the name its owner gave it."""

    user_id: str
    device_id: str
    json: bytes
    display_name: str | None


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """What a device learns of its own keys: how many one-time keys are left, which fallback keys were never used."""

    one_time: Mapping[str, int] = field(default_factory=dict)  # by algorithm
    unused_fallback: tuple[str, ...] = ()  # algorithms


@dataclass(frozen=True, slots=True)
class KeyQueue:
    """A device's one-time keys of one algorithm, numbered from 1 in the order in which they are claimed."""

    number: int
    last: int
    claimed: int
    """Those up to this one were given out."""
    ids: Sequence[str]
    """Of the newest keys, in their order: all that are left, and some thousand that were claimed."""


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """What the keys of an upload are held against."""

    queues: Mapping[str, KeyQueue]
    """By algorithm."""
    known: Mapping[KeyName, bytes | None]
    """Those of the keys that the device has uploaded before; None for one that was claimed since."""


@dataclass(frozen=True, slots=True)
class KeySignature:
    """A signature on somebody's key that did not come with the key itself."""

    target_user: str
    target_key: str  # a device id, or a master key's public key
    signer_user: str
    signer_key: str  # ed25519:…
    signature: str


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """A message waiting for a device: the log position at which it came, and the event as the device gets it."""

    position: int
    json: bytes


@dataclass(frozen=True, slots=True)
class DehydratedDevice:
    """A device kept in the account: `data` is the JSON from which a client makes it anew.  Source: MSC3814."""

    device_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """What a reader is told of the keys of some users."""

    devices: Sequence[tuple[str, str, bytes, str | None]]
    """User id, device id, keys as JSON, and the name that the owner gave the device."""
    cross_signing: Mapping[str, Mapping[str, bytes]]
    """By user id and usage."""
    signatures: Sequence[KeySignature]
    """By the users themselves and by the reader."""


class KeyRepo(Protocol):
    """Identity keys, one-time keys, fallback keys, cross-signing keys and signatures."""

    async def device_keys(self, user_ids: Collection[str]) -> list[DeviceKeys]:
        """The keys of all devices of the users, in one statement."""
        ...

    async def device_key(self, user_id: str, device_id: str) -> bytes | None:
        """The keys of one device."""
        ...

    async def put_device_keys(self, user_id: str, device_id: str, json: bytes) -> None:
        """Store the keys of a device, over those it had."""
        ...

    async def standing(self, device: DeviceName, names: Collection[KeyName]) -> KeyStanding | None:
        """What is left of the device's keys and what it has of these; None if there is no device."""
        ...

    async def add_one_time_keys(
        self, device: DeviceName, keys: Mapping[KeyName, bytes], queues: Mapping[str, KeyQueue]
    ) -> None:
        """Add keys that were not there behind those of the queues (`KeyStanding.queues`).

        Claimed ones are deleted, but for the ids of the newest. Raises UniqueViolation if another process has added
        some meanwhile.
        """
        ...

    async def put_fallback_keys(self, device: DeviceName, keys: Mapping[KeyName, bytes]) -> None:
        """Replace the device's fallback keys of these algorithms. One that is there already keeps its being used."""
        ...

    async def counts(self, device: DeviceName) -> KeyCounts:
        """What is left of the device's keys."""
        ...

    async def claim(self, wanted: Sequence[tuple[DeviceName, str]]) -> dict[DeviceName, tuple[KeyName, bytes]]:
        """Take the oldest one-time key of an algorithm from each device, for good. Those that have none are absent."""
        ...

    async def claim_fallback(self, wanted: Sequence[tuple[DeviceName, str]]) -> dict[DeviceName, tuple[KeyName, bytes]]:
        """The fallback keys of devices, which are used from now on. Those that have none are absent."""
        ...

    async def drop_one_time_keys(self) -> int:
        """Give no one-time key of anybody away any more; returns how many were left.

        For a database that comes from a backup: some may have been claimed since, and none may be claimed twice.
        """
        ...

    async def users(self) -> list[str]:
        """All who have a device with identity keys."""
        ...

    async def delete_devices(self, user_id: str, device_ids: Collection[str] | None) -> bool:
        """Delete everything of these devices (all of the user's if None), messages for them too.

        Returns whether any of them had identity keys.
        """
        ...

    async def delete_user(self, user_id: str) -> None:
        """Delete the user's cross-signing keys and the signatures on them."""
        ...

    async def cross_signing_keys(self, user_ids: Collection[str]) -> dict[str, dict[str, bytes]]:
        """The cross-signing keys of the users by usage, in one statement."""
        ...

    async def put_cross_signing_key(self, user_id: str, usage: str, json: bytes) -> None:
        """Store a cross-signing key, over the user's older one."""
        ...

    async def published(self, user_ids: Collection[str], reader: str) -> PublishedKeys:
        """All of this of the users, in one statement."""
        ...

    async def put_signatures(self, signatures: Sequence[KeySignature]) -> None:
        """Store signatures, over older ones by the same keys."""
        ...

    async def dehydrated(self, user_id: str) -> DehydratedDevice | None:
        """The user's dehydrated device; it is deleted with its device."""
        ...

    async def put_dehydrated(self, user_id: str, device: DehydratedDevice) -> None:
        """Store it, over the user's older one."""
        ...

    async def changed_lists(self, reader: str, after: int) -> list[str]:
        """Users whose device list has changed after a position, as far as the reader may be told.

        One row a user is kept, with the entries of the log (`LogRepo.record`).
        """
        ...


class ToDeviceRepo(Protocol):
    """Queues of messages to devices."""

    async def queues(self, users: Collection[str]) -> Sequence[tuple[str, str, int]]:
        """The devices that the users have: user id, device id, and the number of its queue, which no other ever has."""
        ...

    async def lengths(self, queues: Collection[int], most: int) -> dict[int, int]:
        """How many messages wait in the queues, looking at no more than `most` of each."""
        ...

    async def add(self, position: int, head: bytes, queues: Sequence[int], contents: Sequence[bytes]) -> None:
        """Queue a message in each of the queues, all of which came at a position of the log.

        They are JSON on one line: `head` is what all events begin with, up to their contents.
        """
        ...

    async def waiting(self, device: DeviceName, after: int, upto: int, limit: int) -> list[DeviceMessage]:
        """The oldest `limit` messages with `after < position <= upto`."""
        ...

    async def between(self, low: int, high: int, limit: int) -> dict[int, frozenset[DeviceName]]:
        """For whom messages wait at the oldest `limit` positions with `low < position <= high` that have any."""
        ...

    async def delete_acknowledged(self, acknowledged: Mapping[DeviceName, int]) -> None:
        """Delete messages up to the positions that the devices have acknowledged."""
        ...

    async def prune_lost(self, queues: int) -> int:
        """Delete messages to devices that were deleted while these were sent, of at most so many devices.

        Returns how many messages. Elsewhere a device's messages go with it.
        """
        ...

    async def begin(self, key: bytes, position: int) -> bool:
        """Note a request's transaction id; False if it was done before."""
        ...

    async def prune_txns(self, before_position: int, limit: int) -> int:
        """Forget at most `limit` transaction ids from before a position; returns how many."""
        ...
