"""Seeing to a bridge: what it would send, scans with their progress, pausing, what went wrong. Most of it beside a
bridge that runs: the state file is shared for small changes, and a running bridge does the scans itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bridges.capture import Capture
from bridges.config import Config, ConfigError
from bridges.mapper import Event, Mapper
from bridges.sources import SourceUnavailable
from bridges.sources.opening import open_source
from bridges.state import State, StateInUse
from bridges.webhooks.outgoing import notes_of
from bridges.webhooks.outgoing import troubles as unsent

_WATCH_S = 0.5
_LINE_EVERY_S = 5.0
_START_PATIENCE_S = 30.0


def write(text: str) -> None:
    """A line of output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def chosen(config: Config, options: argparse.Namespace) -> list[str]:
    """The mappings that a command is about. Raises ConfigError."""
    names = list(options.mapping or config.mapping)
    if unknown := [name for name in names if name not in config.mapping]:
        raise ConfigError([f"there is no mapping.{name}" for name in unknown])
    return names


class Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar = sys.stderr.isatty()
        self._last = 0.0
        self._began = time.monotonic()
        self._first: int | None = None

    def show(self, name: str, scan: Mapping[str, Any]) -> None:
        """How far a scan is."""
        done, total = scan["done"], max(scan["total"], scan["done"], 1)
        self._first = done if self._first is None else self._first
        rate = (done - self._first) / max(time.monotonic() - self._began, 0.001)
        text = f"{name}: {done:,} of {total:,} rows, {scan['told']:,} told, {rate:,.0f}/s"
        if self._bar:
            filled = 30 * done // total
            sys.stderr.write(f"\r\x1b[K[{'#' * filled}{'.' * (30 - filled)}] {100 * done // total:3} % {text}")
            sys.stderr.flush()
        elif time.monotonic() - self._last > _LINE_EVERY_S:
            self._last = time.monotonic()
            sys.stderr.write(text + "\n")

    def end(self) -> None:
        """Leave the bar."""
        if self._bar:
            sys.stderr.write("\r\x1b[K")


# ---- plan ----


def plan(config: Config, options: argparse.Namespace) -> int:
    """Show what rows would make, as if they were new. Nothing is sent or stored."""
    return asyncio.run(_plan(config, chosen(config, options), options.limit))


async def _plan(config: Config, names: list[str], limit: int) -> int:
    failed = 0
    for name in names:
        source, mapper = open_source(config, config.mapping[name].source), Mapper(config, name)
        try:
            rows = await source.scan(name, None, limit)
        except SourceUnavailable as error:
            write(f"mapping.{name}: {error}")
            failed += 1
            continue
        finally:
            await source.close()
        for row in rows:
            if row.row is None or not config.mapping[name].predicate.holds(row.row):
                write(f"mapping.{name} {json.dumps(list(row.key))}: not mapped, by its filter")
                continue
            made, room = mapper.deliveries(Event("plan", None, row.row), None)
            write(f"mapping.{name} {json.dumps(list(row.key))}: {f'#{room.alias} {room.name!r}' if room else ''}")
            for delivery in made:
                if delivery.kind == "failed":
                    failed += 1
                    write(f"    FAIL {delivery.content['error']}")
                elif delivery.kind == "m.room.message":
                    write(f"    {delivery.sender}: {delivery.content['body']}")
    return 1 if failed else 0


# ---- scans ----


def scan(config: Config, options: argparse.Namespace) -> int:
    """Backfill or reconcile, with progress."""
    names = chosen(config, options)
    due = {"backfill_due": "1"} if options.kind == "backfill" else {"reconcile_due": "0"}
    if options.kind == "backfill" and (off := [n for n in names if config.mapping[n].backfill.mode == "none"]):
        write(f"mapping.{', '.join(off)}: backfill.mode is none, so nothing would be told")
        return 1
    try:
        state = State(config.state)
    except StateInUse:
        state = State(config.state, shared=True)
        try:
            return max([_watch(state, name, options.kind, due) for name in names])
        finally:
            state.close()
    try:
        return max([asyncio.run(_scan(config, state, name, options.kind, due)) for name in names])
    finally:
        state.close()


def _watch(state: State, name: str, kind: str, due: dict[str, str]) -> int:
    """Ask the bridge that runs, and look on."""
    before = state.progress(name).get("last_scan")
    state.note(name, **due)
    progress, began = Progress(), time.monotonic()
    while True:
        notes = state.progress(name)
        if "paused" in notes:
            write(f"mapping.{name} is paused: {notes['paused']}")
            return 1
        if "scan" in notes:
            progress.show(name, json.loads(notes["scan"]))
        elif notes.get("last_scan") != before and json.loads(notes["last_scan"])["kind"] == kind:
            progress.end()
            write(_summary(name, notes["last_scan"]))
            return 0
        elif time.monotonic() - began > _START_PATIENCE_S:
            write(
                f"mapping.{name}: the bridge did not begin; it will when the database answers and the queue is shorter"
            )
            return 1
        time.sleep(_WATCH_S)


async def _scan(config: Config, state: State, name: str, kind: str, due: dict[str, str]) -> int:
    source, progress = open_source(config, config.mapping[name].source), Progress()
    state.note(name, **due)
    before = state.progress(name).get("last_scan")
    capture = Capture(config, name, state, source, lambda: None)
    try:
        while (notes := state.progress(name)).get("last_scan") == before or _other(notes, kind):
            if state.waiting() >= config.appservice.max_queue:
                progress.end()
                write(
                    f"mapping.{name}: {state.waiting():,} deliveries wait; `hromada bridges run` sends them and goes on"
                )
                return 0
            if "paused" in notes:
                write(f"mapping.{name} is paused: {notes['paused']}")
                return 1
            await capture.step()
            with suppress(KeyError):
                progress.show(name, json.loads(state.progress(name)["scan"]))
    except SourceUnavailable as error:
        progress.end()
        write(f"mapping.{name}: {error}")
        return 1
    finally:
        await source.close()
    progress.end()
    write(_summary(name, state.progress(name)["last_scan"]))
    return 0


def _other(notes: Mapping[str, str], kind: str) -> bool:
    """Whether something else was scanned, or still is."""
    return "scan" in notes or json.loads(notes["last_scan"])["kind"] != kind


def _summary(name: str, text: str) -> str:
    scan = json.loads(text)
    what = "differed and are told" if scan["kind"] == "reconcile" else "are told"
    return f"mapping.{name}: {scan['done']:,} rows looked at in {scan['took']} s, {scan['told']:,} {what}"


# ---- small changes ----


def pause(config: Config, options: argparse.Namespace) -> int:
    """Stop reading a mapping's database, while what is read already is still sent; or stop telling an endpoint."""
    return _each(config, options, "paused", f"by the command line: {options.reason}")


def resume(config: Config, options: argparse.Namespace) -> int:
    """Go on."""
    return _each(config, options, "resumed", None)


def _each(config: Config, options: argparse.Namespace, word: str, reason: str | None) -> int:
    """Mappings or endpoints by name; of none, all mappings. What a site has ended begins anew by its name only."""
    if unknown := [name for name in options.endpoint or () if name not in config.endpoint]:
        raise ConfigError([f"there is no endpoint.{name}" for name in unknown])
    names = [] if options.endpoint and not options.mapping else chosen(config, options)
    state = State(config.state, shared=True)
    try:
        for name in names:
            state.note(name, paused=reason)
            write(f"mapping.{name}: {word}")
        for name in options.endpoint or ():
            state.note(notes_of(name), paused=reason)
            write(f"endpoint.{name}: {word}")
    finally:
        state.close()
    return 0


def status(config: Config, _options: argparse.Namespace) -> int:
    """Say how each mapping is, and what waits."""
    state = State(config.state, shared=True)
    try:
        troubles = state.troubles()
        for name in config.mapping:
            notes = state.progress(name)
            words = [f"paused ({notes['paused']})" if "paused" in notes else "following" if notes else "not begun"]
            if "scan" in notes:
                scan = json.loads(notes["scan"])
                words.append(f"{scan['kind']} at {scan['done']:,} of {scan['total']:,} rows")
            mine = [row for row in troubles if row[2] == name]
            words += [f"{len(mine)} dead or parked"] if mine else []
            write(f"mapping.{name}: {', '.join(words)}")
        for name in config.endpoint:
            reason = state.progress(notes_of(name)).get("paused")
            write(f"endpoint.{name}: {'following' if reason is None else f'paused ({reason})'}")
        write(f"{state.waiting():,} deliveries wait")
    finally:
        state.close()
    return 0


def dead(config: Config, options: argparse.Namespace) -> int:
    """List, retry or drop what could not be delivered."""
    state = State(config.state, shared=True)
    try:
        if options.retry is not None or options.drop is not None:
            found = state.retry(options.retry) if options.retry is not None else state.drop(options.drop)
            write("Done" if found else "There is no such delivery, or it cannot be tried again")
            return 0 if found else 1
        for row in state.troubles():
            write("\t".join(str(value) for value in row))
        for number, endpoint, error in unsent(state):
            write(f"{number}\tunsent\tendpoint.{endpoint}\t{error}")
        return 0
    finally:
        state.close()
