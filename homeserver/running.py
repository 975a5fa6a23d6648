"""What a running server leaves in its data folder, so that other commands know how it was started.

Flags and environment of `hromada run` are seen by no other process. No secret is written.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from homeserver.config.keyfiles import create_private
from homeserver.config.model import Config

_FILE = "running.json"


def note(config: Config, listen: str) -> Path:
    """Say how this process serves; `listen` is where it really does. Returns the file, to be removed at the end."""
    settings = {
        "server.name": config.server.name,
        "server.listen": listen,
        "registration.mode": config.registration.mode,
        "rate_limits.enabled": "on" if config.rate_limits.enabled else "off",
    }
    file = Path(config.server.data_dir) / _FILE
    with suppress(OSError):  # a note is no reason not to serve
        file.unlink(missing_ok=True)
        create_private(file, json.dumps({"pid": os.getpid(), "settings": settings}).encode())
    return file


def settings(data_dir: Path) -> dict[str, str]:
    """The settings of the server that runs on this data folder; nothing if none does."""
    try:
        noted = json.loads((data_dir / _FILE).read_bytes())
        os.kill(int(noted["pid"]), 0)
        return {str(name): str(value) for name, value in noted["settings"].items()}
    except PermissionError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
