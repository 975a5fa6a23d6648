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
from pathlib import Path

from bridges.capture import Capture
from bridges.config import Config, ConfigError, load
from bridges.deliver import Sender
from bridges.matrix import Homeserver, MatrixFailure, TryAgain
from bridges.sources.postgres import PostgresOutbox, SourceUnavailable, outbox_sql
from bridges.state import State, StateInUse


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 for what was not possible, 2 for a wrong configuration."""
    options = _parser().parse_args(arguments)
    command: Callable[[Config, argparse.Namespace], int] = options.command
    try:
        return command(load(options.config), options)
    except ConfigError as error:
        for fault in error.faults:
            sys.stderr.write(f"hromada bridges: {fault}\n")
        return 2
    except StateInUse as error:
        sys.stderr.write(f"hromada bridges: {error}; stop it first\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hromada bridges", description="Databases as rooms.")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, command, text in (
        ("run", _run, "capture and deliver until stopped"),
        ("check", _check, "look at configuration, homeserver and databases"),
        ("registration", _registration, "print the registration file for the homeserver"),
        ("sql", _sql, "print what an administrator of the database runs once"),
        ("dead", _dead, "list, retry or drop what could not be delivered"),
    ):
        action = actions.add_parser(name, help=text)
        action.set_defaults(command=command)
        action.add_argument("config", type=Path, metavar="FILE", help="the configuration, such as bridges.toml")
        if name == "sql":
            action.add_argument("--role", default="bridge", help="the role that the bridge logs in with")
        if name == "dead":
            which = action.add_mutually_exclusive_group()
            which.add_argument("--retry", type=int, metavar="ID")
            which.add_argument("--drop", type=int, metavar="ID")
    return parser


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _state(config: Config) -> State:
    return State(Path(config.folder) / config.appservice.state)


def _homeserver(config: Config) -> Homeserver:
    service = config.appservice
    return Homeserver(service.homeserver, service.as_token.read(), service.device_id)


def _run(config: Config, _options: argparse.Namespace) -> int:
    state = _state(config)
    try:
        asyncio.run(_serve(config, state))
    finally:
        state.close()
    return 0


async def _serve(config: Config, state: State) -> None:
    async with _homeserver(config) as homeserver:
        sender = Sender(config.appservice, state, homeserver)
        captures = [Capture(config, name, state, sender.wake) for name in config.mapping]
        tasks = [asyncio.create_task(sender.run()), *(asyncio.create_task(capture.run()) for capture in captures)]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])
        _write(f"ready {', '.join(config.mapping)}")
        with suppress(asyncio.CancelledError):
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


def _check(config: Config, _options: argparse.Namespace) -> int:
    return asyncio.run(_checked(config))


async def _checked(config: Config) -> int:
    faults = 0

    def say(good: bool, text: str) -> None:
        nonlocal faults
        faults += not good
        _write(f"{'ok  ' if good else 'FAIL'} {text}")

    async with _homeserver(config) as homeserver:
        try:
            who = await homeserver.call("GET", "/account/whoami")
            say(True, f"the homeserver knows the bridge as {who.get('user_id')}")
        except (MatrixFailure, TryAgain) as error:
            say(False, f"homeserver: {error}; is the registration file in its configuration?")
    for name, mapping in config.mapping.items():
        outbox = PostgresOutbox(config, name)
        try:
            columns = await outbox.columns(mapping.table)
            missing = sorted(set(mapping.columns) - columns)
            say(bool(columns), f"mapping.{name}: table {mapping.table}{'' if columns else ' is not there'}")
            if columns:
                say(not missing, f"mapping.{name}: columns {', '.join(missing) + ' are missing' if missing else ''}")
            there = bool(await outbox.columns(mapping.capture.table))
            say(there, f"mapping.{name}: outbox {mapping.capture.table}{'' if there else ' is not there: see `sql`'}")
        except SourceUnavailable as error:
            say(False, f"mapping.{name}: {error}")
        finally:
            await outbox.close()
    return 1 if faults else 0


def _registration(config: Config, _options: argparse.Namespace) -> int:
    service = config.appservice
    prefix = re.escape(service.prefix)
    names = [{"exclusive": True, "regex": f"{sigil}{prefix}.*:{re.escape(service.server_name)}"} for sigil in "@#"]
    registration = {
        "id": service.id,
        "url": None,
        "as_token": service.as_token.read(),
        "hs_token": service.hs_token.read(),
        "sender_localpart": service.bot,
        "rate_limited": False,
        "namespaces": {"users": names[:1], "aliases": names[1:], "rooms": []},
    }
    _write(json.dumps(registration, indent=2))  # JSON is YAML
    return 0


def _sql(config: Config, options: argparse.Namespace) -> int:
    for name, mapping in config.mapping.items():
        _write(outbox_sql(name, mapping, options.role))
    return 0


def _dead(config: Config, options: argparse.Namespace) -> int:
    state = _state(config)
    try:
        if options.retry is not None or options.drop is not None:
            found = state.retry(options.retry) if options.retry is not None else state.drop(options.drop)
            _write("Done" if found else "There is no such delivery")
            return 0 if found else 1
        for row in state.troubles():
            _write("\t".join(str(value) for value in row))
        return 0
    finally:
        state.close()
