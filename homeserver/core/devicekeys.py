"""Identity keys of devices, one-time keys and cross-signing keys: their form, and the signatures on them.

The server never understands what the keys encrypt; it sees to it that an object is about whom it was uploaded by, and
that it stores no signature which is wrong. Pure functions of their arguments.
spec: client-server-api#device-keys, client-server-api#cross-signing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core import canonical
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.signatures import decode_base64, verify_bytes

MASTER, SELF_SIGNING, USER_SIGNING = "master", "self_signing", "user_signing"
USAGES = (MASTER, SELF_SIGNING, USER_SIGNING)

_ED25519 = "ed25519:"
_MAX_KEYS = 32  # in one object; clients send two
_MAX_SIGNATURES = 64
_MAX_BYTES = 16_384
_MAX_KEY_BYTES = 4_096  # of a one-time key; usual ones have 250


@dataclass(frozen=True, slots=True)
class CrossSigningKey:
    """A parsed cross-signing key: `public_key` is unpadded base64, `content` the object as uploaded."""

    usage: str
    public_key: str
    content: dict[str, Any]

    @property
    def key_id(self) -> str:
        """Its id in `keys` and `signatures`."""
        return _ED25519 + self.public_key


def check_device_keys(user_id: str, device_id: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The identity keys of a device without what only a server says, if they are this device's.

    Raises MatrixError(INVALID_PARAM) for keys of somebody else, BAD_JSON for any other form, INVALID_SIGNATURE unless
    the device's own ed25519 key has signed them. One-time keys are not looked at so closely: there are fifty at a time,
    and who claims one verifies it in any case.
    spec: client-server-api#post_matrixclientv3keysupload
    """
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise MatrixError(ErrCode.INVALID_PARAM, "device_keys must be those of the device that uploads them")
    algorithms = keys.get("algorithms")
    if not isinstance(algorithms, list) or not all(isinstance(name, str) for name in algorithms):
        raise MatrixError(ErrCode.BAD_JSON, "device_keys.algorithms must be a list of strings")
    identity = _texts(keys.get("keys"), "device_keys.keys", _MAX_KEYS)
    if not identity:
        raise MatrixError(ErrCode.BAD_JSON, "device_keys.keys must have the device's keys")
    for key_id in identity:
        algorithm, separator, name = key_id.partition(":")
        if not separator or not algorithm or name != device_id:
            raise MatrixError(ErrCode.INVALID_PARAM, f"device_keys.keys has {key_id!r}, which is not of this device")
    signatures = keys.get("signatures")
    if user_id not in check_signatures(signatures, "device_keys.signatures") or not keys["signatures"][user_id]:
        raise MatrixError(ErrCode.BAD_JSON, "device_keys must be signed by their device")
    content = {key: value for key, value in keys.items() if key != "unsigned"}
    # What others may have signed is none of the uploader's business.
    content["signatures"] = {user_id: keys["signatures"][user_id]}
    _check_signable(content, "device_keys", _MAX_BYTES)
    own = _ED25519 + device_id
    if own in identity:
        if own not in content["signatures"][user_id]:
            raise MatrixError(ErrCode.BAD_JSON, "device_keys must be signed by their device")
        check_signature(content, content["signatures"][user_id][own], identity[own])
    return content


def identity_of(device_keys: Mapping[str, Any]) -> Any:
    """What must not change while a device lives: its keys by their ids."""
    return device_keys.get("keys")


def check_one_time_keys(user_id: str, keys: Mapping[str, Any], what: str) -> dict[tuple[str, str], bytes]:
    """One-time or fallback keys by (algorithm, key id), in the order given, as the canonical JSON that is stored.

    Raises MatrixError(BAD_JSON, INVALID_PARAM).  spec: client-server-api#one-time-and-fallback-keys
    """
    found: dict[tuple[str, str], bytes] = {}
    for name, key in keys.items():
        algorithm, _, key_id = name.partition(":")
        if not algorithm or not key_id or len(name) > 255:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{what}: {name[:80]!r} must be <algorithm>:<key_id>")
        if not isinstance(key, str) and not _is_usual(user_id, key):
            _check_one_time_key(user_id, name, key, what)
        encoded = canonical.encode(key)
        if len(encoded) > _MAX_KEY_BYTES:
            raise _too_long(what, _MAX_KEY_BYTES)
        found[algorithm, key_id] = encoded
    return found


def _is_usual(user_id: str, key: Any) -> bool:
    """Whether it is a key with one signature of its user, as nearly all are: that is seen at a glance."""
    if type(key) is not dict or len(key) != 2 or type(key.get("key")) is not str:
        return False
    signatures = key.get("signatures")
    if type(signatures) is not dict or len(signatures) != 1:
        return False
    own = signatures.get(user_id)
    return type(own) is dict and len(own) == 1 and type(next(iter(own.values()))) is str


def _check_one_time_key(user_id: str, name: str, key: Any, what: str) -> None:
    if not isinstance(key, dict):
        raise MatrixError(ErrCode.BAD_JSON, f"{what}: {name[:80]!r} must be a string or an object")
    if not isinstance(key.get("key"), str):
        raise MatrixError(ErrCode.BAD_JSON, f"{what}: {name[:80]!r} has no key")
    signatures = key.get("signatures")
    for owner in check_signatures(signatures, f"{what}.signatures"):
        if owner != user_id:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{what}: {name[:80]!r} is signed by somebody else")
    if len(key) > 1 + (signatures is not None):  # strings are all that has been seen so far
        canonical.check_numbers(key)


def check_signatures(signatures: Any, what: str) -> list[str]:
    """The users of a `signatures` member, which may be absent. Raises MatrixError(BAD_JSON)."""
    if signatures is None:
        return []
    if not isinstance(signatures, dict) or len(signatures) > _MAX_SIGNATURES:
        raise MatrixError(ErrCode.BAD_JSON, f"{what} must be an object")
    for by_key in signatures.values():
        _texts(by_key, what, _MAX_SIGNATURES)
    return list(signatures)


def check_cross_signing_key(user_id: str, usage: str, content: Any) -> CrossSigningKey:
    """A cross-signing key of the user for one usage.

    Raises MatrixError(BAD_JSON, INVALID_PARAM).  spec: client-server-api#post_matrixclientv3keysdevice_signingupload
    """
    what = f"{usage}_key"
    if not isinstance(content, dict):
        raise MatrixError(ErrCode.BAD_JSON, f"{what} must be an object")
    if content.get("user_id") != user_id:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{what} must be the key of the user who uploads it")
    usages = content.get("usage")
    if not isinstance(usages, list) or usage not in usages:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{what} must have the usage {usage!r}")
    keys = _texts(content.get("keys"), f"{what}.keys", _MAX_KEYS)
    if len(keys) != 1:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{what}.keys must have exactly one key")
    (key_id, public_key), *_ = keys.items()
    if key_id != _ED25519 + public_key:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{what}.keys must name its key as ed25519:<the key>")
    decode_base64(public_key)
    check_signatures(content.get("signatures"), f"{what}.signatures")
    kept = {key: value for key, value in content.items() if key not in {"signatures", "unsigned"}}
    if own := signatures_of(content, user_id):
        kept["signatures"] = {user_id: own}
    _check_signable(kept, what, _MAX_BYTES)
    return CrossSigningKey(usage, public_key, kept)


def public_key_of(content: Mapping[str, Any]) -> str:
    """The public key of a stored cross-signing key."""
    keys = content["keys"]
    return str(next(iter(keys.values())))


def without_signatures(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a signature covers.  spec: appendices#signing-json"""
    return {key: value for key, value in content.items() if key not in {"signatures", "unsigned"}}


def signatures_of(content: Mapping[str, Any], user_id: str) -> dict[str, str]:
    """The signatures of one user on a checked object, by key id."""
    by_user = (content.get("signatures") or {}).get(user_id)
    return by_user if isinstance(by_user, dict) else {}


def check_signature(content: Mapping[str, Any], signature: str, public_key: str) -> None:
    """Raises MatrixError(INVALID_SIGNATURE) unless the ed25519 key has signed the object."""
    try:
        verify_bytes(canonical.encode(without_signatures(content)), signature, decode_base64(public_key))
    except MatrixError as error:
        raise MatrixError(ErrCode.INVALID_SIGNATURE, error.message) from None


def only_verified(content: Mapping[str, Any], user_id: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """The object with those of its user's signatures that are by one of `keys` (by key id), and no others.

    What cannot be verified is left out: it may be uploaded again when the key is known. Raises
    MatrixError(INVALID_SIGNATURE) for one that is wrong.
    """
    found = {key_id: text for key_id, text in signatures_of(content, user_id).items() if key_id in keys}
    for key_id, signature in found.items():
        check_signature(content, signature, keys[key_id])
    bare = {key: value for key, value in content.items() if key != "signatures"}
    return {**bare, "signatures": {user_id: found}} if found else bare


def with_signatures(content: dict[str, Any], more: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """The object with further signatures (user id, key id, signature) beside its own."""
    signatures = {user_id: dict(by_key) for user_id, by_key in (content.get("signatures") or {}).items()}
    for user_id, key_id, signature in more:
        signatures.setdefault(user_id, {})[key_id] = signature
    return {**content, "signatures": signatures} if signatures else content


def _check_signable(content: Mapping[str, Any], what: str, most: int) -> None:
    """Refuse what is too long, and what canonical JSON cannot say: nobody could verify a signature on it.

    spec: appendices#canonical-json
    """
    canonical.check_numbers(content)
    if len(canonical.encode(content)) > most:
        raise _too_long(what, most)


def _too_long(what: str, most: int) -> MatrixError:
    return MatrixError(ErrCode.INVALID_PARAM, f"{what} has at most {most} bytes")


def _texts(value: Any, what: str, most: int) -> dict[str, str]:
    if not isinstance(value, dict):
        raise MatrixError(ErrCode.BAD_JSON, f"{what} must be an object of strings")
    for item in value.values():
        if not isinstance(item, str):
            raise MatrixError(ErrCode.BAD_JSON, f"{what} must be an object of strings")
    if len(value) > most:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{what} has more than {most} entries")
    return value
