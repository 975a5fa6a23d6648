"""Examines a server's configuration, files and database, and says what an operator should know or repair.

Changes nothing, so that it can be asked at any time, beside a running server too.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.request import urlopen

import homeserver
from homeserver.boot import parts
from homeserver.boot.identity import examine_providers
from homeserver.config.keyfiles import UnsafeFile, load_signing_key, read_private
from homeserver.config.load import ConfigError
from homeserver.config.model import Config
from homeserver.ports.store import StoreUnavailable
from homeserver.services.accounts.tokens import BadKeyFile, load_keys
from homeserver.storage.engine import Engine, UnsafeDatabase, check_durability, create_engine, sqlite_path
from homeserver.storage.inspection import DatabaseFacts, inspect
from homeserver.web import stack

Verdict = Literal["ok", "info", "warn", "FAIL"]

_MIB = 1 << 20
_LITTLE_SPACE = 1024 * _MIB
_NO_SPACE = 100 * _MIB
_CLOCKS_APART_MS = 5_000
_BUILT_AFTER_MS = 1_735_689_600_000  # 2025: no clock that is right says less
_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.verdict:5}{self.subject:18}{self.text}"


async def examine(config: Config, config_file: Path | None, *, thorough: bool) -> AsyncIterator[Finding]:
    """Everything there is to say, as it is found; `thorough` also reads the whole of an SQLite database."""
    yield Finding("info", "version", f"hromada {homeserver.__version__}, Python {platform.python_version()}")
    for finding in (
        _stack(),
        *_configuration(config, config_file),
        *_folder(config),
        *_keys(config),
        _clock(),
        _running(config),
    ):
        yield finding
    async for finding in _login_providers(config):
        yield finding
    engine = create_engine(parts.database_url(config), parts.engine_settings(config))
    if engine.is_sqlite and not (file := sqlite_path(engine.url)).exists():  # looking at it would make it
        yield Finding("info", "database", f"{file} does not exist yet; the first start makes it")
        return
    try:
        async for finding in _database(engine, config, thorough):
            yield finding
    except (StoreUnavailable, engine.errors) as error:
        yield Finding("FAIL", "database", str(error))
    finally:
        await engine.dispose()


def _stack() -> Finding:
    found = list(stack.faults())
    return Finding("FAIL", "http server", "; ".join(found)) if found else Finding("ok", "http server", "as tested")


def _configuration(config: Config, file: Path | None) -> Iterator[Finding]:
    source = str(file) if file is not None else "defaults and environment"
    yield Finding("ok", "configuration", f"{source}: {config.server.name} on {config.server.listen}")
    host = config.server.listen.rpartition(":")[0].strip("[]")
    if config.registration.mode == "open" and host not in ("localhost", "::1") and not host.startswith("127."):
        yield Finding("warn", "registration", "open to everybody who can reach the server")
    else:
        yield Finding("ok", "registration", config.registration.mode)
    if not config.rate_limits.enabled:
        yield Finding("warn", "rate limits", "off: passwords can be guessed as fast as the server answers")
    if file is not None and _is_open(file):
        yield Finding("warn", "configuration", f"{file} is open to other users and may hold secrets: chmod 600 {file}")


def _folder(config: Config) -> Iterator[Finding]:
    folder = Path(config.server.data_dir)
    if not folder.is_dir():
        yield Finding("info", "data folder", f"{folder} does not exist yet; the first start makes it")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("FAIL", "data folder", f"{folder} cannot be written by user {os.getuid()}")
    else:
        yield Finding("ok", "data folder", f"{folder.resolve()} is writable")
    free = shutil.disk_usage(folder).free
    verdict: Verdict = "FAIL" if free < _NO_SPACE else "warn" if free < _LITTLE_SPACE else "ok"
    yield Finding(verdict, "disk space", f"{_size(free)} free")
    exposed = sorted(path.name for path in folder.iterdir() if path.is_file() and _is_open(path))
    if exposed:
        yield Finding("warn", "file permissions", f"open to other users: {', '.join(exposed)}")
    else:
        yield Finding("ok", "file permissions", "nobody else on this machine reads the data")


def _keys(config: Config) -> Iterator[Finding]:
    signing = parts.data_path(config, config.server.signing_key_file)
    tokens = parts.data_path(config, config.server.jwt_key_file)
    if not signing.exists() and not tokens.exists():
        yield Finding("info", "keys", "none yet; the first start makes them")
        return
    try:
        yield Finding("ok", "signing key", f"{load_signing_key(signing).key_id} in {signing.name}")
        keys = load_keys(read_private(tokens, "server.jwt_key_file"))
        yield Finding("ok", "token keys", f"{len(keys)} in {tokens.name}")
    except UnsafeFile as error:
        yield Finding("FAIL", "keys", str(error))
    except BadKeyFile as error:
        yield Finding("FAIL", "keys", f"server.jwt_key_file: {error}")


def _clock() -> Finding:
    now_ms = time.time_ns() // 1_000_000
    verdict: Verdict = "ok" if now_ms > _BUILT_AFTER_MS else "FAIL"
    return Finding(verdict, "clock", datetime.now(UTC).isoformat(timespec="seconds"))


async def _login_providers(config: Config) -> AsyncIterator[Finding]:
    if not config.auth.providers:
        return
    try:
        async for is_good, name, text in examine_providers(config):
            yield Finding("ok" if is_good else "FAIL", "login provider", f"{name}: {text}")
    except ConfigError as error:
        for fault in error.faults:
            yield Finding("FAIL", "login provider", fault)
    except UnsafeFile as error:
        yield Finding("FAIL", "login provider", str(error))
    for provider in config.auth.providers:
        if provider.tls == "off" and provider.type != "rest":
            yield Finding(
                "warn", "login provider", f"{provider.name}: passwords' hashes cross the network in the clear"
            )


def _running(config: Config) -> Finding:
    host, _, port = config.server.listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - not listened on, asked
    try:
        with urlopen(f"http://{host}:{port}/health", timeout=_ANSWER_S) as answer:
            return Finding("ok", "server", f"answers on {host}:{port}" if answer.status == 200 else "is not healthy")
    except (URLError, OSError, ValueError):
        return Finding("info", "server", f"does not answer on {host}:{port}")


async def _database(engine: Engine, config: Config, thorough: bool) -> AsyncIterator[Finding]:
    facts = await inspect(engine, thorough=thorough)
    yield Finding("ok", "database", f"{facts.engine}, {_size(facts.bytes)}")
    try:
        await check_durability(engine)
        settings = ", ".join(f"{name}={value}" for name, value in facts.settings.items())
        yield Finding("ok", "durability", settings)
    except UnsafeDatabase as error:
        yield Finding("FAIL", "durability", str(error))
    for finding in (*_schema(facts), *_state(facts, config)):
        yield finding
    for name, count in facts.counts.items():
        yield Finding("info", name, f"{'about ' if name in facts.estimated else ''}{count:,}")


def _schema(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.schema is None:
        yield Finding("info", "schema", "no tables yet; the first start makes them")
    elif facts.schema == facts.newest_schema:
        yield Finding("ok", "schema", f"{facts.schema}, the newest")
    elif facts.schema < facts.newest_schema:
        yield Finding("info", "schema", f"{facts.schema}; the next start brings it to {facts.newest_schema}")
    else:
        yield Finding("FAIL", "schema", f"{facts.schema} is of a newer release; this one knows {facts.newest_schema}")


def _state(facts: DatabaseFacts, config: Config) -> Iterator[Finding]:
    if not facts.writable:
        yield Finding("FAIL", "writing", "the database cannot be written")
    if facts.damage is not None:
        yield Finding("FAIL", "integrity", facts.damage)
    connections = int(facts.settings.get("max_connections", "1000"))
    if connections < config.database.pool_size + 3:
        wanted = config.database.pool_size
        yield Finding("warn", "connections", f"database.pool_size is {wanted}, max_connections only {connections}")
    now_ms = time.time_ns() // 1_000_000
    if facts.now_ms is not None and abs(facts.now_ms - now_ms) > _CLOCKS_APART_MS:
        apart = (facts.now_ms - now_ms) / 1000
        yield Finding("warn", "clock", f"the database server's is {apart:+.0f} s away from this machine's")
    if facts.last_event_ms is not None:
        at = datetime.fromtimestamp(facts.last_event_ms / 1000, UTC).isoformat(timespec="seconds")
        ahead = facts.last_event_ms > now_ms + _CLOCKS_APART_MS
        yield Finding("warn" if ahead else "info", "newest event", f"{at}{', which is in the future' if ahead else ''}")


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"
