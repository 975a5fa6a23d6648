"""The keys of encryption at rest."""

from __future__ import annotations

from homeserver.boot import parts
from homeserver.config.keyfiles import UnsafeFile, create_private, new_at_rest_key, parse_at_rest_keys, read_private
from homeserver.config.model import Config
from homeserver.storage.sealing import Sealing
from homeserver.system import SystemEntropy


def at_rest_keys(config: Config) -> list[tuple[str, bytes]]:
    """The keys of encryption at rest by their ids, the current one first. Makes the file if it is wanted.

    Raises UnsafeFile.
    """
    settings = config.at_rest
    if settings.keys:
        return parse_at_rest_keys(settings.keys, "at_rest.keys")
    path = parts.data_path(config, settings.key_file)
    if not path.exists():
        if not settings.enabled:
            return []
        create_private(path, new_at_rest_key(SystemEntropy()).encode() + b"\n")
    text = read_private(path, "at_rest.key_file").decode("ascii", "replace")
    return parse_at_rest_keys(text, f"at_rest.key_file: {path}")


def sealing_of(config: Config) -> Sealing:
    """How the database stores what people write. Raises UnsafeFile."""
    return Sealing(at_rest_keys(config), enabled=config.at_rest.enabled)


def rotate_at_rest_key(config: Config) -> str:
    """Put a new key before those in the file; its id. Raises UnsafeFile."""
    keys = at_rest_keys(config)
    path = parts.data_path(config, config.at_rest.key_file)
    if config.at_rest.keys or not keys:
        raise UnsafeFile("at_rest.key_file: there is no file with keys: put a new key before those in at_rest.keys")
    line = new_at_rest_key(SystemEntropy())
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    create_private(new, f"{line}\n".encode() + path.read_bytes())
    new.replace(path)
    return line.partition(":")[0]
