"""Cross-signing keys of users, and signatures on keys that come after the keys themselves.

Whatever signature is stored here has been verified. Who sees which: those by a key's owner everybody, those that a user
made on other users' keys only that user.  spec: client-server-api#cross-signing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from homeserver.core import canonical
from homeserver.core.devicekeys import (
    MASTER,
    SELF_SIGNING,
    USAGES,
    USER_SIGNING,
    CrossSigningKey,
    check_cross_signing_key,
    check_signature,
    check_signatures,
    only_verified,
    public_key_of,
    signatures_of,
    without_signatures,
)
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.e2e import DeviceKeys, DeviceName, KeySignature
from homeserver.ports.log import DeviceListEntry, LogEntry
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store, Transaction
from homeserver.services.accounts.interactive import Interactive, Operation, Proof
from homeserver.services.accounts.stages import PASSWORD
from homeserver.services.commit import Committer

_MOST_SIGNED = 1_000  # objects in one upload; clients send one or a few


@dataclass(slots=True)
class _UploadKeys:
    """The change of one `/keys/device_signing/upload`."""

    user_id: str
    keys: Mapping[str, CrossSigningKey]
    proof: Proof | None
    free: bool = False
    """Whether this user replaces keys without a proof."""
    new: list[CrossSigningKey] = field(default_factory=list, init=False)

    async def prepare(self, tx: Transaction) -> int:
        """Check against what is stored now. Raises MatrixError."""
        await tx.users.lock(self.user_id)
        stored = (await tx.keys.cross_signing_keys([self.user_id])).get(self.user_id, {})
        self.new = new_keys(self.keys, stored)
        if self.proof is None and not self.free and needs_authentication(self.new, stored):
            raise MatrixError(ErrCode.FORBIDDEN, "The keys have changed meanwhile; try again")
        _check_signed_by_master(self.user_id, self.keys, stored)
        taken = {device.device_id for device in await tx.devices.of_user(self.user_id)}
        if any(key.public_key in taken for key in self.keys.values()):
            raise MatrixError(ErrCode.FORBIDDEN, "A key must not have the name of one of your devices")
        if self.proof is not None:
            await self.proof.claim(tx)
        for key in self.new:
            await tx.keys.put_cross_signing_key(self.user_id, key.usage, canonical.encode(key.content))
        return 1 if self.new else 0

    async def write(self, _tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Tell those who share rooms with the user."""
        return [DeviceListEntry(first, self.user_id)] if self.new else []


@dataclass(slots=True)
class _Sign:
    """The change that stores verified signatures."""

    signatures: Sequence[KeySignature]

    @property
    def _changes(self) -> list[tuple[str, str | None]]:
        """Whose keys look different from now on, and to whom: to all, or to the signer only."""
        return list(
            dict.fromkeys(
                (one.target_user, None if one.target_user == one.signer_user else one.signer_user)
                for one in self.signatures
            )
        )

    async def prepare(self, tx: Transaction) -> int:
        """Store them."""
        await tx.keys.put_signatures(self.signatures)
        return len(self._changes)

    async def write(self, _tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Tell whoever sees them."""
        return [DeviceListEntry(first + index, *change) for index, change in enumerate(self._changes)]


class CrossSigning:
    """Owns cross-signing keys and signatures."""

    def __init__(self, store: Store, committer: Committer, interactive: Interactive) -> None:
        self._store = store
        self._committer = committer
        self._interactive = interactive

    async def upload(self, who: Requester, body: Mapping[str, Any]) -> None:
        """Set the user's cross-signing keys, members `master_key`, `self_signing_key`, `user_signing_key` of `body`.

        Needs interactive authentication unless the user has no master key yet or sends what is there already.
        Raises MatrixError: BAD_JSON, INVALID_PARAM, MISSING_PARAM without a master key, INVALID_SIGNATURE, FORBIDDEN;
        AuthenticationRequired.  spec: client-server-api#post_matrixclientv3keysdevice_signingupload
        """
        keys = {
            usage: check_cross_signing_key(who.user_id, usage, content)
            for usage in USAGES
            if (content := body.get(f"{usage}_key")) is not None
        }
        if len({key.public_key for key in keys.values()}) != len(keys):
            raise MatrixError(ErrCode.INVALID_PARAM, "Each cross-signing key must be another one")
        async with self._store.read() as tx:
            stored = (await tx.keys.cross_signing_keys([who.user_id])).get(who.user_id, {})
            devices = _keys_of_devices(await tx.keys.device_keys([who.user_id]))
        _check_signed_by_master(who.user_id, keys, stored)
        known = {**devices, **{key.key_id: key.public_key for key in keys.values() if key.usage == MASTER}}
        if MASTER not in keys:
            known.update(_by_id(orjson.loads(stored[MASTER])))
        keys = {
            usage: replace(key, content=only_verified(key.content, who.user_id, known)) for usage, key in keys.items()
        }
        proof = None
        # A visitor of a support chat has no password: the session that its site's frame has opened is all there is.
        asked = who.appservice is None and who.site_id is None
        if asked and needs_authentication(new_keys(keys, stored), stored):
            operation = Operation("uploadCrossSigningKeys", who.user_id, body)
            proof = await self._interactive.authenticate(operation, [self._interactive.flow(PASSWORD)])
        await self._committer.commit(_UploadKeys(who.user_id, keys, proof, free=not asked))

    async def sign(self, signer: str, body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Store the signer's signatures on keys: `body[user][device or key] = the signed object`.

        Returns failures by user and key; what is right is stored all the same. Raises MatrixError(BAD_JSON,
        INVALID_PARAM).
        spec: client-server-api#post_matrixclientv3keyssignaturesupload
        """
        if not all(isinstance(by_key, dict) for by_key in body.values()):
            raise MatrixError(ErrCode.BAD_JSON, "The signed keys must be objects by user and key")
        if sum(map(len, body.values())) > _MOST_SIGNED:
            raise MatrixError(ErrCode.INVALID_PARAM, f"Sign at most {_MOST_SIGNED} keys at once")
        async with self._store.read() as tx:
            known = await _Known.load(tx, signer, list(body))
        failures: dict[str, dict[str, Any]] = {}
        signatures: list[KeySignature] = []
        for user_id, by_key in body.items():
            for key, signed in by_key.items():
                try:
                    signatures.extend(known.verified(signer, user_id, key, signed))
                except MatrixError as error:
                    failures.setdefault(user_id, {})[key] = error.body()
        if signatures:
            await self._committer.commit(_Sign(signatures))
        return failures


@dataclass(slots=True)
class _Known:
    """What is stored of the keys that somebody signs, and of the signer's own."""

    cross_signing: dict[str, dict[str, dict[str, Any]]]  # by user and usage
    devices: dict[tuple[str, str], dict[str, Any]]  # of the signer: with them master keys are signed

    @classmethod
    async def load(cls, tx: Transaction, signer: str, users: list[str]) -> _Known:
        stored = await tx.keys.cross_signing_keys({*users, signer})
        devices = await tx.keys.device_keys([signer])
        return cls(
            {user: {usage: orjson.loads(json) for usage, json in keys.items()} for user, keys in stored.items()},
            {(keys.user_id, keys.device_id): orjson.loads(keys.json) for keys in devices},
        )

    def verified(self, signer: str, user_id: str, key: str, signed: Any) -> list[KeySignature]:
        """The signatures by `signer` on a key. Raises MatrixError if there are none, or any of them is not right."""
        if not isinstance(signed, dict):
            raise MatrixError(ErrCode.BAD_JSON, "The signed key must be an object")
        check_signatures(signed.get("signatures"), "signatures")
        stored, signing_keys = self._target(signer, user_id, key)
        if without_signatures(signed) != without_signatures(stored):
            raise MatrixError(ErrCode.INVALID_PARAM, "The object is not the key that is stored here")
        found = signatures_of(signed, signer)
        mine = {key_id: signature for key_id, signature in found.items() if key_id in signing_keys}
        if not mine:
            raise MatrixError(ErrCode.INVALID_SIGNATURE, "There is no signature by a key that may sign this one")
        for key_id, signature in mine.items():
            check_signature(stored, signature, signing_keys[key_id])
        return [KeySignature(user_id, key, signer, key_id, signature) for key_id, signature in mine.items()]

    def _target(self, signer: str, user_id: str, key: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The key to be signed, and the public keys that may do so by their ids."""
        by_usage = self.cross_signing.get(user_id, {})
        mine = self.cross_signing.get(signer, {})
        master = by_usage.get(MASTER)
        if user_id != signer:
            if master is None or public_key_of(master) != key:
                raise MatrixError(ErrCode.NOT_FOUND, "The user has no such master key")
            return master, _by_id(mine.get(USER_SIGNING))
        if (device := self.devices.get((user_id, key))) is not None:
            return device, _by_id(mine.get(SELF_SIGNING))
        if master is None or public_key_of(master) != key:
            raise MatrixError(ErrCode.NOT_FOUND, "You have no such device or master key")
        by_id = {f"ed25519:{device_id}": device for (_, device_id), device in self.devices.items()}
        return master, {
            key_id: keys[key_id]
            for key_id, device in by_id.items()
            if isinstance(keys := device.get("keys"), dict) and key_id in keys
        }


async def only_verified_device_keys(tx: Transaction, device: DeviceName, keys: Mapping[str, Any]) -> Mapping[str, Any]:
    """Checked keys of a device with its own signature and that of the user's self-signing key, verified.

    Raises MatrixError(INVALID_SIGNATURE).
    """
    user_id, device_id = device
    own = f"ed25519:{device_id}"
    if signatures_of(keys, user_id).keys() <= {own}:
        return keys  # as nearly all come, and `check_device_keys` has verified it
    stored = (await tx.keys.cross_signing_keys([user_id])).get(user_id, {})
    known = {key_id: key for key_id, key in keys["keys"].items() if key_id == own}
    if SELF_SIGNING in stored:
        known.update(_by_id(orjson.loads(stored[SELF_SIGNING])))
    return only_verified(keys, user_id, known)


def _keys_of_devices(devices: Sequence[DeviceKeys]) -> dict[str, str]:
    """The keys with which devices sign, by their ids."""
    found: dict[str, str] = {}
    for device in devices:
        key_id = f"ed25519:{device.device_id}"
        keys = orjson.loads(device.json)["keys"]
        if key_id in keys:
            found[key_id] = keys[key_id]
    return found


def _by_id(content: dict[str, Any] | None) -> dict[str, str]:
    return {} if content is None else {f"ed25519:{public_key_of(content)}": public_key_of(content)}


def new_keys(keys: Mapping[str, CrossSigningKey], stored: Mapping[str, bytes]) -> list[CrossSigningKey]:
    """Those of the keys that are not stored already. Other signatures make no other key."""
    return [
        key
        for usage, key in keys.items()
        if usage not in stored or public_key_of(orjson.loads(stored[usage])) != key.public_key
    ]


def needs_authentication(new: Sequence[CrossSigningKey], stored: Mapping[str, bytes]) -> bool:
    """Whether storing these needs the user's password: only the first upload does not."""
    return bool(new) and MASTER in stored


def _check_signed_by_master(user_id: str, keys: Mapping[str, CrossSigningKey], stored: Mapping[str, bytes]) -> None:
    """Raises MatrixError: MISSING_PARAM without any master key, INVALID_SIGNATURE for a key that it did not sign."""
    if MASTER in keys:
        master = keys[MASTER].public_key
    elif MASTER in stored:
        master = public_key_of(orjson.loads(stored[MASTER]))
    else:
        raise MatrixError(ErrCode.MISSING_PARAM, "There is no master key")
    for usage, key in keys.items():
        if usage == MASTER:
            continue
        signature = signatures_of(key.content, user_id).get(f"ed25519:{master}")
        if signature is None:
            raise MatrixError(ErrCode.INVALID_SIGNATURE, f"{usage}_key is not signed by the master key")
        check_signature(key.content, signature, master)
