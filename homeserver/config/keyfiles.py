"""Files that hold secrets: made with mode 0600, refused when others may read them.

The signing key's file is one line, `ed25519:a_XXXX SEED` with the seed in unpadded base64.
spec: server-server-api#publishing-keys
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from homeserver.core.signatures import SigningKey, decode_base64, encode_base64
from homeserver.ports.clock import Entropy

_SEED_BYTES = 32


class UnsafeFile(Exception):
    """A secret file that is missing, damaged or open to others. The message names the setting, never the content."""


def create_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read. Raises FileExistsError, UnsafeFile if its folder forbids it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnsafeFile(f"server.data_dir: {path.parent}: {error.strerror}") from None
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except PermissionError as error:
        raise UnsafeFile(f"server.data_dir: {path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_private(path: Path, setting: str) -> bytes:
    """The content of a secret file. Raises UnsafeFile naming `setting`."""
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise UnsafeFile(f"{setting}: {path}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise UnsafeFile(f"{setting}: {path} is open to other users; run: chmod 600 {path}")
    if not content.strip():
        raise UnsafeFile(f"{setting}: {path} is empty")
    return content


def new_at_rest_key(entropy: Entropy) -> str:
    """A line of the file of keys for encryption at rest: an id and 32 bytes."""
    return f"{entropy.letters(8).lower()}:{encode_base64(decode_base64(entropy.token(32), urlsafe=True))}"


def parse_at_rest_keys(text: str, setting: str) -> list[tuple[str, bytes]]:
    """Ids and keys, the current one first. Raises UnsafeFile naming `setting`, never a key."""
    keys: list[tuple[str, bytes]] = []
    for number, word in enumerate(text.split(), start=1):
        kid, _, encoded = word.partition(":")
        try:
            key = decode_base64(encoded)
        except ValueError:
            key = b""
        if re.fullmatch("[a-z0-9]{1,32}", kid) is None or len(key) != 32 or len(set(key)) < 8:
            raise UnsafeFile(f"{setting}: key {number} is not `ID:BASE64` with 32 random bytes")
        keys.append((kid, key))
    if len({kid for kid, _ in keys}) != len(keys):
        raise UnsafeFile(f"{setting}: two keys have the same id")
    return keys


def new_signing_key(entropy: Entropy) -> SigningKey:
    """A fresh key with a random id."""
    return SigningKey(f"ed25519:a_{entropy.letters(4)}", decode_base64(entropy.token(_SEED_BYTES), urlsafe=True))


def dump_signing_key(key: SigningKey) -> bytes:
    """The content of the key's file."""
    return f"{key.key_id} {encode_base64(key.seed)}\n".encode()


def load_signing_key(path: Path, setting: str = "server.signing_key_file") -> SigningKey:
    """The signing key in a file. Raises UnsafeFile."""
    content = read_private(path, setting)
    try:
        key_id, seed = content.decode("ascii").split()
        key = SigningKey(key_id, decode_base64(seed))
    except ValueError:
        raise UnsafeFile(f"{setting}: {path} is not a signing key") from None
    if len(set(key.seed)) < 8:
        # 32 random bytes with fewer than 8 different values do not happen: somebody typed this key.
        raise UnsafeFile(f"{setting}: {path} holds a key that can be guessed")
    return key
