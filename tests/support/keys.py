"""Device keys, one-time keys and cross-signing keys that are signed as clients sign them."""

from __future__ import annotations

from typing import Any

from homeserver.core import canonical
from homeserver.core.signatures import SigningKey, encode_base64


def signing_key(seed: str) -> SigningKey:
    """An ed25519 key made of a text."""
    return SigningKey("ed25519:x", seed.encode().ljust(32, b"\0")[:32])


def public(key: SigningKey) -> str:
    return encode_base64(key.public_bytes)


def signed(content: dict[str, Any], user_id: str, key_id: str, key: SigningKey) -> dict[str, Any]:
    """The object with one more signature."""
    covered = {name: value for name, value in content.items() if name not in {"signatures", "unsigned"}}
    signatures = {user: dict(by_key) for user, by_key in content.get("signatures", {}).items()}
    signatures.setdefault(user_id, {})[key_id] = key.sign(canonical.encode(covered))
    return {**content, "signatures": signatures}


def device_keys(user_id: str, device_id: str, seed: str | None = None) -> dict[str, Any]:
    """Identity keys of a device, signed by itself."""
    key = signing_key(seed or user_id + device_id)
    content = {
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{device_id}": public(key), f"curve25519:{device_id}": public(signing_key("c" + device_id))},
    }
    return signed(content, user_id, f"ed25519:{device_id}", key)


def one_time_keys(user_id: str, device_id: str, *names: str, fallback: bool = False) -> dict[str, Any]:
    """Signed one-time keys by `signed_curve25519:<name>`."""
    key = signing_key(user_id + device_id)
    found = {}
    for name in names:
        content: dict[str, Any] = {"key": public(signing_key(f"{device_id}{name}"))}
        if fallback:
            content["fallback"] = True
        found[f"signed_curve25519:{name}"] = signed(content, user_id, f"ed25519:{device_id}", key)
    return found


class CrossSigningKeys:
    """The three cross-signing keys of a user."""

    def __init__(self, user_id: str, seed: str = "") -> None:
        self.user_id = user_id
        self.master, self.self_signing, self.user_signing = (
            signing_key(f"{seed}{usage}{user_id}") for usage in ("m", "s", "u")
        )

    def body(self) -> dict[str, Any]:
        """The body of `/keys/device_signing/upload`."""
        return {
            "master_key": self._key("master", self.master),
            "self_signing_key": self._signed("self_signing", self.self_signing),
            "user_signing_key": self._signed("user_signing", self.user_signing),
        }

    def _key(self, usage: str, key: SigningKey) -> dict[str, Any]:
        keys = {f"ed25519:{public(key)}": public(key)}
        return {"user_id": self.user_id, "usage": [usage], "keys": keys}

    def _signed(self, usage: str, key: SigningKey) -> dict[str, Any]:
        return signed(self._key(usage, key), self.user_id, f"ed25519:{public(self.master)}", self.master)
