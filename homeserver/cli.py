"""The command `hromada`. Parses arguments and calls what does the work.

Exit status 1 says that something was not possible, 2 that arguments or configuration are wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from getpass import GetPassWarning, getpass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import homeserver
from homeserver import boot, commands, faults, logs, running
from homeserver.config import docs
from homeserver.config.keyfiles import UnsafeFile, create_private
from homeserver.config.load import ConfigError, load
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.atrest import KeysMissing
from homeserver.ports.store import StoreBroken
from homeserver.roles import PACKAGES, ROLES
from homeserver.serve import listen, serve, url_of
from homeserver.services.accounts.tokens import BadKeyFile
from homeserver.storage.engine import UnsafeDatabase
from homeserver.storage.migrations import UnknownSchema
from homeserver.system import SystemEntropy, return_unused_memory
from homeserver.terminal import write, write_error, write_row
from homeserver.web.stack import UnknownStack

_CONFIG_FILE = "hromada.toml"

_MARKS = ("is_admin", "is_guest", "locked", "suspended", "deactivated")
_MOST = 1_000_000
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
    except UnknownStack as error:
        return _fail([str(error)], status=1)
    except BadKeyFile as error:
        return _fail([f"server.jwt_key_file: {error}"])
    except KeysMissing as error:
        return _fail([str(error)])
    except (UnsafeDatabase, UnknownSchema) as error:
        return _fail([f"database.url: {error}"])
    except StoreBroken as error:
        return _fail([f"the database could not be kept on its disk: {error}; see to the disk, then start again"], 1)
    except boot.DatabaseUnreachable as error:
        return _fail([f"database.url: {error}"], status=1)
    except faults.BadFaults as error:
        return _fail([str(error)])
    except MatrixError as error:
        return _fail([error.message], status=1)


class _LaterParser(argparse.ArgumentParser):
    """A command whose arguments are made when it is chosen: `run` should not wait for those of all the others."""

    fill: Callable[[argparse.ArgumentParser], object] | None = None

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def] # the parent has overloads
        """As the parent's."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill(self)
        return super().parse_known_args(args, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hromada", description="A Matrix homeserver.")
    parser.add_argument("--version", action="version", version=f"hromada {homeserver.__version__}")
    actions = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_LaterParser)

    def group(name: str, fill: Callable[[Any], object], help_: str) -> None:
        later: _LaterParser = actions.add_parser(name, help=help_)
        later.fill = lambda chosen: fill(chosen.add_subparsers(required=True, metavar="ACTION"))

    run = _with_settings(actions.add_parser("run", help="serve"), _run)
    run.add_argument("--role", action="append", choices=ROLES, help="run this role only (may be repeated)")
    _with_settings(actions.add_parser("init", help="write configuration and keys, and end"), _init)
    checkup = _with_settings(actions.add_parser("doctor", help="examine configuration, files and database"), _doctor)
    checkup.add_argument("--thorough", action="store_true", help="read the whole of an SQLite database, too")
    actions.add_parser("config-doc", help="print every setting as Markdown").set_defaults(command=_config_doc)
    actions.add_parser("routes", help="print every route").set_defaults(command=_routes)
    group("user", _add_user_actions, "accounts")
    group("registration-token", _add_token_actions, "tokens that let people register")
    group("report", _add_report_actions, "what users reported")
    group("database", _add_database_actions, "the database itself")
    group("search", _add_search_actions, "the index of messages")
    group("media", _add_media_actions, "images, videos and files")
    group("site", _add_site_actions, "support chats on other websites")
    bridges = actions.add_parser(
        "bridges", help="databases as rooms", add_help=False, prefix_chars="\0"
    )  # none is ours
    bridges.add_argument("arguments", nargs=argparse.REMAINDER)
    bridges.set_defaults(command=_bridges)
    return parser


def _add_report_actions(actions: Any) -> None:
    listing = _with_settings(actions.add_parser("list", help="print the newest reports"), _report_list)
    listing.add_argument("--limit", type=_positive, metavar="N", default=100, help="how many; default: 100")


def _add_database_actions(actions: Any) -> None:
    from homeserver.cli_database import add_database_actions  # noqa: PLC0415 - as below

    add_database_actions(actions, _with_settings, _config)


def _add_search_actions(actions: Any) -> None:
    from homeserver.cli_search import add_search_actions  # noqa: PLC0415 - as below

    add_search_actions(actions, _with_settings, _config)


def _add_media_actions(actions: Any) -> None:
    from homeserver.cli_media import add_media_actions  # noqa: PLC0415 - a server starts without its commands

    add_media_actions(actions, _with_settings, _config)


def _add_site_actions(actions: Any) -> None:
    from homeserver.cli_site import add_site_actions  # noqa: PLC0415 - as above

    add_site_actions(actions, _with_settings, _config)


def _add_user_actions(actions: Any) -> None:
    add = _with_settings(actions.add_parser("add", help="make an account, in any registration mode"), _user_add)
    add.add_argument("--admin", action="store_true", help="a server administrator")
    reset = _with_settings(actions.add_parser("reset-password", help="give an account a new one"), _user_reset)
    for action in (add, reset):
        action.add_argument("name", metavar="NAME", help="localpart, as in @NAME:server")
        source = action.add_mutually_exclusive_group()
        source.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        source.add_argument("--generate-password", action="store_true", help="make one up and print it")
    deactivate = _with_settings(actions.add_parser("deactivate", help="end an account for good"), _user_deactivate)
    deactivate.add_argument("--erase", action="store_true", help="its owner asks to be forgotten")
    lock = _with_settings(actions.add_parser("lock", help="refuse everything an account asks"), _user_lock)
    unlock = _with_settings(actions.add_parser("unlock", help="lift a lock"), _user_unlock)
    for action in (deactivate, lock, unlock):
        action.add_argument("name", metavar="NAME", help="localpart, as in @NAME:server")
    _with_settings(actions.add_parser("list", help="print all accounts"), _user_list)


def _add_token_actions(actions: Any) -> None:
    add = _with_settings(actions.add_parser("add", help="make a token and print it"), _token_add)
    add.add_argument("token", metavar="TOKEN", nargs="?", help="default: a random one")
    add.add_argument("--uses-allowed", type=_positive, metavar="N", help="accounts it makes; default: any number")
    add.add_argument("--valid-days", type=_positive, metavar="N", help="default: for ever")
    _with_settings(actions.add_parser("list", help="print all tokens, their uses and ends"), _token_list)
    delete = _with_settings(actions.add_parser("delete", help="delete a token"), _token_delete)
    delete.add_argument("token", metavar="TOKEN")


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"must be from 1 to {_MOST:,}")
    return number


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
    _raise_file_limit()
    return_unused_memory()
    config = _first_run_config(options)
    logs.configure(config.logging.level, config.logging.format)
    faults.switch_on(os.environ)
    try:
        listener = listen(config.server.listen)
    except OSError as error:
        return _fail([f"server.listen: {config.server.listen}: {error.strerror}"])

    async def run() -> None:
        server = await boot.build(config, options.role or ROLES)
        # Answers hold thousands of objects for a moment: looking through them at every 700th costs a sync a tenth.
        gc.set_threshold(10_000, 10, 10)
        gc.freeze()  # as in `__main__`: what has been built stays, and no later collection looks at it
        await serve(server, listener, lambda url: write(f"ready {url}"))

    note = running.note(config, url_of(listener).removeprefix("http://"))
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())
    finally:
        note.unlink(missing_ok=True)
    return 0


def _init(options: argparse.Namespace) -> int:
    config = _first_run_config(options)
    boot.load_secrets(config)
    write(f"Configuration and keys of {config.server.name} are in {config.server.data_dir}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from homeserver import doctor  # noqa: PLC0415 - no other command has to wait for what it imports

    config, file = _running_config(options)

    async def examine() -> bool:
        found = doctor.examine(config, file if file.exists() else None, thorough=options.thorough)
        healthy = True
        async for finding in found:
            write(str(finding))
            healthy = healthy and finding.verdict != "FAIL"
        return healthy

    return 0 if asyncio.run(examine()) else 1


def _bridges(options: argparse.Namespace) -> int:
    """The bridge is a program of its own, in this distribution; it uses nothing of the server."""
    if find_spec("aiohttp") is None:
        return _fail(["bridges need more packages: pip install 'hromada[bridges]'"], status=1)
    os.umask(0o077)
    status: int = import_module("bridges.cli").main(options.arguments)
    return status


def _config_doc(_options: argparse.Namespace) -> int:
    write(docs.markdown())
    return 0


def _routes(_options: argparse.Namespace) -> int:
    for package in PACKAGES.values():
        routes = import_module(package.replace(".role", ".routes")).ROUTES
        for route in routes:
            write(f"{route.method:7}{route.path}  {route.handler.__module__}.{route.handler.__name__}")
    return 0


def _user_add(options: argparse.Namespace) -> int:
    os.umask(0o077)
    config, password = _first_run_config(options), _password(options)
    user_id = asyncio.run(commands.add_user(config, options.name, password, admin=options.admin))
    write(f"Made {'the administrator ' if options.admin else ''}{user_id}")
    return 0


def _user_reset(options: argparse.Namespace) -> int:
    config, password = _config(options), _password(options)
    user_id = asyncio.run(commands.reset_password(config, options.name, password))
    write(f"{user_id} has a new password and is logged out everywhere")
    return 0


def _user_deactivate(options: argparse.Namespace) -> int:
    user_id = asyncio.run(commands.deactivate(_config(options), options.name, erase=options.erase))
    write(f"Deactivated {user_id}; the server takes it out of its rooms")
    return 0


def _user_lock(options: argparse.Namespace) -> int:
    write(f"Locked {asyncio.run(commands.set_locked(_config(options), options.name, True))}")
    return 0


def _user_unlock(options: argparse.Namespace) -> int:
    write(f"Unlocked {asyncio.run(commands.set_locked(_config(options), options.name, False))}")
    return 0


def _token_add(options: argparse.Namespace) -> int:
    os.umask(0o077)
    made = commands.add_registration_token(
        _first_run_config(options), options.token, options.uses_allowed, options.valid_days
    )
    write(asyncio.run(made))
    return 0


def _token_list(options: argparse.Namespace) -> int:
    for token in asyncio.run(commands.list_registration_tokens(_config(options))):
        allowed = "any" if token.uses_allowed is None else token.uses_allowed
        end = "" if token.expires_ms is None else f"\tuntil {_utc(token.expires_ms)}"
        write(f"{token.token}\tused {token.completed} of {allowed}{end}")
    return 0


def _token_delete(options: argparse.Namespace) -> int:
    asyncio.run(commands.delete_registration_token(_config(options), options.token))
    write(f"Deleted {options.token}")
    return 0


def _utc(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="minutes")


def _user_list(options: argparse.Namespace) -> int:
    async def print_all() -> None:
        async for user in commands.list_users(config):
            marks = [mark for mark in _MARKS if getattr(user, mark)]
            write_row([user.user_id, *(mark.removeprefix("is_") for mark in marks)])

    config = _config(options)
    asyncio.run(print_all())
    return 0


def _report_list(options: argparse.Namespace) -> int:
    """A report a line: time, reporter, user, room, event, and the reason as JSON, which keeps it on its line."""
    for report in asyncio.run(commands.newest_reports(_config(options), options.limit)):
        about = [known or "-" for known in (report.user_id, report.room_id, report.event_id)]
        reason = json.dumps(report.reason, ensure_ascii=False)
        write_row([_utc(report.ts), report.reporter, *about, reason])
    return 0


def _password(options: argparse.Namespace) -> str:
    """The password from where the options say; asked for twice by default. Raises MatrixError."""
    if options.generate_password:
        password = SystemEntropy().token(12)
        write(f"Password: {password}")
        return password
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)  # it would be shown while it is typed
            password = getpass("Password: ")
            again = getpass("Again: ")
    except (EOFError, OSError, GetPassWarning):
        raise MatrixError(
            ErrCode.INVALID_PARAM,
            "There is no terminal to ask for the password: use --password-stdin or --generate-password",
        ) from None
    if again != password:
        raise MatrixError(ErrCode.INVALID_PARAM, "The passwords differ")
    return password


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


def _running_config(options: argparse.Namespace) -> tuple[Config, Path]:
    """The configuration that the server runs with, if it does, and its file; what the options say goes before."""
    flags = _flags(options)
    file: Path = options.config or _default_file(flags)
    data_dir = Path(_config(options).server.data_dir)
    return load(file if file.exists() else options.config, os.environ, {**running.settings(data_dir), **flags}), file


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


def _raise_file_limit() -> None:
    """Every connection is an open file, and the usual soft limit of 1,024 is for programs that use select()."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed."""
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory


def _fail(faults: Sequence[str], status: int = 2) -> int:
    for fault in faults:
        write_error(f"hromada: {fault}")
    return status
