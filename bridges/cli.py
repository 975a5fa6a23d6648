"""`hromada bridges …`: run a bridge, and see to it."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from bridges import ddl, operate
from bridges.config import Config, ConfigError, load
from bridges.http import AddressInUse
from bridges.matrix import Homeserver, MatrixFailure, TryAgain
from bridges.moving import move
from bridges.operate import write
from bridges.service import serve
from bridges.sources.opening import open_sources
from bridges.state import State, StateAway, StateInUse, StateLost

_LOOK_AGAIN_S = 1.0
Command = Callable[[Config, argparse.Namespace], int]


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 for what was not possible, 2 for a wrong configuration."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(load(options.config), options)
    except ConfigError as error:
        for fault in error.faults:
            sys.stderr.write(f"hromada bridges: {fault}\n")
        return 2
    except (StateLost, OSError) as error:
        sys.stderr.write(f"hromada bridges: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hromada bridges", description="Databases as rooms.")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, command, text in (
        ("run", _run, "capture and deliver until stopped"),
        ("check", _check, "look at configuration, homeserver and databases"),
        ("doctor", _check, "the same, and rights, settings, indexes, clocks"),
        ("registration", _registration, "print the registration file for the homeserver"),
        ("sql", _sql, "print what an administrator of the database runs once"),
        ("plan", operate.plan, "show what rows would make; nothing is sent"),
        ("status", operate.status, "say how each mapping is, and what waits"),
        ("backfill", operate.scan, "give rooms to rows that were there before"),
        ("reconcile", operate.scan, "compare whole tables with what was seen"),
        ("pause", operate.pause, "stop reading a mapping's database, or telling a site"),
        ("resume", operate.resume, "go on"),
        ("move-state", move, "copy the state from a file into PostgreSQL"),
        ("dead", operate.dead, "list, retry or drop what could not be delivered"),
    ):
        action = actions.add_parser(name, help=text)
        action.set_defaults(command=command, kind=name)
        action.add_argument("config", type=Path, metavar="FILE", help="the configuration, such as bridges.toml")
        if name in ("plan", "backfill", "reconcile", "pause", "resume"):
            action.add_argument("--mapping", action="append", metavar="NAME", help="only this one; may be repeated")
        if name in ("pause", "resume"):
            action.add_argument("--endpoint", action="append", metavar="NAME", help="this site; may be repeated")
        if name == "plan":
            action.add_argument("--limit", type=int, default=20, metavar="ROWS", help="how many rows (20)")
        if name == "run":
            action.add_argument(
                "--standby", action="store_true", help="wait while another bridge uses the state, and take over from it"
            )
        if name == "move-state":
            action.add_argument("--from", dest="file", required=True, metavar="FILE", help="the SQLite file of before")
        if name == "pause":
            action.add_argument("--reason", default="-", help="what `status` says of it")
        if name == "sql":
            action.add_argument("--role", default="bridge", help="the role that the bridge logs in with")
        if name == "dead":
            which = action.add_mutually_exclusive_group()
            which.add_argument("--retry", type=int, metavar="ID")
            which.add_argument("--drop", type=int, metavar="ID")
    return parser


def _homeserver(config: Config) -> Homeserver:
    service = config.appservice
    return Homeserver(service.homeserver, service.as_token.read(), service.device_id)


def _run(config: Config, options: argparse.Namespace) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_running(config, standby=options.standby))


async def _running(config: Config, *, standby: bool) -> int:
    """Run until stopped. A state that is away is waited for; on standby, a state or address in use, too."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # An exception raised by a handler is lost where none can be raised, as in a weak reference's callback.
        loop.add_signal_handler(number, stop.set)
    waiting = ""
    began = False
    while not stop.is_set():
        try:
            state = State(config.state)
            began, waiting = True, ""
            try:
                async with _homeserver(config) as homeserver:
                    await serve(config, state, homeserver, lambda names: write(f"ready {names}"), stop)
                break
            finally:
                state.close()
        except StateInUse as error:
            if not standby:
                raise
            reason = f"standing by: {error}"
        except StateAway as error:
            if not (began or standby):
                raise
            reason = f"waiting: {error}"
        except AddressInUse as error:
            # The bridge that had the state may not have noticed yet that it lost it: it listens until it does.
            if not standby:
                raise
            reason = f"waiting: {error}"
        if reason != waiting:
            waiting = reason
            write(reason)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await stop.wait()
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed."""
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory


def _check(config: Config, options: argparse.Namespace) -> int:
    return asyncio.run(_checked(config, deep=options.kind == "doctor"))


async def _checked(config: Config, *, deep: bool) -> int:
    faults = 0

    def say(good: bool, text: str) -> None:
        nonlocal faults
        faults += not good
        write(f"{'ok  ' if good else 'FAIL'} {text}")

    async with _homeserver(config) as homeserver:
        try:
            who = await homeserver.call("GET", "/account/whoami")
            say(True, f"the homeserver knows the bridge as {who.get('user_id')}")
        except (MatrixFailure, TryAgain) as error:
            say(False, f"homeserver: {error}; is the registration file in its configuration?")
    if isinstance(config.state, str):
        try:
            State(config.state, shared=True).close()
            say(True, "the database of the state can be used")
        except StateLost as error:
            say(False, str(error))
    sources = open_sources(config)
    for name, mapping in config.mapping.items():
        for finding in await sources[mapping.source].examine(name, deep=deep):
            say(finding.good, f"mapping.{name}: {finding.text}")
    for source in sources.values():
        await source.close()
    return 1 if faults else 0


def _registration(config: Config, _options: argparse.Namespace) -> int:
    service = config.appservice
    prefix = re.escape(service.prefix)
    names = [{"exclusive": True, "regex": f"{sigil}{prefix}.*:{re.escape(service.server_name)}"} for sigil in "@#"]
    registration = {
        "id": service.id,
        "url": service.url or (f"http://{service.listen}" if service.listen else None),
        "as_token": service.as_token.read(),
        "hs_token": service.hs_token.read(),
        "sender_localpart": service.bot,
        "rate_limited": False,
        "namespaces": {"users": names[:1], "aliases": names[1:], "rooms": []},
    }
    write(json.dumps(registration, indent=2))  # JSON is YAML
    return 0


def _sql(config: Config, options: argparse.Namespace) -> int:
    for statement in ddl.statements(config, options.role):
        write(statement + "\n")
    return 0
