"""Identity keys, one-time keys and fallback keys of devices: uploading, asking for and claiming them.

The server checks whose keys they are and hands them on; clients verify the rest. A one-time key is given out once: it
is taken in the transaction that answers for it, and its id is remembered as long as the device lives.
spec: client-server-api#key-distribution
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.core import canonical
from homeserver.core.devicekeys import (
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    check_device_keys,
    check_one_time_keys,
    identity_of,
    public_key_of,
    with_signatures,
)
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import domain_of, is_user_of
from homeserver.ports.e2e import DeviceName, KeyName, KeySignature, KeyStanding
from homeserver.ports.log import DeviceListEntry, KeyCountsEntry, LogEntry
from homeserver.ports.store import Store, Transaction, UniqueViolation
from homeserver.services.commit import Committer
from homeserver.services.e2e.counts import with_usual
from homeserver.services.e2e.crosssigning import only_verified_device_keys


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Bounds of what one device may store and one request may ask for."""

    one_time_keys: int = 1_000  # of a device and an algorithm, not yet claimed
    algorithms: int = 10  # of one-time or fallback keys of a device
    users_in_query: int = 10_000
    devices_in_claim: int = 10_000


@dataclass(slots=True)
class _Upload:
    """The change of one `/keys/upload`."""

    device: DeviceName
    limits: KeyLimits
    device_keys: Mapping[str, Any] | None
    one_time: Mapping[KeyName, bytes]
    fallback: Mapping[KeyName, bytes]
    counts: Mapping[str, int] = field(default_factory=dict, init=False)  # of one-time keys afterwards
    _is_new: bool = field(default=False, init=False)
    _counted: bool = field(default=False, init=False)

    async def prepare(self, tx: Transaction) -> int:
        """Compare with what is there, then store it."""
        standing = await tx.keys.standing(self.device, self.one_time)
        if standing is None:
            raise MatrixError(ErrCode.UNKNOWN_TOKEN, "The device has been logged out", soft_logout=False)
        if self.device_keys is not None:
            self.device_keys = await only_verified_device_keys(tx, self.device, self.device_keys)
        self._is_new = await self._has_new_identity(tx)
        known = standing.known
        # An answer may have been lost: the same keys again are fine, and those claimed since must not come back.
        fresh = {name: json for name, json in self.one_time.items() if name not in known} if known else self.one_time
        if any(json not in (None, self.one_time[name]) for name, json in known.items()):
            raise MatrixError(ErrCode.INVALID_PARAM, "A one-time key of this id exists already, with another value")
        self.counts = self._counts(standing, fresh)
        if self._is_new and self.device_keys is not None:
            await tx.keys.put_device_keys(*self.device, canonical.encode(self.device_keys))
        if fresh:
            await tx.keys.add_one_time_keys(self.device, fresh, standing.queues)
        if self.fallback:
            await tx.keys.put_fallback_keys(self.device, self.fallback)
        self._counted = bool(fresh or self.fallback)
        return self._is_new + self._counted

    async def _has_new_identity(self, tx: Transaction) -> bool:
        if self.device_keys is None:
            return False
        stored = await tx.keys.device_key(*self.device)
        if stored is None:
            return True
        known = orjson.loads(stored)
        if identity_of(known) != identity_of(self.device_keys):
            raise MatrixError(ErrCode.INVALID_PARAM, "The device has other identity keys already; log in anew")
        return bool(known != self.device_keys)

    def _counts(self, standing: KeyStanding, fresh: Mapping[KeyName, bytes]) -> Mapping[str, int]:
        """How many keys there are with the new ones. Raises MatrixError(INVALID_PARAM) if those are too many."""
        after = {algorithm: queue.last - queue.claimed for algorithm, queue in standing.queues.items()}
        for algorithm, _ in fresh:
            after[algorithm] = after.get(algorithm, 0) + 1
        if len(after) > self.limits.algorithms or len(self.fallback) > self.limits.algorithms:
            raise MatrixError(
                ErrCode.INVALID_PARAM, f"A device has keys of at most {self.limits.algorithms} algorithms"
            )
        if any(count > self.limits.one_time_keys for count in after.values()):
            raise MatrixError(ErrCode.INVALID_PARAM, f"A device has at most {self.limits.one_time_keys} one-time keys")
        return {algorithm: count for algorithm, count in after.items() if count}

    async def write(self, _tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Tell those who share rooms with the user, and the device's other requests."""
        entries: list[LogEntry] = []
        if self._is_new:
            entries.append(DeviceListEntry(first, self.device[0]))
        if self._counted:
            entries.append(KeyCountsEntry(first + len(entries), frozenset({self.device})))
        return entries


@dataclass(slots=True)
class _Claim:
    """The change of one `/keys/claim`: from each device a key of one algorithm."""

    wanted: Mapping[DeviceName, str]
    keys: dict[DeviceName, tuple[KeyName, bytes]] = field(default_factory=dict, init=False)
    _devices: frozenset[DeviceName] = field(default=frozenset(), init=False)

    async def prepare(self, tx: Transaction) -> int:
        """Take the keys, and fallback keys where there are none."""
        self.keys = await tx.keys.claim(list(self.wanted.items()))
        without = [(device, algorithm) for device, algorithm in self.wanted.items() if device not in self.keys]
        if without:
            self.keys.update(await tx.keys.claim_fallback(without))
        self._devices = frozenset(self.keys)
        return bool(self._devices)

    async def write(self, _tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Tell the devices, so that they upload new keys."""
        return [KeyCountsEntry(first, self._devices)] if self._devices else []


class Keys:
    """Owns the keys of devices."""

    def __init__(
        self, store: Store, committer: Committer, server_name: str, limits: KeyLimits, *, show_device_names: bool
    ) -> None:
        self._store = store
        self._committer = committer
        self._server_name = server_name
        self._limits = limits
        self._show_device_names = show_device_names

    async def upload(
        self,
        device: DeviceName,
        device_keys: Mapping[str, Any] | None,
        one_time_keys: Mapping[str, Any],
        fallback_keys: Mapping[str, Any],
    ) -> Mapping[str, int]:
        """Store keys of a device; returns how many one-time keys it has now, by algorithm.

        Raises MatrixError: BAD_JSON, INVALID_PARAM for keys that are somebody else's, that have another value than
        under the same id before, or that are too many.  spec: client-server-api#post_matrixclientv3keysupload
        """
        user_id, device_id = device
        most = self._limits.one_time_keys
        if len(one_time_keys) > most or len(fallback_keys) > self._limits.algorithms:
            raise MatrixError(ErrCode.INVALID_PARAM, f"A device has at most {most} one-time keys")
        checked = None if device_keys is None else check_device_keys(user_id, device_id, device_keys)
        upload = _Upload(
            device,
            self._limits,
            checked,
            check_one_time_keys(user_id, one_time_keys, "one_time_keys"),
            check_one_time_keys(user_id, fallback_keys, "fallback_keys"),
        )
        try:
            await self._committer.commit(upload)
        except UniqueViolation:
            # The same upload came over another process at once: what it stored is there now.
            await self._committer.commit(upload)
        return with_usual(upload.counts)

    async def query(self, reader: str, wanted: Mapping[str, Collection[str]]) -> dict[str, Any]:
        """The keys of users by user id; `wanted` names devices, or none for all of a user's.

        Raises MatrixError(INVALID_PARAM).  spec: client-server-api#post_matrixclientv3keysquery
        """
        if len(wanted) > self._limits.users_in_query:
            raise MatrixError(ErrCode.INVALID_PARAM, f"Ask for at most {self._limits.users_in_query} users at once")
        local = [user_id for user_id in wanted if is_user_of(user_id, self._server_name)]
        async with self._store.read_committed() as tx:
            published = await tx.keys.published(local, reader)
        cross_signing = published.cross_signing
        signatures = _by_target(published.signatures)
        found: dict[str, dict[str, Any]] = {user_id: {} for user_id in local}
        for user_id, device_id, stored, display_name in published.devices:
            named = wanted[user_id]
            if named and device_id not in named:
                continue
            json = stored
            if signatures and (more := signatures.get((user_id, device_id))):
                json = orjson.dumps(with_signatures(orjson.loads(json), more))
            if display_name is not None and self._show_device_names:
                # Most of an answer is objects as they were stored: spliced, not parsed.
                name = orjson.dumps(display_name)
                json = b'%b,"unsigned":{"device_display_name":%b}}' % (json[:-1], name)
            found[user_id][device_id] = orjson.Fragment(json)
        answer: dict[str, Any] = {
            "device_keys": found,
            "failures": self._failures(wanted, found),
            "master_keys": {},
            "self_signing_keys": {},
            "user_signing_keys": {},
        }
        for user_id, by_usage in cross_signing.items():
            if (master := by_usage.get(MASTER)) is not None:
                content = orjson.loads(master)
                theirs = signatures.get((user_id, public_key_of(content)), ())
                answer["master_keys"][user_id] = with_signatures(content, theirs)
            if (self_signing := by_usage.get(SELF_SIGNING)) is not None:
                answer["self_signing_keys"][user_id] = orjson.Fragment(self_signing)
            if user_id == reader and (user_signing := by_usage.get(USER_SIGNING)) is not None:
                answer["user_signing_keys"][user_id] = orjson.Fragment(user_signing)
        return answer

    async def claim(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        """A key of the named algorithm from each device: `wanted[user][device] = algorithm`.

        Raises MatrixError(INVALID_PARAM).  spec: client-server-api#post_matrixclientv3keysclaim
        """
        if sum(map(len, wanted.values())) > self._limits.devices_in_claim:
            raise MatrixError(ErrCode.INVALID_PARAM, f"Claim at most {self._limits.devices_in_claim} keys at once")
        devices: dict[DeviceName, str] = {}
        local: set[str] = set()
        for user_id, by_device in wanted.items():
            if is_user_of(user_id, self._server_name):
                local.add(user_id)
                for device_id, algorithm in by_device.items():
                    devices[user_id, device_id] = algorithm
        found: dict[str, dict[str, Any]] = {}
        if devices:
            claim = _Claim(devices)
            await self._committer.commit(claim)
            for (user_id, device_id), ((algorithm, key_id), json) in claim.keys.items():
                key = {f"{algorithm}:{key_id}": orjson.Fragment(json)}
                found.setdefault(user_id, {})[device_id] = key
        return {"one_time_keys": found, "failures": self._failures(wanted, local)}

    def _failures(self, users: Collection[str], asked: Collection[str]) -> dict[str, Any]:
        """The servers of users who were not asked: this one does not federate yet."""
        if len(users) == len(asked):
            return {}
        servers = {str(domain_of(user_id)) for user_id in users if user_id not in asked} - {self._server_name}
        return {server: {"errcode": ErrCode.UNKNOWN, "error": "This server was not reached"} for server in servers}


def _by_target(signatures: Sequence[KeySignature]) -> dict[tuple[str, str], list[tuple[str, str, str]]]:
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for one in signatures:
        found.setdefault((one.target_user, one.target_key), []).append((one.signer_user, one.signer_key, one.signature))
    return found
