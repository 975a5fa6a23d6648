"""The binary log of MySQL and MariaDB, by GTID: a thread reads it, for the reader blocks, and hands over what is ours.

What is in the log is committed, so a transaction may be taken in pieces: a position is the set of transactions that
are done, and how many rows of the one behind them are. Two things are in no row event and make a scan of the table:
statements that change it (TRUNCATE, ALTER, a session that logs statements), and what XA transactions did.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import re
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bridges.config import ConfigError
from bridges.sources import Batch, Change, Gap, Row, SourceUnavailable
from bridges.sources.binlog_values import Values
from bridges.sources.tables import Tables

try:
    import pymysql
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.event import (
        GtidEvent,
        HeartbeatLogEvent,
        MariadbGtidEvent,
        NotImplementedEvent,
        QueryEvent,
        RotateEvent,
        XAPrepareEvent,
        XidEvent,
    )
    from pymysqlreplication.gtid import Gtid, GtidSet
    from pymysqlreplication.row_event import (
        DeleteRowsEvent,
        PartialUpdateRowsEvent,
        UpdateRowsEvent,
        WriteRowsEvent,
    )
except ImportError:  # pragma: no cover - an extra
    BinLogStreamReader = None

# Of a connection that is lost it warns in lines of its own; what ends a reading is told by who reads.
logging.getLogger("pymysqlreplication").setLevel(logging.ERROR)

LACKING = "the binary log needs mysql-replication: pip install 'hromada[binlog]'"
_GONE = {1236, 1945, 1950}
"""The log does not go back so far, or never had this place."""
_STANDALONE, _PREPARED = 1, 64
"""Flags of MariaDB's GTID events."""
_HEARTBEAT_S = 2.0
_SILENCE_S = 30
_IDLE_ADVANCE_S = 10.0
_MAY_NOT = 1227
"""The role lacks REPLICATION CLIENT."""
_COMPRESSED = {40, 165, 166, 167, 168, 169}
"""Events in which whole transactions, statements or rows are packed: the reader cannot open them."""
_NO_CHANGE = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "GRANT", "REVOKE")
_SETTINGS = {
    "log_bin": ("1", "ON"),
    "binlog_format": ("ROW",),
    "binlog_row_image": ("FULL",),
    "binlog_row_metadata": ("FULL",),
    "gtid_mode": ("ON",),
    "log_bin_compress": ("0", "OFF"),
    "binlog_transaction_compression": ("0", "OFF"),
    "binlog_row_value_options": ("",),
}
"""What capture needs, where the server has such a setting."""


class Server(Tables, Protocol):
    """What the log is asked of."""

    def login(self) -> dict[str, Any]:
        """How PyMySQL connects to it."""

    @property
    def database(self) -> str:
        """The schema of tables that are named without one."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A row event's row, or (`op` None) a reason to scan the table."""

    place: str
    """Where to go on behind it."""
    serial: int
    op: Literal["insert", "update", "delete"] | None = None
    name: str = ""
    before: tuple[Mapping[str, Any], Mapping[str, str]] | None = None
    after: tuple[Mapping[str, Any], Mapping[str, str]] | None = None
    ts: int = 0


async def settings(source: Tables) -> tuple[bool, dict[str, str]]:
    """Whether it is MariaDB, and the settings that capture needs otherwise. Raises SourceUnavailable."""
    names = ", ".join(f"'{name}'" for name in ("version", *_SETTINGS))
    rows = await source.fetch_all(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})")
    values = {name.lower(): value for name, value in rows}
    wrong = {name: values[name] for name, good in _SETTINGS.items() if values.get(name, good[0]).upper() not in good}
    return "mariadb" in values["version"].lower(), wrong


def installed() -> bool:
    """Whether there is what reads the log: it is an extra."""
    return BinLogStreamReader is not None


def needed(wrong: Mapping[str, str]) -> str:
    """What has to be set, for a message."""
    return ", ".join(
        f"{name} is {value or 'empty'} and has to be {_SETTINGS[name][-1] or 'empty'}" for name, value in wrong.items()
    )


class BinlogFeed:
    """The changes of one mapping's table in the log."""

    def __init__(self, source: Server, name: str) -> None:
        """Raises ConfigError if mysql-replication is missing."""
        if not installed():
            raise ConfigError([LACKING])
        self._source = source
        self._mapping = mapping = source.mapping(name)
        self._tail: Tail | None = None
        self._at = ""
        self._values: Values | None = None
        self._advanced = time.monotonic()
        self._may_ask = True
        schema, self._table = source.split(mapping.table)
        self._schema = schema or source.database

    async def open(self, position: str | None) -> str:
        """Where the log is now, or go on. Raises SourceUnavailable."""
        self.stop()
        maria, wrong = await settings(self._source)
        if wrong:
            raise SourceUnavailable(f"the binary log cannot be read: {needed(wrong)}")
        self._values = Values(self._source, self._mapping.table, self._mapping.columns, maria=maria)
        if position is not None:
            return position
        now = "@@global.gtid_binlog_pos" if maria else "@@global.gtid_executed"
        text = str((await self._source.fetch_all(f"SELECT {now}"))[0][0])
        return json.dumps({"gtid": text.replace("\n", "")})

    async def read(self, position: str, limit: int) -> Batch:
        """What the thread has found by now. Raises SourceUnavailable, Gap."""
        tail = self._following(position, limit)
        done = tail.done
        found: list[_Found] = []
        while len(found) < limit:
            try:
                found.append(tail.found.get_nowait())
            except queue.Empty:
                break
        if not found and tail.failure is not None:
            self.stop()
            raise _failure(tail.failure)
        try:
            changes, rescan = await self._changes(found)
        except SourceUnavailable:
            self.stop()  # and read from where it was
            raise
        more = len(found) == limit
        place = found[-1].place if found else position
        if not more and done.serial >= (found[-1].serial if found else 0) and self._advances(done.place, found):
            place = done.place
        self._at = place
        return Batch(changes, place, more, rescan)

    def _advances(self, place: str, found: list[_Found]) -> bool:
        """Others' transactions move the position from time to time only: it is stored each time."""
        if not place or (not found and time.monotonic() - self._advanced < _IDLE_ADVANCE_S):
            return False
        self._advanced = time.monotonic()
        return True

    def _following(self, position: str, limit: int) -> Tail:
        if self._tail is not None and (self._at != position or self._tail.lost):
            self.stop()
        if self._tail is None:
            self._at = position
            self._tail = Tail(self._source, self._schema, self._table, position, maria=self._maria, room=2 * limit)
            self._tail.start()
        return self._tail

    @property
    def _maria(self) -> bool:
        if self._values is None:
            raise SourceUnavailable("the binary log is not open")
        return self._values.maria

    async def _changes(self, found: list[_Found]) -> tuple[list[Change], bool]:
        changes, rescan = list[Change](), False
        for one in found:
            if one.op is None:
                self._source.forget(self._mapping.table)
                if self._values is not None:
                    self._values.forget()
                rescan = True
                continue
            change = await self._change(one)
            rescan = rescan or change is None
            changes += [] if change is None else [change]
        return changes, rescan

    async def _change(self, one: _Found) -> Change | None:
        """None if the log does not tell enough of the row: then the row is looked at."""
        before, lacking = await self._row(one.before)
        after, left_out = await self._row(one.after)
        key = self._mapping.key
        if one.op == "insert" and left_out:
            return None
        if after is not None and before is not None:
            after = {**after, **{column: before[column] for column in left_out & before.keys()}}
            left_out -= before.keys()
        now, was = (after if after is not None else before), (before if after is not None else None)
        if now is None or any(column not in now for column in key):
            return None
        keys = [now[column] for column in key]
        old_key = [was.get(column) for column in key] if was is not None and key_known(was, key) else None
        old = None if lacking else before
        return Change(
            one.name, one.op or "update", keys, after, old, old_key if old_key != keys else None, one.ts, left_out
        )

    async def _row(self, raw: tuple[Mapping[str, Any], Mapping[str, str]] | None) -> tuple[Row | None, frozenset[str]]:
        if raw is None or self._values is None:
            return None, frozenset()
        return await self._values.row(*raw)

    async def acknowledge(self, batch: Batch) -> None:
        """There is nobody to be told: the server drops its log by age."""

    async def retained(self) -> int | None:
        """Bytes of the log that are not read yet; None for a role that may not ask. Raises SourceUnavailable."""
        file, place = ("", 0) if self._tail is None else self._tail.at
        if not file or not self._may_ask:
            return None
        try:
            logs = await self._source.fetch_all("SHOW BINARY LOGS")
        except SourceUnavailable as error:
            if error.__cause__ is None or error.__cause__.args[:1] != (_MAY_NOT,):
                raise
            self._may_ask = False
            return None
        names = [log[0] for log in logs]
        if file not in names:
            return None
        return max(0, sum(int(log[1]) for log in logs[names.index(file) :]) - place)

    def stop(self) -> None:
        """Let the thread end by itself."""
        if self._tail is not None:
            self._tail.ended.set()
            self._tail = None


def key_known(row: Row, key: tuple[str, ...]) -> bool:
    """Whether a row tells its key."""
    return all(column in row for column in key)


def _failure(error: BaseException) -> Exception:
    code = error.args[0] if error.args else None
    if code in _GONE:
        return Gap(f"The binary log is gone: {error.args[-1]}.")
    return SourceUnavailable(f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class _Done:
    place: str = ""
    serial: int = 0


class _Ended(Exception):
    """The connection was cut. The reader would connect again by itself, and begin where it began."""


class Tail(threading.Thread):
    """Reads the log behind a position. `failure` tells why it ended."""

    def __init__(self, source: Server, schema: str, table: str, position: str, *, maria: bool, room: int) -> None:
        super().__init__(name=f"binlog {table}", daemon=True)
        self.found: queue.Queue[_Found] = queue.Queue(max(room, 10))
        self.done = _Done()
        """Everything before it is in `found`, or was taken out of it."""
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        self._login = source.login()
        self._schema, self._table, self._maria = schema, table, maria
        place = json.loads(position)
        self._set = _GtidSet(place["gtid"], maria=maria)
        self._in, self._skip = place.get("in", ""), int(place.get("skip", 0))
        self._gtid, self._number, self._serial = "", 0, 0
        self._xa = self._whole = False
        self._reader: Any = None
        self._mention = re.compile(rf"(?<![\w$]){re.escape(table)}(?![\w$])", re.IGNORECASE)

    @property
    def at(self) -> tuple[str, int]:
        """File and place in it up to which the log was read; an empty name before anything was."""
        reader = self._reader
        return ("", 0) if reader is None else (reader.log_file or "", reader.log_pos or 0)

    @property
    def lost(self) -> bool:
        """Whether it ended without saying why."""
        return not self.is_alive() and self.failure is None and self.found.empty()

    def run(self) -> None:
        """Until `ended`, or something goes wrong."""
        connections: list[Any] = []
        # mysql-replication reads TIMESTAMP columns with a function that Python 3.12 warns of: no reason to end.
        warnings.filterwarnings(
            "ignore", r"datetime\.datetime\.utcfromtimestamp", DeprecationWarning, "pymysqlreplication"
        )

        def connect(**login: Any) -> Any:
            if len(connections) == 2:
                raise _Ended("the connection was lost")
            database = {"database": login.pop("db")} if "db" in login else {}  # PyMySQL's newer name
            connections.append(pymysql.connect(**login, **database))
            return connections[-1]

        try:
            self._reader = reader = BinLogStreamReader(
                {**self._login, "read_timeout": _SILENCE_S},
                # The server cuts off whoever had the same number before: it may be our own connection of a moment ago.
                random.randrange(2**31, 2**32 - 1),  # noqa: S311 - a name, not a secret
                blocking=True,
                only_events=_events(),
                filter_non_implemented_events=False,
                only_tables=[self._table],
                only_schemas=[self._schema],
                auto_position=self._set.text,
                is_mariadb=self._maria,
                slave_heartbeat=_HEARTBEAT_S,
                ignore_decode_errors=True,
                enable_logging=False,
                pymysql_wrapper=connect,
            )
            while not self.ended.is_set():
                event = reader.fetchone()
                if isinstance(event, RotateEvent):
                    # A server that starts numbers its tables anew. The reader forgets the old numbers only if the file
                    # before was closed, which one that was killed does not: its tables would be taken for ours.
                    reader.table_map = {}
                else:
                    self._take(event)
        except Exception as error:  # whatever it is, it is told where it can be dealt with
            self.failure = error
        finally:
            for connection in connections:
                _close(connection)

    def _take(self, event: Any) -> None:
        if event is None:
            raise _Ended("the server ended the log")
        if isinstance(event, MariadbGtidEvent | GtidEvent):
            # A statement that is all of its transaction has no end of its own. (MySQL's others begin with BEGIN.)
            flags = event.flags if isinstance(event, MariadbGtidEvent) else _STANDALONE
            self._begin(event.gtid, whole=bool(flags & _STANDALONE), xa=bool(flags & _PREPARED))
        elif isinstance(event, QueryEvent):
            self._query(event)
        elif isinstance(event, XidEvent | XAPrepareEvent):
            self._end()
        elif isinstance(event, NotImplementedEvent):
            if event.event_type in _COMPRESSED:
                raise _Ended("the binary log is compressed, which cannot be read: see `hromada bridges doctor`")
        elif not isinstance(event, HeartbeatLogEvent) and not self._xa:
            self._rows(event)

    def _begin(self, gtid: str, *, whole: bool, xa: bool) -> None:
        self._end()
        if gtid != self._in:
            self._skip = 0
        self._gtid, self._number, self._xa, self._whole = gtid, 0, xa, whole

    def _end(self) -> None:
        """The transaction is done; so it is at the latest when the next begins."""
        if self._gtid:
            self._set.add(self._gtid)
            self._gtid = ""
            self._serial += 1
            self.done = _Done(json.dumps({"gtid": self._set.text}), self._serial)

    def _query(self, event: Any) -> None:
        text = event.query.lstrip()
        head = text[:20].upper()
        if head.startswith(("BEGIN", "XA START")):
            self._whole = False
            self._xa = self._xa or head.startswith("XA")  # nobody knows yet how it ends
        elif head.startswith("XA COMMIT") or re.match(r"DROP\s+(DATABASE|SCHEMA)", head):
            self._put(None)
        elif not head.startswith(_NO_CHANGE) and self._mention.search(text):
            self._put(None)
        if self._whole or head.startswith("COMMIT"):
            self._end()

    def _rows(self, event: Any) -> None:
        ts = event.timestamp * 1000
        for row in event.rows:
            if isinstance(event, UpdateRowsEvent):
                before = (row["before_values"], row["before_none_sources"])
                self._put("update", before, (row["after_values"], row["after_none_sources"]), ts)
            elif isinstance(event, WriteRowsEvent):
                self._put("insert", None, (row["values"], row["none_sources"]), ts)
            else:
                self._put("delete", (row["values"], row["none_sources"]), None, ts)

    def _put(
        self,
        op: Literal["insert", "update", "delete"] | None,
        before: tuple[Mapping[str, Any], Mapping[str, str]] | None = None,
        after: tuple[Mapping[str, Any], Mapping[str, str]] | None = None,
        ts: int = 0,
    ) -> None:
        if op is not None:
            self._number += 1
            if self._number <= self._skip:
                return
        self._serial += 1
        place = json.dumps({"gtid": self._set.text, "in": self._gtid, "skip": self._number})
        found = _Found(place, self._serial, op, f"{self._gtid}/{self._number}", before, after, ts)
        while not self.ended.is_set():
            try:
                return self.found.put(found, timeout=_HEARTBEAT_S)
            except queue.Full:
                continue


def _events() -> list[type]:
    rows = [WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent, PartialUpdateRowsEvent]
    return [
        *rows,
        MariadbGtidEvent,
        GtidEvent,
        QueryEvent,
        RotateEvent,
        XidEvent,
        XAPrepareEvent,
        HeartbeatLogEvent,
        NotImplementedEvent,
    ]


def _close(connection: Any) -> None:
    try:
        connection.close()
    except pymysql.err.Error:  # it was cut
        return


@dataclass(slots=True)
class _GtidSet:
    """Transactions that are done. MariaDB: the last of each domain; MySQL: intervals of each server's."""

    text: str
    maria: bool = field(kw_only=True)

    def add(self, gtid: str) -> None:
        """One more."""
        if not self.maria:
            done = GtidSet(self.text)
            if (one := Gtid(gtid)) not in done:
                done.merge_gtid(one)
            self.text = str(done)
            return
        domains = {one.partition("-")[0]: one for one in self.text.split(",") if one}
        domains[gtid.partition("-")[0]] = gtid
        self.text = ",".join(domains.values())
