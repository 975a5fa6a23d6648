"""Hashes, ids and ed25519 signatures of JSON objects and events.

Owns unpadded base64, too. Does not know where keys come from (the key ring does) nor which servers must have signed
(receipt does). Whatever is wrong with a signature is BadSignature, never an exception of the library below.
spec: appendices#signing-json, server-server-api#signing-events
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import nacl.exceptions
import nacl.signing

from homeserver.core import canonical
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.redact import redact
from homeserver.core.versions import EventIdForm, RoomVersion

_SIGNATURE_BYTES = 64
_URLSAFE_TO_STANDARD = str.maketrans("-_+/", "+/!!")
_STANDARD_TO_URLSAFE = str.maketrans("+/", "-_")


class BadSignature(MatrixError):
    """A signature that is missing, malformed or wrong. As an answer to a request it is 401 M_UNAUTHORIZED."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrCode.UNAUTHORIZED, message)


class SigningKey:
    """An ed25519 key of this server: its id (`ed25519:…`) and the seed it is derived from."""

    __slots__ = ("_key", "key_id", "public_bytes", "seed")

    def __init__(self, key_id: str, seed: bytes) -> None:
        """`seed` is 32 secret bytes. Raises ValueError for another length or algorithm."""
        if not key_id.startswith("ed25519:") or len(key_id) == len("ed25519:"):
            raise ValueError(f"{key_id!r} is not an ed25519 key id")
        self._key = nacl.signing.SigningKey(seed)
        self.key_id = key_id
        self.seed = seed
        self.public_bytes = bytes(self._key.verify_key)

    def sign(self, message: bytes) -> str:
        """The signature of `message` in unpadded base64."""
        return encode_base64(self._key.sign(message)[:_SIGNATURE_BYTES])

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id}>"  # never the seed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningKey) and (other.key_id, other.seed) == (self.key_id, self.seed)

    def __hash__(self) -> int:
        return hash((self.key_id, self.public_bytes))


def encode_base64(data: bytes, *, urlsafe: bool = False) -> str:
    """Unpadded base64 of `data`.  spec: appendices#unpadded-base64"""
    text = binascii.b2a_base64(data, newline=False).rstrip(b"=").decode()
    return text.translate(_STANDARD_TO_URLSAFE) if urlsafe else text


def decode_base64(text: str, *, urlsafe: bool = False) -> bytes:
    """The bytes of base64 `text`, padded or not, in exactly one of the two alphabets.

    Raises MatrixError(INVALID_PARAM) for anything else: white space, foreign characters, wrong length or padding.
    spec: appendices#unpadded-base64
    """
    if isinstance(text, str) and text.isascii():
        bare = text[:-2] if text.endswith("==") else text.removesuffix("=")
        padded = bare + "=" * (-len(bare) % 4)
        if text in (bare, padded):
            try:
                standard = padded.translate(_URLSAFE_TO_STANDARD) if urlsafe else padded
                return binascii.a2b_base64(standard, strict_mode=True)
            except binascii.Error:
                pass
    raise MatrixError(ErrCode.INVALID_PARAM, "Not valid unpadded base64")


def sign_json(obj: Mapping[str, Any], server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of `obj` that also carries the signature of `server_name`; other signatures and `unsigned` stay.

    spec: appendices#signing-details
    """
    return with_signature(obj, server_name, key.key_id, key.sign(_signed_bytes(obj)))


def with_signature(obj: Mapping[str, Any], server_name: str, key_id: str, signature: str) -> dict[str, Any]:
    """A copy of `obj` with one more signature under `signatures`."""
    signatures = dict(obj.get("signatures", {}))
    signatures[server_name] = {**signatures.get(server_name, {}), key_id: signature}
    return {**obj, "signatures": signatures}


def verify_json(obj: Mapping[str, Any], server_name: str, key_id: str, public_key: bytes) -> None:
    """Check that `server_name` signed `obj` with the key.

    Raises BadSignature if not, whatever the reason.  spec: appendices#checking-for-a-signature
    """
    signature = _signature_of(obj, server_name, key_id)
    try:
        message = _signed_bytes(obj)
    except MatrixError as error:
        raise BadSignature(error.message) from error
    verify_bytes(message, signature, public_key)


def verify_bytes(message: bytes, signature: str, public_key: bytes) -> None:
    """Check one base64 signature of `message`. Raises BadSignature if it is not valid."""
    try:
        decoded = decode_base64(signature)
        if len(decoded) != _SIGNATURE_BYTES:
            raise BadSignature("The signature has the wrong length")
        nacl.signing.VerifyKey(public_key).verify(message, decoded)
    except BadSignature:
        raise
    except (MatrixError, nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise BadSignature("The signature is not valid") from error


def content_hash(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """SHA-256 over the whole event.  spec: server-server-api#calculating-the-content-hash-for-an-event"""
    covered = {key: value for key, value in pdu.items() if key not in ("unsigned", "signatures", "hashes")}
    return sha256(encode_for(covered, version)).digest()


def content_hash_matches(pdu: Mapping[str, Any], version: RoomVersion) -> bool:
    """Whether `hashes.sha256` is the content hash; anything malformed is no match."""
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    try:
        return isinstance(claimed, str) and decode_base64(claimed) == content_hash(pdu, version)
    except MatrixError:
        return False


def essential_bytes(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """What signatures and the reference hash of an event cover: the redacted form without `signatures`.

    spec: server-server-api#calculating-the-reference-hash-for-an-event
    """
    essential = redact(pdu, version)
    essential.pop("signatures", None)
    return encode_for(essential, version)


def reference_hash(pdu: Mapping[str, Any], version: RoomVersion) -> bytes:
    """SHA-256 over the essential fields.  spec: server-server-api#calculating-the-reference-hash-for-an-event"""
    return sha256(essential_bytes(pdu, version)).digest()


def event_id_of(pdu: Mapping[str, Any], version: RoomVersion) -> str:
    """The event id of `pdu`: its own field in v1 and v2, the reference hash since.  spec: rooms/v4#event-ids"""
    if version.event_id is EventIdForm.GIVEN:
        return str(pdu["event_id"])
    return event_id_of_bytes(essential_bytes(pdu, version), version)


def event_id_of_bytes(essential: bytes, version: RoomVersion) -> str:
    """The event id for the `essential_bytes` of an event of room version 3 or later."""
    return "$" + encode_base64(sha256(essential).digest(), urlsafe=version.event_id is EventIdForm.URLSAFE_HASH)


def sign_event(pdu: Mapping[str, Any], version: RoomVersion, server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of a complete, hashed `pdu` that also carries the signature of `server_name`.

    For countersigning (invites, restricted joins); `core.build` makes new events.
    """
    return with_signature(pdu, server_name, key.key_id, key.sign(essential_bytes(pdu, version)))


def verify_event(
    pdu: Mapping[str, Any], version: RoomVersion, server_name: str, key_id: str, public_key: bytes
) -> None:
    """Check that `server_name` signed the event with the key. Raises BadSignature if not, whatever the reason.

    spec: server-server-api#validating-hashes-and-signatures-on-received-events
    """
    signature = _signature_of(pdu, server_name, key_id)
    try:
        message = essential_bytes(pdu, version)
    except MatrixError as error:
        raise BadSignature(error.message) from error
    verify_bytes(message, signature, public_key)


def encode_for(value: Any, version: RoomVersion) -> bytes:
    """Canonical JSON as the room version defines it.  spec: rooms/v6#canonical-json"""
    return canonical.encode(value) if version.strict_canonical_json else canonical.encode_lenient(value)


def _signature_of(obj: Mapping[str, Any], server_name: str, key_id: str) -> str:
    signatures = obj.get("signatures")
    by_server = signatures.get(server_name) if isinstance(signatures, dict) else None
    signature = by_server.get(key_id) if isinstance(by_server, dict) else None
    if not key_id.startswith("ed25519:"):
        raise BadSignature(f"{key_id} is not an ed25519 key")
    if not isinstance(signature, str):
        raise BadSignature(f"No signature of {server_name} with {key_id}")
    return signature


def _signed_bytes(obj: Mapping[str, Any]) -> bytes:
    return canonical.encode({key: value for key, value in obj.items() if key not in ("signatures", "unsigned")})
