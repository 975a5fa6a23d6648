"""Synapse: installed from PyPI into an environment of its own, configured as it configures itself.

What differs from its generated configuration: the listener (clients only, loopback), the database, rate limits off,
open registration, large uploads. The generated logging, caches and everything else stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.databases import Postgres, Sqlite

VERSION = "1.163.2"
PACKAGES = (f"matrix-synapse=={VERSION}", "psycopg2-binary")
UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}
PREPARING_BCRYPT_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """What every measured server is told."""

    host: str
    port: int
    server_name: str
    shared_secret: str
    appservices: tuple[str, ...] = ()
    """Registration files of application services."""


def is_installed() -> bool:
    """Whether `install` has nothing to do."""
    return (_folder() / "installed").exists()


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hromada-bench" / f"synapse-{VERSION}"


def install() -> Path:
    """The interpreter of the environment with Synapse, made on first use.  Raises CalledProcessError."""
    folder = _folder()
    python = folder / "bin" / "python"
    installed = folder / "installed"
    if not installed.exists():
        print(f"Installing Synapse {VERSION} for the comparison (the first time this takes a minute) ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        subprocess.run([*pip, *PACKAGES], check=True, stdout=sys.stderr)
        installed.touch()
    return python


def command(folder: Path, settings: Settings, database: Postgres | Sqlite, *, preparing: bool) -> list[str]:
    """The command line that runs Synapse in the foreground with its data in `folder`, its configuration written."""
    run = [str(install()), "-m", "synapse.app.homeserver"]
    generated = folder / "homeserver.yaml"
    if not generated.exists():
        _generate(run, folder, settings.server_name)
    # JSON is YAML; what a later file says replaces what an earlier one says.
    changes = folder / "changes.yaml"
    changes.write_text(json.dumps(_changes(settings, database, preparing=preparing), indent=2))
    return [*run, "--config-path", str(generated), "--config-path", str(changes)]


def _generate(run: list[str], folder: Path, server_name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--generate-config", "--report-stats", "no", "--server-name", server_name]
    options += ["--config-path", str(folder / "homeserver.yaml"), "--data-directory", str(folder)]
    subprocess.run([*run, *options], check=True, capture_output=True, cwd=folder)


def _changes(settings: Settings, database: Postgres | Sqlite, *, preparing: bool) -> dict[str, Any]:
    listener = {
        "port": settings.port,
        "bind_addresses": [settings.host],
        "type": "http",
        "tls": False,
        "resources": [{"names": ["client"], "compress": False}],
    }
    return {
        "listeners": [listener],
        "database": _database(database),
        "registration_shared_secret": settings.shared_secret,
        "enable_registration": True,
        "max_upload_size": "2G",
        "enable_registration_without_verification": True,
        "suppress_key_server_warning": True,
        "trusted_key_servers": [],
        "app_service_config_files": list(settings.appservices),
        **({"bcrypt_rounds": PREPARING_BCRYPT_ROUNDS} if preparing else {}),
        **_rate_limits_off(),
    }


def _database(database: Postgres | Sqlite) -> dict[str, Any]:
    if isinstance(database, Sqlite):
        return {"name": "sqlite3", "args": {"database": str(database.path)}}
    parts = database.parts
    arguments = {"user": parts.username, "database": parts.path[1:], "host": parts.hostname, "port": parts.port}
    return {"name": "psycopg2", "args": arguments | {"cp_min": 5, "cp_max": 10}}


def _rate_limits_off() -> dict[str, Any]:
    flat = ("message", "registration", "registration_token_validity", "joins_per_room", "room_creation", "profile")
    return {
        **{f"rc_{name}": UNLIMITED for name in flat},
        "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
        "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
        "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
        "rc_presence": {"per_user": UNLIMITED},
    }
