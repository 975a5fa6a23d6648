"""The command `hromada`. Parses arguments and calls what does the work; status 2 means wrong configuration."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import homeserver
from homeserver import boot, logs
from homeserver.config import docs
from homeserver.config.keyfiles import UnsafeFile, create_private
from homeserver.config.load import ConfigError, load
from homeserver.config.model import Config
from homeserver.roles import PACKAGES, ROLES
from homeserver.serve import listen, serve
from homeserver.services.accounts.tokens import BadKeyFile
from homeserver.storage.engine import UnsafeDatabase
from homeserver.storage.migrations import SchemaTooNew
from homeserver.system import SystemEntropy

_CONFIG_FILE = "hromada.toml"

_SHARED_SECRET = "registration.shared_secret"

# The flags that scripts and test harnesses rely on, and the settings they set.
_FLAGS = {
    "--data-dir": ("server.data_dir", "DIR"),
    "--server-name": ("server.name", "NAME"),
    "--listen": ("server.listen", "HOST:PORT"),
    "--database-url": ("database.url", "URL"),
    "--redis-url": ("redis.url", "URL"),
    "--registration": ("registration.mode", "open|token|closed"),
    "--registration-shared-secret": ("registration.shared_secret", "SECRET"),
    "--rate-limits": ("rate_limits.enabled", "on|off"),
    "--log-level": ("logging.level", "LEVEL"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        return _fail(error.faults)
    except UnsafeFile as error:
        return _fail([str(error)])
    except BadKeyFile as error:
        return _fail([f"server.jwt_key_file: {error}"])
    except (UnsafeDatabase, SchemaTooNew) as error:
        return _fail([f"database.url: {error}"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hromada", description="A Matrix homeserver.")
    parser.add_argument("--version", action="version", version=f"hromada {homeserver.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = _with_settings(commands.add_parser("run", help="serve"), _run)
    run.add_argument("--role", action="append", choices=ROLES, help="run this role only (may be repeated)")
    _with_settings(commands.add_parser("init", help="write configuration and keys, and end"), _init)
    _with_settings(commands.add_parser("doctor", help="check configuration and keys"), _doctor)
    commands.add_parser("config-doc", help="print every setting as Markdown").set_defaults(command=_config_doc)
    commands.add_parser("routes", help="print every route").set_defaults(command=_routes)
    return parser


def _with_settings(
    parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser.set_defaults(command=command)
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default: {_CONFIG_FILE} in the data folder")
    for flag, (setting, metavar) in _FLAGS.items():
        parser.add_argument(flag, dest=setting, metavar=metavar, help=f"the setting {setting}")
    return parser


# --- commands ---


def _run(options: argparse.Namespace) -> int:
    # Databases and media hold people's messages: nobody else on this machine reads them.
    os.umask(0o077)
    config = _first_run_config(options)
    logs.configure(config.logging.level, config.logging.format)
    try:
        listener = listen(config.server.listen)
    except OSError as error:
        return _fail([f"server.listen: {config.server.listen}: {error.strerror}"])

    async def run() -> None:
        server = await boot.build(config, options.role or ROLES)
        await serve(server, listener, lambda url: _print(f"ready {url}"))

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())
    return 0


def _init(options: argparse.Namespace) -> int:
    config = _first_run_config(options)
    boot.load_secrets(config)
    _print(f"Configuration and keys of {config.server.name} are in {config.server.data_dir}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    config = _config(options)
    boot.load_secrets(config)
    _print("Configuration and keys are in order")
    return 0


def _config_doc(_options: argparse.Namespace) -> int:
    _print(docs.markdown())
    return 0


def _routes(_options: argparse.Namespace) -> int:
    for package in PACKAGES.values():
        routes = import_module(package.replace(".role", ".routes")).ROUTES
        for route in routes:
            _print(f"{route.method:7}{route.path}  {route.handler.__module__}.{route.handler.__name__}")
    return 0


# --- configuration ---


def _flags(options: argparse.Namespace) -> dict[str, str]:
    given: dict[str, Any] = vars(options)
    flags = {setting: given[setting] for setting, _ in _FLAGS.values() if given[setting] is not None}
    if flags.get(_SHARED_SECRET) == "":
        # In a script this is a variable that was never set; leaving the flag out says "none" without doubt.
        raise ConfigError([f"{_SHARED_SECRET}: is empty"])
    return flags


def _config(options: argparse.Namespace) -> Config:
    """The configuration of an existing server."""
    flags = _flags(options)
    file: Path = options.config or _default_file(flags)
    return load(file if options.config or file.exists() else None, os.environ, flags)


def _default_file(flags: dict[str, str]) -> Path:
    folder = flags.get("server.data_dir") or os.environ.get("HROMADA_SERVER_DATA_DIR") or "data"
    return Path(folder) / _CONFIG_FILE


def _first_run_config(options: argparse.Namespace) -> Config:
    """As `_config`; where there is no file yet, one with the server's name and a fresh secret is written."""
    config = _config(options)
    file = _default_file(_flags(options))
    if options.config is None and not file.exists():
        secret = SystemEntropy().token(32)
        text = (
            "# Every setting is explained by `hromada config-doc`.\n\n"
            f'[server]\nname = "{config.server.name}"\n\n'
            f'[registration]\nshared_secret = "{secret}"\n'
        )
        create_private(file, text.encode())
        config = _config(options)
    return config


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed."""
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _fail(faults: Sequence[str]) -> int:
    for fault in faults:
        sys.stderr.write(f"hromada: {fault}\n")
    return 2
