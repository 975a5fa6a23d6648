"""What is wrong with a configuration that can be read: every fault, with the name of its setting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bridges.config import Config, Query, TableMapping, Update, per_second, seconds
from bridges.filters import check_filter
from bridges.render import BadTemplate, Template

_NAME = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"
_CAPTURES = {
    "postgresql": {"outbox", "logical", "overlap", "horizon"},
    "mysql": {"outbox", "binlog", "overlap"},
    "mongodb": {"changestream", "overlap"},
}
EVENT = frozenset({"sender", "body", "args", "event_id", "event_uuid", "now", "db_user"})
"""What templates of write-back have besides the row."""
_HELP = "help"


def faults(config: Config) -> Iterator[str]:
    """Everything that is wrong."""
    yield from _service_faults(config)
    for name, source in config.source.items():
        for setting in ("connect", "statement", "lock"):
            yield from _time(f"source.{name}.timeouts.{setting}", getattr(source.timeouts, setting))
        if not 1 <= source.pool <= 100:
            yield f"source.{name}.pool must be from 1 to 100"
        if not re.fullmatch(rf"{_NAME}(\.{_NAME})?", source.applied):
            yield f"source.{name}.applied: {source.applied!r} is not the name of a table"
    for name, mapping in config.mapping.items():
        yield from _mapping_faults(f"mapping.{name}", mapping, config)
    for name, query in config.query.items():
        yield from _query_faults(f"query.{name}", query, config)


def _service_faults(config: Config) -> Iterator[str]:
    service = config.appservice
    if not re.fullmatch(r"https?://[^/\s]+/?", service.homeserver):
        yield "appservice.homeserver must be a URL without a path"
    if service.listen and not re.fullmatch(r"([^:\s]+|\[[0-9a-f:]+\]):[0-9]{1,5}", service.listen):
        yield "appservice.listen must be HOST:PORT"
    if not re.fullmatch(r"_[a-z0-9._=/-]{1,100}", service.prefix):
        yield "appservice.prefix must begin with _ and be made of a-z 0-9 . _ = / -"
    if not service.bot.startswith(service.prefix):
        yield f"appservice.bot must begin with {service.prefix}"
    if service.admin_room is not None and not service.admin_room.alias.startswith(service.prefix):
        yield f"appservice.admin_room.alias must begin with {service.prefix}"
    if service.max_queue < 1 or not 1 <= service.lanes <= 64:
        yield "appservice.max_queue must be positive, lanes from 1 to 64"


def _time(where: str, text: str) -> Iterator[str]:
    try:
        seconds(text)
    except ValueError as error:
        yield f"{where}: {error}"


def _mapping_faults(where: str, mapping: TableMapping, config: Config) -> Iterator[str]:
    source = config.source.get(mapping.source)
    if source is None:
        yield f"{where}.source: there is no source.{mapping.source}"
    else:
        yield from _capture_faults(where, mapping, source.driver)
        if source.read_only and mapping.capture.mode == "outbox":
            yield f"{where}.capture: an outbox is emptied, and source.{mapping.source} is read_only"
        if (source.driver == "mongodb") != bool(mapping.collection) or bool(mapping.table) == bool(mapping.collection):
            yield f"{where}: a mapping of MongoDB has a collection, every other a table"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", where.removeprefix("mapping.")):
        yield f"{where}: the name is made of a-z, 0-9 and _, at most 40"
    yield from _column_faults(where, mapping)
    known = set(mapping.columns)
    for fault in check_filter(mapping.filter, known):
        yield f"{where}.filter: {fault}"
    for fault in check_filter(mapping.backfill.filter, known):
        yield f"{where}.backfill.filter: {fault}"
    if mapping.reconcile:
        yield from _time(f"{where}.reconcile", mapping.reconcile)
    for setting in ("per_room", "total"):
        try:
            per_second(getattr(mapping.rate, setting))
        except ValueError as error:
            yield f"{where}.rate.{setting}: {error}"
    if not mapping.room.alias.startswith(config.appservice.prefix):
        yield f"{where}.room.alias must begin with {config.appservice.prefix}"
    yield from _text_faults(where, mapping, known)
    yield from _write_faults(where, mapping, config)


def _capture_faults(where: str, mapping: TableMapping, driver: str) -> Iterator[str]:
    capture = mapping.capture
    yield from _time(f"{where}.capture.poll", capture.poll)
    yield from _time(f"{where}.capture.overlap", capture.overlap)
    if not 1 <= capture.batch <= 10_000:
        yield f"{where}.capture.batch must be from 1 to 10,000"
    if capture.mode not in _CAPTURES[driver]:
        yield f"{where}.capture.mode: {driver} has {', '.join(sorted(_CAPTURES[driver]))}"
    if "overlap" in (capture.mode, capture.fallback) or capture.mode == "horizon":
        if not re.fullmatch(_NAME, capture.cursor):
            yield f"{where}.capture.cursor: {capture.cursor!r} is not the name of a column"
    for name in (capture.slot or "x", capture.publication):
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
            yield f"{where}.capture: {name!r} is not the name of a slot or publication"


def _text_faults(where: str, mapping: TableMapping, known: set[str]) -> Iterator[str]:
    texts = [(f"{where}.room.{name}", getattr(mapping.room, name), False) for name in ("alias", "name", "topic")]
    texts += [(f"{where}.room.invite", text, False) for text in mapping.room.invite]
    texts.append((f"{where}.external_url", mapping.external_url, False))
    for column, ghost in mapping.ghost.items():
        if column not in known:
            yield f"{where}.ghost: {column} is not in columns"
        texts += [(f"{where}.ghost.{column}.{name}", getattr(ghost, name), False) for name in ("name", "avatar")]
    for number, message in enumerate(mapping.message):
        at = f"{where}.message[{number}]"
        texts += [(f"{at}.text", message.text, False), (f"{at}.html", message.html, True)]
        kind, _, column = message.sender.partition(":")
        if message.sender != "bot" and not (kind == "ghost" and column in known):
            yield f"{at}.sender must be bot or ghost:COLUMN"
        for column in message.when.changed:
            if column not in known:
                yield f"{at}.when.changed: {column} is not in columns"
    for number, each in enumerate(mapping.each):
        at = f"{where}.each[{number}]"
        yield from _template(f"{at}.text", each.text, known | {"el"})
        yield from _template(f"{at}.html", each.html, known | {"el"}, html=True)
        if each.array not in known:
            yield f"{at}.array: {each.array} is not in columns"
        if each.sender != "bot" and not re.fullmatch(r"ghost:.+", each.sender):
            yield f"{at}.sender must be bot or ghost:FIELD"
        for fault in check_filter(each.skip_if, None):
            yield f"{at}.skip_if: {fault}"
    for at, text, html in texts:
        yield from _template(at, text, known, html=html)


def _template(at: str, text: str, known: set[str] | frozenset[str], *, html: bool = False) -> Iterator[str]:
    try:
        unknown = Template(text, html=html).names - known - {"old"}
    except BadTemplate as error:
        yield f"{at}: {error}"
    else:
        if unknown:
            yield f"{at}: {', '.join(sorted(unknown))} is not in columns"


def _column_faults(where: str, mapping: TableMapping) -> Iterator[str]:
    for table in (mapping.relation, mapping.capture.table):
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
    for setting, column in (("backfill.ts", mapping.backfill.ts), ("capture.cursor", mapping.capture.cursor)):
        if column and not re.fullmatch(_NAME, column):
            yield f"{where}.{setting}: {column!r} is not the name of a column"


def _write_faults(where: str, mapping: TableMapping, config: Config) -> Iterator[str]:
    known = frozenset(mapping.columns) | EVENT
    for name, command in mapping.command.items():
        at = f"{where}.command.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name) or name == _HELP:
            yield f"{at}: the name is made of a-z, 0-9, _ and -, and is not help"
        yield from _update_faults(at, mapping, command.change, config)
        yield from _value_faults(f"{at}.set", command.change.set, known)
    if (message := mapping.write.message) is not None:
        at = f"{where}.write.message"
        ways = [way for way in ("push", "insert", "set") if getattr(message, way)]
        if len(ways) != 1:
            yield f"{at} has one of push, insert and set"
        if message.insert and not re.fullmatch(rf"{_NAME}(\.{_NAME})?", message.insert):
            yield f"{at}.insert: {message.insert!r} is not the name of a table"
        for setting in ("value", "values", "set"):
            yield from _value_faults(f"{at}.{setting}", getattr(message, setting), known)
        yield from _writer_faults(at, message.writer or mapping.source, mapping, config)
    if (redaction := mapping.write.redaction) is not None:
        at = f"{where}.write.redaction"
        yield from _value_faults(f"{at}.mark.set", redaction.mark.set, known)
        yield from _writer_faults(at, redaction.writer or mapping.source, mapping, config)


def _update_faults(at: str, mapping: TableMapping, update: Update, config: Config) -> Iterator[str]:
    if not update.set:
        yield f"{at} sets nothing"
    for column in update.require:
        if column not in mapping.columns:
            yield f"{at}.require: {column} is not in columns"
    if set(update.set) & set(mapping.key):
        yield f"{at}.set changes the key"
    yield from _writer_faults(at, update.writer or mapping.source, mapping, config)


def _value_faults(at: str, values: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    for column, value in values.items():
        if not re.fullmatch(_NAME, column):
            yield f"{at}: {column!r} is not the name of a column"
        if isinstance(value, str):
            yield from _template(f"{at}.{column}", value, known)


def _writer_faults(at: str, writer: str, mapping: TableMapping, config: Config) -> Iterator[str]:
    source, own = config.source.get(writer), config.source.get(mapping.source)
    if source is None:
        yield f"{at}.writer: there is no source.{writer}"
    elif source.read_only:
        yield f"{at}: source.{writer} is read_only; name a writer"
    elif own is not None and source.driver != own.driver:
        yield f"{at}.writer: source.{writer} is another kind of database"
    if not config.appservice.listen:
        yield f"{at}: without appservice.listen nothing comes back from rooms"


def _query_faults(at: str, query: Query, config: Config) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", at.removeprefix("query.")) or at == f"query.{_HELP}":
        yield f"{at}: the name is made of a-z, 0-9, _ and -, and is not help"
    source = config.source.get(query.source)
    if source is None or source.driver == "mongodb":
        yield f"{at}.source: there is no source.{query.source} with SQL"
    used = set(re.findall(r"(?<!:):([a-z_][a-z0-9_]*)", query.statement))
    if used != set(query.arguments):
        yield f"{at}: the statement has the arguments {', '.join(sorted(used)) or 'none'}"
    for name, kind in query.arguments.items():
        if not re.fullmatch(r"[a-z][a-z0-9_ ]{0,40}", kind):
            yield f"{at}.arguments.{name}: {kind!r} is not the name of a type"
    for mapping in query.mappings:
        if mapping not in config.mapping:
            yield f"{at}.mappings: there is no mapping.{mapping}"
    if not 1 <= query.limit <= 500:
        yield f"{at}.limit must be from 1 to 500"
