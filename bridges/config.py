"""The configuration of a bridge: `bridges.toml`. Everything wrong with it is reported at once, by name.

Secrets come from files or the environment only (`{ file = … }`, `{ env = … }`), never from the configuration itself.
docs/bridges/configuration.md explains every setting.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from bridges.filters import Filter, check_filter
from bridges.render import BadTemplate, Template

_NAME = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class ConfigError(Exception):
    """What is wrong with the configuration: one line per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Secret(_Section, frozen=True, kw_only=True):
    """A value that stands elsewhere."""

    file: str | None = None
    env: str | None = None

    def read(self, environment: Mapping[str, str] = os.environ) -> str:
        """The value. Raises ConfigError."""
        if (self.file is None) == (self.env is None):
            raise ConfigError(["a secret names either a file or an environment variable"])
        if self.env is not None:
            if not (value := environment.get(self.env, "")):
                raise ConfigError([f"the environment variable {self.env} is not set"])
            return value
        try:
            value = Path(self.file or "").read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{self.file}: {error}"]) from None
        if not value:
            raise ConfigError([f"{self.file} is empty"])
        return value


class AppService(_Section, frozen=True, kw_only=True):
    """Who the bridge is to the homeserver."""

    id: str
    homeserver: str
    server_name: str
    as_token: Secret
    hs_token: Secret
    bot: str = "_db_bot"
    prefix: str = "_db_"
    device_id: str = "DBBRIDGE"
    state: str = "bridges.db"
    max_queue: int = 10_000
    lanes: int = 8


class Source(_Section, frozen=True, kw_only=True):
    """A database."""

    driver: Literal["postgresql"]
    url: Secret
    statement_timeout: str = "10s"
    connect_timeout: str = "5s"


class Capture(_Section, frozen=True, kw_only=True):
    """How changes are noticed."""

    mode: Literal["outbox"]
    table: str = "public.bridge_outbox"
    poll: str = "500ms"
    batch: int = 500


class Room(_Section, frozen=True, kw_only=True):
    """The room of a row. Texts are templates over its columns."""

    alias: str
    name: str = ""
    topic: str = ""
    invite: tuple[str, ...] = ()
    federate: bool = False


class When(_Section, frozen=True, kw_only=True):
    """A condition of a message."""

    changed: tuple[str, ...] = ()


class Message(_Section, frozen=True, kw_only=True):
    """A message for a change. `sender` is `bot` or `ghost:COLUMN`."""

    on: Literal["insert", "update", "delete"]
    text: str
    html: str = ""
    sender: str = "bot"
    msgtype: Literal["m.text", "m.notice"] = "m.text"
    when: When = When()


class TableMapping(_Section, frozen=True, kw_only=True):
    """A table whose rows are rooms."""

    source: str
    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    capture: Capture
    room: Room
    message: tuple[Message, ...] = ()
    filter: dict[str, Any] | None = None
    on_delete: Literal["ignore", "notice", "archive"] = "archive"

    @property
    def predicate(self) -> Filter:
        """Which rows are mapped."""
        return Filter(self.filter)


class Config(_Section, frozen=True, kw_only=True):
    """The whole file."""

    appservice: AppService
    source: dict[str, Source]
    mapping: dict[str, TableMapping]
    folder: str = "."


def seconds(text: str) -> float:
    """`500ms`, `5s`, `10m`, `24h` in seconds. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 500ms, 5s, 10m or 24h")
    return int(match[1]) * _SECONDS[match[2]]


def load(file: Path) -> Config:
    """The configuration in `file`. Raises ConfigError."""
    try:
        document = tomllib.loads(file.read_text())
        config = msgspec.convert({**document, "folder": str(file.resolve().parent)}, Config)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"{file}: {error}"]) from None
    except msgspec.ValidationError as error:
        raise ConfigError([f"{file}: {error}"]) from None
    faults = list(_faults(config))
    if faults:
        raise ConfigError(faults)
    return config


def _faults(config: Config) -> Iterator[str]:
    service = config.appservice
    if not re.fullmatch(r"https?://[^/\s]+/?", service.homeserver):
        yield "appservice.homeserver must be a URL without a path"
    if not re.fullmatch(r"_[a-z0-9._=/-]{1,100}", service.prefix):
        yield "appservice.prefix must begin with _ and be made of a-z 0-9 . _ = / -"
    if not service.bot.startswith(service.prefix):
        yield f"appservice.bot must begin with {service.prefix}"
    if service.max_queue < 1 or not 1 <= service.lanes <= 64:
        yield "appservice.max_queue must be positive, lanes from 1 to 64"
    for name, source in config.source.items():
        for setting in ("statement_timeout", "connect_timeout"):
            yield from _time(f"source.{name}.{setting}", getattr(source, setting))
    for name, mapping in config.mapping.items():
        yield from _mapping_faults(f"mapping.{name}", mapping, config)


def _time(where: str, text: str) -> Iterator[str]:
    try:
        seconds(text)
    except ValueError as error:
        yield f"{where}: {error}"


def _mapping_faults(where: str, mapping: TableMapping, config: Config) -> Iterator[str]:
    if mapping.source not in config.source:
        yield f"{where}.source: there is no source.{mapping.source}"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", where.removeprefix("mapping.")):
        yield f"{where}: the name is made of a-z, 0-9 and _, at most 40"
    yield from _column_faults(where, mapping)
    known = set(mapping.columns)
    yield from _time(f"{where}.capture.poll", mapping.capture.poll)
    if not 1 <= mapping.capture.batch <= 10_000:
        yield f"{where}.capture.batch must be from 1 to 10,000"
    for fault in check_filter(mapping.filter, known):
        yield f"{where}.filter: {fault}"
    if not mapping.room.alias.startswith(config.appservice.prefix):
        yield f"{where}.room.alias must begin with {config.appservice.prefix}"
    yield from _text_faults(where, mapping, known)


def _text_faults(where: str, mapping: TableMapping, known: set[str]) -> Iterator[str]:
    texts = [(f"{where}.room.{name}", getattr(mapping.room, name), False) for name in ("alias", "name", "topic")]
    for number, message in enumerate(mapping.message):
        at = f"{where}.message[{number}]"
        texts += [(f"{at}.text", message.text, False), (f"{at}.html", message.html, True)]
        kind, _, column = message.sender.partition(":")
        if message.sender != "bot" and not (kind == "ghost" and column in known):
            yield f"{at}.sender must be bot or ghost:COLUMN"
        for column in message.when.changed:
            if column not in known:
                yield f"{at}.when.changed: {column} is not in columns"
    for at, text, html in texts:
        try:
            unknown = Template(text, html=html).names - known - {"old"}
        except BadTemplate as error:
            yield f"{at}: {error}"
        else:
            if unknown:
                yield f"{at}: {', '.join(sorted(unknown))} is not in columns"


def _column_faults(where: str, mapping: TableMapping) -> Iterator[str]:
    for table in (mapping.table, mapping.capture.table):
        if not re.fullmatch(rf"{_NAME}(\.{_NAME})?", table):
            yield f"{where}: {table!r} is not the name of a table"
    for column in mapping.columns:
        if not re.fullmatch(_NAME, column):
            yield f"{where}.columns: {column!r} is not the name of a column"
    if not mapping.key:
        yield f"{where}.key is empty"
    for column in mapping.key:
        if column not in mapping.columns:
            yield f"{where}.key: {column} is not in columns"
