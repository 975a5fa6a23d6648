"""What the bridge remembers, in an SQLite file of its own: what is to be sent, what was sent, rooms and ghosts.

Every method is one transaction or a single read; a change captured and the deliveries that it makes are stored
together, before the source is told that they were (docs/bridges/index.md). The calls block for the length of one
fsync: the process has nothing else to do for them to hold up.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT, txn TEXT NOT NULL UNIQUE, mapping TEXT NOT NULL, lane TEXT NOT NULL,
    kind TEXT NOT NULL, sender TEXT NOT NULL, content TEXT NOT NULL, ts INTEGER, state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0, error TEXT, event_id TEXT, done_ms INTEGER);
CREATE INDEX IF NOT EXISTS delivery_open ON delivery (lane, id) WHERE state IN ('waiting', 'parked');
CREATE INDEX IF NOT EXISTS delivery_done ON delivery (done_ms) WHERE state = 'done';
CREATE TABLE IF NOT EXISTS taken (mapping TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (mapping, seq));
CREATE TABLE IF NOT EXISTS room (lane TEXT PRIMARY KEY, alias TEXT NOT NULL, name TEXT NOT NULL, topic TEXT NOT NULL,
    archived INTEGER NOT NULL DEFAULT 0, room_id TEXT);
CREATE TABLE IF NOT EXISTS ghost (user_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS member (lane TEXT NOT NULL, user_id TEXT NOT NULL, PRIMARY KEY (lane, user_id));
"""


class StateInUse(Exception):
    """Another bridge runs on this file."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something to do at the homeserver, once."""

    txn: str
    mapping: str
    lane: str
    """Deliveries of one lane are made one after the other: it is the room of one row."""
    kind: str
    """`room`, `open`, `archive`, or the type of the event to send; of state with `state:` before it."""
    sender: str
    content: dict[str, Any]
    ts: int | None = None
    id: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class RoomRow:
    """The room of a lane as it was last rendered."""

    lane: str
    alias: str
    name: str
    topic: str
    archived: bool = False
    room_id: str | None = None


class State:
    """The open file. One process at a time."""

    def __init__(self, path: Path) -> None:
        """Raises StateInUse."""
        self._lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StateInUse(f"{path}: another bridge uses this file") from None
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ---- capture ----

    def taken(self, mapping: str) -> set[int]:
        """Sequence numbers of changes that are stored here, while the source may not have been told."""
        return {row[0] for row in self._db.execute("SELECT seq FROM taken WHERE mapping = ?", (mapping,))}

    def take(self, mapping: str, seqs: Iterable[int], deliveries: Sequence[Delivery], rooms: Iterable[RoomRow]) -> None:
        """Store captured changes and what they make, together."""
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO taken (mapping, seq) VALUES (?, ?)", [(mapping, seq) for seq in seqs])
            db.executemany(
                "INSERT INTO room (lane, alias, name, topic, archived) VALUES (?, ?, ?, ?, ?) ON CONFLICT (lane) "
                "DO UPDATE SET name = excluded.name, topic = excluded.topic, archived = excluded.archived",
                [(room.lane, room.alias, room.name, room.topic, room.archived) for room in rooms],
            )
            db.executemany(
                "INSERT OR IGNORE INTO delivery (txn, mapping, lane, kind, sender, content, ts, state, error) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(delivery) for delivery in deliveries],
            )

    def forget_taken(self, mapping: str, seqs: Iterable[int]) -> None:
        """The source has been told."""
        with self._transaction() as db:
            db.executemany("DELETE FROM taken WHERE mapping = ? AND seq = ?", [(mapping, seq) for seq in seqs])

    def waiting(self) -> int:
        """How many deliveries are not made yet."""
        return int(self._db.execute("SELECT count(*) FROM delivery WHERE state IN ('waiting', 'parked')").fetchone()[0])

    # ---- delivery ----

    def lanes(self, but: Collection[str], limit: int) -> list[str]:
        """Lanes that have something to do, those waiting longest first. A parked delivery holds up its lane."""
        rows = self._db.execute(
            "SELECT lane, min(id) FROM delivery WHERE state IN ('waiting', 'parked') GROUP BY lane "
            "HAVING max(state = 'parked') = 0 ORDER BY 2"
        )
        return [lane for lane, _ in rows if lane not in but][:limit]

    def head(self, lane: str) -> Delivery | None:
        """What is to be done next in a lane; None if nothing is, or it is parked."""
        row = self._db.execute(
            "SELECT txn, mapping, lane, kind, sender, content, ts, id, attempts, state FROM delivery "
            "WHERE lane = ? AND state IN ('waiting', 'parked') ORDER BY id LIMIT 1",
            (lane,),
        ).fetchone()
        if row is None or row[9] == "parked":
            return None
        txn, mapping, lane, kind, sender, content, ts, id_, attempts, _ = row
        return Delivery(txn, mapping, lane, kind, sender, json.loads(content), ts, id_, attempts)

    def settle(self, delivery: Delivery, state: str, *, event_id: str | None = None, error: str | None = None) -> None:
        """How a delivery ended: `done`, `dead` or `parked`; or `waiting`, to be tried again."""
        self._db.execute(
            "UPDATE delivery SET state = ?, event_id = ?, error = ?, attempts = attempts + 1, done_ms = ? WHERE id = ?",
            (state, event_id, error, int(time.time() * 1000), delivery.id),
        )

    def prune(self, before_ms: int) -> None:
        """Forget what was done before that time."""
        self._db.execute("DELETE FROM delivery WHERE state = 'done' AND done_ms < ?", (before_ms,))

    def troubles(self) -> list[tuple[int, str, str, str, str]]:
        """Deliveries that failed for good or hold up their lane: id, state, mapping, lane, error."""
        return self._db.execute(
            "SELECT id, state, mapping, lane, coalesce(error, '') FROM delivery "
            "WHERE state IN ('dead', 'parked') ORDER BY id LIMIT 1000"
        ).fetchall()

    def retry(self, id_: int) -> bool:
        """Try one of `troubles` again; whether there was one."""
        changed = self._db.execute(
            "UPDATE delivery SET state = 'waiting', attempts = 0 WHERE id = ? AND state IN ('dead', 'parked')", (id_,)
        )
        return changed.rowcount == 1

    def drop(self, id_: int) -> bool:
        """Give one of `troubles` up; whether there was one."""
        changed = self._db.execute("DELETE FROM delivery WHERE id = ? AND state IN ('dead', 'parked')", (id_,))
        return changed.rowcount == 1

    # ---- rooms and ghosts ----

    def room(self, lane: str) -> RoomRow | None:
        """The room of a lane."""
        row = self._db.execute(
            "SELECT lane, alias, name, topic, archived, room_id FROM room WHERE lane = ?", (lane,)
        ).fetchone()
        if row is None:
            return None
        lane, alias, name, topic, archived, room_id = row
        return RoomRow(lane, alias, name, topic, bool(archived), room_id)

    def made_room(self, lane: str, room_id: str) -> None:
        """The room of a lane is there."""
        self._db.execute("UPDATE room SET room_id = ? WHERE lane = ?", (room_id, lane))

    def has_ghost(self, user_id: str) -> bool:
        """Whether the user is registered and has its device."""
        return self._db.execute("SELECT 1 FROM ghost WHERE user_id = ?", (user_id,)).fetchone() is not None

    def made_ghost(self, user_id: str) -> None:
        """The user is registered and has its device."""
        self._db.execute("INSERT OR IGNORE INTO ghost (user_id) VALUES (?)", (user_id,))

    def is_member(self, lane: str, user_id: str) -> bool:
        """Whether the user has joined the room of the lane."""
        found = self._db.execute("SELECT 1 FROM member WHERE lane = ? AND user_id = ?", (lane, user_id))
        return found.fetchone() is not None

    def set_member(self, lane: str, user_id: str, joined: bool) -> None:
        """The user has joined the room of the lane, or may have left it."""
        statement = "INSERT OR IGNORE INTO member (lane, user_id) VALUES (?, ?)"
        self._db.execute(statement if joined else "DELETE FROM member WHERE lane = ? AND user_id = ?", (lane, user_id))


def _row(delivery: Delivery) -> tuple[Any, ...]:
    # A change that could not be rendered is dead from the start: its content says why.
    error = delivery.content.get("error") if delivery.kind == "failed" else None
    return (
        delivery.txn,
        delivery.mapping,
        delivery.lane,
        delivery.kind,
        delivery.sender,
        json.dumps(delivery.content),
        delivery.ts,
        "dead" if error else "waiting",
        error,
    )
