"""MongoDB: change streams where it is a replica set, else polling by a time (`fallback = "overlap"`).

An event of a stream is a hint: the document is read again, so what is told is how it is, in true types. Documents are
found by `_id`, whose values are of one type in a collection.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bridges.config import Config, ConfigError, TableMapping, seconds
from bridges.sources import Batch, Change, Feed, Finding, Gap, Key, Refused, Row, Scanned, SourceUnavailable, Write
from bridges.sources import Written as Ended
from bridges.sources.clocks import DatabaseClock
from bridges.sources.tls import reason, tls_context

try:
    from bson import ObjectId, json_util
    from pymongo import AsyncMongoClient, ReturnDocument
    from pymongo.errors import ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError
except ImportError:  # pragma: no cover - an extra
    AsyncMongoClient = None  # type: ignore[assignment, misc] # asked for when a source is opened

_HISTORY_LOST = {136, 280, 286}
"""The stream cannot go on from where we were."""
_NO_STREAMS = {59, 115, 238, 40573}
"""Not a replica set, or not MongoDB itself."""
_REFUSALS = {2, 9, 13, 14, 66, 121}
_LARGEST_INTEGER = 2**53 - 1
_SAMPLE = 50
_DAY_MS = 86_400_000


class MongoSource:
    """One database. Connects when it is needed; the driver does so again after every failure."""

    def __init__(self, config: Config, source_name: str) -> None:
        """Raises ConfigError if pymongo is missing, or the URL names no database."""
        if AsyncMongoClient is None:
            raise ConfigError(["MongoDB needs pymongo: pip install 'hromada[mongodb]'"])
        self.config = config
        self._settings = settings = config.source[source_name]
        url = settings.url.read()
        encrypted = tls_context(url, settings.tls) is not None
        options: dict[str, Any] = {"tls": True} if encrypted else {}
        if encrypted and settings.tls is not None:
            options |= {"tlsCAFile": settings.tls.ca} if settings.tls.ca else {}
            options |= {"tlsAllowInvalidCertificates": True} if settings.tls.mode == "require" else {}
        connect = int(seconds(settings.timeouts.connect) * 1000)
        try:
            self._client: Any = AsyncMongoClient(
                url,
                maxPoolSize=settings.pool,
                serverSelectionTimeoutMS=connect,
                connectTimeoutMS=connect,
                socketTimeoutMS=int(seconds(settings.timeouts.statement) * 1000) + 5000,
                appname="hromada-bridges",
                tz_aware=True,
                **options,
            )
            self.database = self._client.get_default_database()
        except (ConfigurationError, ValueError) as error:
            raise ConfigError([f"source.{source_name}.url has the form mongodb://host/database: {error}"]) from None

    def mapping(self, name: str) -> TableMapping:
        """A mapping of this source."""
        return self.config.mapping[name]

    def collection(self, name: str) -> Any:
        """The collection of a mapping."""
        return self.database[self.mapping(name).collection]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    # ---- reading ----

    async def columns(self, table: str) -> dict[str, str]:
        """Field → type, as the first documents have them. Raises SourceUnavailable."""
        found: dict[str, str] = {}
        for document in await self.documents(table, {}, limit=_SAMPLE):
            found |= {name: type(value).__name__ for name, value in document.items() if value is not None}
        return found

    async def documents(
        self,
        collection: str,
        where: Mapping[str, Any],
        *,
        limit: int,
        order: Sequence[tuple[str, int]] = (),
        skip: int = 0,
    ) -> list[dict[str, Any]]:
        """Documents that meet a condition. Raises SourceUnavailable."""
        try:
            cursor = self.database[collection].find(where).sort(list(order) or [("_id", 1)]).skip(skip).limit(limit)
            return [document async for document in cursor]
        except PyMongoError as error:
            raise _unavailable(error) from error

    async def now(self) -> int:
        """The time at the server, in milliseconds since 1970. Raises SourceUnavailable."""
        try:
            hello = await self._client.admin.command("hello")
        except PyMongoError as error:
            raise _unavailable(error) from error
        at = hello.get("localTime")
        return int((at.timestamp() if isinstance(at, datetime) else time.time()) * 1000)

    def feed(self, name: str) -> Feed:
        """The changes of a mapping."""
        return StreamFeed(self, name) if self.mapping(name).capture.mode == "changestream" else PollFeed(self, name)

    def row(self, name: str, document: Mapping[str, Any] | None) -> Row | None:
        """The mapped fields of a document; None if it is gone or does not meet the filter."""
        if document is None:
            return None
        mapping = self.mapping(name)
        row = {column: plain(document.get(column)) for column in mapping.columns}
        return row if mapping.predicate.holds(row) else None

    def key(self, name: str, document: Mapping[str, Any]) -> list[Any]:
        """The key of a document."""
        return [plain(document.get(column)) for column in self.mapping(name).key]

    async def scan(self, name: str, after: Key | None, limit: int, chosen: Any = None, ts: str = "") -> list[Scanned]:
        """Documents in the order of the key. Raises SourceUnavailable."""
        from bridges.filters import Filter  # noqa: PLC0415 - only a scan has a condition of its own

        mapping = self.mapping(name)
        field, condition = mapping.key[0], Filter(chosen)
        where = {} if after is None else {field: {"$gt": native(after[0])}}
        found = await self.documents(mapping.collection, where, limit=limit, order=[(field, 1)])
        scanned = []
        for document in found:
            row = self.row(name, document)
            at = document.get(ts) if ts else None
            moment = int(at.timestamp() * 1000) if isinstance(at, datetime) else None
            whole = {column: plain(value) for column, value in document.items()}
            scanned.append(Scanned(self.key(name, document), row, condition.holds(whole), moment))
        return scanned

    async def count(self, name: str) -> int:
        """About how many documents there are. Raises SourceUnavailable."""
        try:
            return int(await self.collection(name).estimated_document_count())
        except PyMongoError as error:
            raise _unavailable(error) from error

    async def nth_last(self, name: str, n: int) -> Key | None:
        """The key of the n-th document from the end. Raises SourceUnavailable."""
        mapping = self.mapping(name)
        found = await self.documents(mapping.collection, {}, limit=1, order=[(mapping.key[0], -1)], skip=n - 1)
        return self.key(name, found[0]) if found else None

    async def fetch(self, name: str, keys: Sequence[Key]) -> list[Row | None]:
        """Documents as they are now. Raises SourceUnavailable."""
        mapping = self.mapping(name)
        wanted = [native(key[0]) for key in keys]
        found = await self.documents(mapping.collection, {mapping.key[0]: {"$in": wanted}}, limit=0)
        known = {json.dumps(self.key(name, document)): document for document in found}
        return [self.row(name, known.get(json.dumps(list(key)))) for key in keys]

    async def query(self, name: str, values: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
        """Named queries are statements of SQL. Raises Refused."""
        raise Refused("named queries are for databases that speak SQL")

    async def examine(self, name: str, *, deep: bool) -> list[Finding]:
        """Whether a mapping can be captured from here."""
        mapping = self.mapping(name)
        try:
            fields = await self.columns(mapping.collection)
            findings = [Finding(bool(fields), f"collection {mapping.collection}" + ("" if fields else " is empty"))]
            missing = [column for column in mapping.columns if column not in fields]
            if fields and missing:
                text = f"no document of the first {_SAMPLE} has {', '.join(missing)}"
                findings.append(Finding(not set(missing) & set(mapping.key), text))
            if deep and mapping.capture.mode == "changestream":
                findings.append(await self._streams(name))
        except SourceUnavailable as error:
            return [Finding(False, str(error))]
        return findings

    async def _streams(self, name: str) -> Finding:
        feed = StreamFeed(self, name)
        position = await feed.open(None)
        await feed.stop()
        if "token" in json.loads(position):
            return Finding(True, "change streams are offered")
        return Finding(True, "change streams are not offered: documents are polled, and deletes need `reconcile`")

    # ---- writing ----

    async def write(self, name: str, write: Write, intent: Callable[[Row | None], None]) -> Ended:
        """Write one document at once, which MongoDB does wholly or not at all. Raises SourceUnavailable, Refused."""
        try:
            if write.kind == "insert":
                return await self._insert(write)
            return await self._update(name, write, intent)
        except DuplicateKeyError:
            return Ended("already")
        except OperationFailure as error:
            if error.code in _REFUSALS:
                raise Refused(str(error)) from error
            raise _unavailable(error) from error
        except PyMongoError as error:
            raise _unavailable(error) from error

    async def _insert(self, write: Write) -> Ended:
        values = dict(write.values or {})
        values.setdefault("_id", write.event_id)
        await self.database[write.table].insert_one(values)
        return Ended("applied", {column: plain(value) for column, value in values.items()})

    async def _update(self, name: str, write: Write, intent: Callable[[Row | None], None]) -> Ended:
        collection = self.database[write.table]
        key = {self.mapping(name).key[0]: native(write.key[0])}
        document = await collection.find_one(key)
        if document is None:
            return Ended("gone")
        if _is_applied(write, document):
            return Ended("already", self.row(name, document))
        guard: dict[str, Any] = {
            **{column: {"$in": list(values)} for column, values in (write.require or {}).items()},
            **_guard(write),
        }
        intent(self.row(name, _changed(write, document)))
        after = await collection.find_one_and_update(
            {**key, **guard}, _change(write), return_document=ReturnDocument.AFTER
        )
        if after is not None:
            return Ended("applied", self.row(name, after))
        document = await collection.find_one(key)
        if document is None:
            return Ended("gone")
        return Ended("already" if _is_applied(write, document) else "conflict", self.row(name, document))


def _guard(write: Write) -> dict[str, Any]:
    """What makes the write happen once, whoever else writes meanwhile."""
    if write.kind == "push":
        return {f"{write.array}.mx_event_id": {"$ne": write.event_id}}
    if write.kind == "mark":
        return {f"{write.array}.mx_event_id": write.target}
    return {}


def _change(write: Write) -> dict[str, Any]:
    """The update. Names come from the configuration; what people wrote is a value, whatever it looks like."""
    values = dict(write.values or {})
    if write.kind == "push":
        change: dict[str, Any] = {"$push": {write.array: {**values, "mx_event_id": write.event_id}}}
    elif write.kind == "mark":
        change = {"$set": {f"{write.array}.$.{field}": value for field, value in values.items()}}
    else:
        change = {"$set": values}
    return change | ({"$inc": {write.bump: 1}} if write.bump else {})


def _elements(write: Write, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = document.get(write.array)
    return [element for element in found if isinstance(element, dict)] if isinstance(found, list) else []


def _is_applied(write: Write, document: Mapping[str, Any]) -> bool:
    values = write.values or {}
    if write.kind == "push":
        return any(element.get("mx_event_id") == write.event_id for element in _elements(write, document))
    if write.kind == "mark":
        meant = [element for element in _elements(write, document) if element.get("mx_event_id") == write.target]
        return bool(meant) and all(one.get(field) == value for one in meant for field, value in values.items())
    return bool(values) and all(document.get(column) == value for column, value in values.items())


def _changed(write: Write, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as the write will leave it."""
    after = copy.deepcopy(dict(document))
    values = dict(write.values or {})
    if write.kind == "push":
        after[write.array] = [*(after.get(write.array) or []), {**values, "mx_event_id": write.event_id}]
    elif write.kind == "mark":
        for element in _elements(write, after):
            if element.get("mx_event_id") == write.target:
                element.update(values)
    else:
        after |= values
    if write.bump:
        after[write.bump] = (after.get(write.bump) or 0) + 1
    return after


class StreamFeed:
    """A change stream. A position is its token, or where polling is, if streams are not offered."""

    def __init__(self, source: MongoSource, name: str) -> None:
        self._source, self._name = source, name
        self._mapping = source.mapping(name)
        self._stream: Any = None
        self._position = ""
        self._poll = PollFeed(source, name)

    async def open(self, position: str | None) -> str:
        """Begin to listen, or go on. Raises SourceUnavailable, Gap."""
        await self.stop()
        if position is not None and "token" not in json.loads(position):
            return await self._poll.open(position)
        try:
            await self._listen(None if position is None else position)
            await self._stream.try_next() if position is None else None
            return position or self._here()
        except OperationFailure as error:
            if position is None and error.code in _NO_STREAMS:
                if self._mapping.capture.fallback == "overlap":
                    return await self._poll.open(None)
                raise SourceUnavailable(
                    'this server offers no change streams (they need a replica set); set fallback = "overlap"'
                ) from error
            raise _lost(error) from error
        except PyMongoError as error:
            raise _unavailable(error) from error

    async def _listen(self, position: str | None) -> None:
        wait = int(seconds(self._mapping.capture.poll) * 1000)
        token = None if position is None else json_util.loads(position)["token"]
        # start_after goes on behind a collection's end, too.
        self._stream = await self._source.collection(self._name).watch(start_after=token, max_await_time_ms=wait)
        self._position = position or ""

    def _here(self) -> str:
        token = self._stream.resume_token
        if token is None:
            raise SourceUnavailable("the server gives no token to go on from")
        self._position = str(json_util.dumps({"token": token}))
        return self._position

    async def stop(self) -> None:
        """Stop listening."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def read(self, position: str, limit: int) -> Batch:
        """What has changed, as it is now. Raises SourceUnavailable, Gap."""
        if "token" not in json.loads(position):
            return await self._poll.read(position, limit)
        try:
            if self._stream is None or self._position != position:
                await self.stop()
                await self._listen(position)
            events: list[Any] = []
            ended = False
            while len(events) < limit and (event := await self._stream.try_next()) is not None:
                events.append(event)
                if ended := event["operationType"] in ("invalidate", "drop", "rename"):
                    break
            place = self._here()
        except OperationFailure as error:
            await self.stop()
            raise _lost(error) from error
        except PyMongoError as error:
            await self.stop()
            raise _unavailable(error) from error
        keys = [[plain(event["documentKey"].get("_id"))] for event in events if "documentKey" in event]
        last = {json.dumps(key): key for key in keys}
        rows = await self._source.fetch(self._name, list(last.values())) if last else []
        changes = [Change("", "seen", key, row) for key, row in zip(last.values(), rows, strict=True)]
        if ended or not self._stream.alive:  # the driver says nothing of a cursor that the server has closed
            await self.stop()
        return Batch(changes, place, len(events) >= limit, rescan=ended)

    async def acknowledge(self, batch: Batch) -> None:
        """The server forgets by itself."""


class PollFeed:
    """Passes over what changed lately, each beginning `overlap` before the newest that was seen."""

    def __init__(self, source: MongoSource, name: str) -> None:
        self._source, self._name = source, name
        self._mapping = source.mapping(name)
        self._overlap = timedelta(seconds=seconds(self._mapping.capture.overlap))
        self._clock = DatabaseClock(self._overlap.total_seconds())

    async def open(self, position: str | None) -> str:
        """Where polling begins: at the newest document, by the clock of the server. Raises SourceUnavailable."""
        if position is not None:
            return position
        now, cursor = await self._source.now(), self._mapping.capture.cursor
        where = {cursor: {"$lte": _moment(now)}}
        found = await self._source.documents(self._mapping.collection, where, limit=1, order=[(cursor, -1)])
        return json.dumps({"newest": max([now - _DAY_MS, *_times(found, cursor)])})

    async def read(self, position: str, limit: int) -> Batch:
        """One page of a pass. Raises SourceUnavailable."""
        place, cursor, key = json.loads(position), self._mapping.capture.cursor, self._mapping.key[0]
        rescan, where = False, dict[str, Any]()
        if "after" in place:
            at, last = place["after"]
            where = {"$or": [{cursor: {"$gt": _moment(at)}}, {cursor: _moment(at), key: {"$gt": native(last)}}]}
        else:
            asked = time.monotonic()
            place["clock"], known = await self._source.now(), place.get("clock")
            rescan = self._clock.is_set_back(place["clock"] / 1000, asked, None if known is None else known / 1000)
            # Not from where no clock has been yet: who stamps documents may be wrong, or put right.
            since = min(place["newest"], place["clock"]) - int(self._overlap.total_seconds() * 1000)
            where = {cursor: {"$gte": _moment(since)}}
        order = [(cursor, 1), (key, 1)]
        found = await self._source.documents(self._mapping.collection, where, limit=limit, order=order)
        changes = [
            Change("", "seen", self._source.key(self._name, one), self._source.row(self._name, one)) for one in found
        ]
        times = _times(found, cursor)
        if len(found) == limit and times:
            after = [times[-1], plain(found[-1][key])]
            return Batch(changes, json.dumps({**place, "after": after}), True, rescan)
        newest = times[-1] if times else place["after"][0] if "after" in place else place["newest"]
        if newest == place["newest"] and "after" not in place and not rescan:
            return Batch(changes, position)
        return Batch(changes, json.dumps({"newest": newest, "clock": place.get("clock")}), rescan=rescan)

    async def acknowledge(self, batch: Batch) -> None:
        """There is nobody to be told."""


def _times(documents: Sequence[Mapping[str, Any]], cursor: str) -> list[int]:
    return [int(one[cursor].timestamp() * 1000) for one in documents if isinstance(one.get(cursor), datetime)]


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def native(value: Any) -> Any:
    """A value of a key as MongoDB has it."""
    return ObjectId(value) if isinstance(value, str) and len(value) == 24 and ObjectId.is_valid(value) else value


def plain(value: Any) -> Any:
    """A value as JSON: what has no number in Matrix becomes text, binary data its size."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) <= _LARGEST_INTEGER else str(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return str(value)


def _unavailable(error: Exception) -> SourceUnavailable:
    return SourceUnavailable(reason(error)[:300])


def _lost(error: OperationFailure) -> Exception:
    """What a failed stream means."""
    if error.code in _HISTORY_LOST:
        return Gap(f"the change stream cannot go on from where it was: {error}")
    return _unavailable(error)
