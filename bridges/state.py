"""What the bridge remembers, in a database of its own: what is to be sent, what was sent, rooms, rows and ghosts.

Every method is one transaction or a single read; a change captured and the deliveries that it makes are stored
together, before the source is told that they were (docs/bridges/index.md). What has to outlive a power failure waits
for the disk: captured changes and received events. The rest is safe from kill -9 of the bridge, and made again after
worse: it has transaction ids. Each write looks first whether another bridge has taken over (`bridges.database`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bridges.database import Connection, StateAway, StateInUse, StateLost, open_database
from bridges.stored import Delivery, Made, RoomRow, RowState, Stored

__all__ = ["Delivery", "Made", "RoomRow", "RowState", "State", "StateAway", "StateInUse", "StateLost", "Stored"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT, txn TEXT NOT NULL UNIQUE, mapping TEXT NOT NULL, lane TEXT NOT NULL,
    kind TEXT NOT NULL, sender TEXT NOT NULL, content TEXT NOT NULL, ts INTEGER, state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0, error TEXT, event_id TEXT, done_ms INTEGER);
CREATE INDEX IF NOT EXISTS delivery_open ON delivery (lane, id) WHERE state IN ('waiting', 'parked');
CREATE INDEX IF NOT EXISTS delivery_waiting ON delivery (id, lane) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS delivery_troubled ON delivery (state, id) WHERE state IN ('dead', 'parked');
CREATE TABLE IF NOT EXISTS tried (delivery INTEGER PRIMARY KEY, at_ms BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS delivery_done ON delivery (done_ms) WHERE state = 'done';
CREATE TABLE IF NOT EXISTS taken (mapping TEXT NOT NULL, position TEXT NOT NULL, PRIMARY KEY (mapping, position));
CREATE TABLE IF NOT EXISTS progress (mapping TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (mapping, name));
CREATE TABLE IF NOT EXISTS row_state (mapping TEXT NOT NULL, key TEXT NOT NULL, n INTEGER NOT NULL, hash TEXT,
    image TEXT, ahead INTEGER NOT NULL, scan INTEGER NOT NULL, PRIMARY KEY (mapping, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS echo (mapping TEXT NOT NULL, key TEXT NOT NULL, hash TEXT, event_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (mapping, key, event_id));
CREATE TABLE IF NOT EXISTS room (lane TEXT PRIMARY KEY, alias TEXT NOT NULL, name TEXT NOT NULL, topic TEXT NOT NULL,
    archived INTEGER NOT NULL DEFAULT 0, room_id TEXT);
CREATE INDEX IF NOT EXISTS room_by_id ON room (room_id);
CREATE INDEX IF NOT EXISTS room_by_alias ON room (alias);
CREATE TABLE IF NOT EXISTS sent ({numbered}lane TEXT NOT NULL, event_id TEXT NOT NULL, PRIMARY KEY (lane, event_id));
CREATE TABLE IF NOT EXISTS ghost (user_id TEXT PRIMARY KEY, name TEXT, avatar TEXT);
CREATE TABLE IF NOT EXISTS space (alias TEXT PRIMARY KEY, room_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS linked (mxid TEXT PRIMARY KEY, users TEXT NOT NULL, key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS member (lane TEXT NOT NULL, user_id TEXT NOT NULL, PRIMARY KEY (lane, user_id));
CREATE TABLE IF NOT EXISTS txn (txn_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS txn_by_age ON txn (at_ms);
CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, body TEXT,
    at_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS inbox_open ON inbox (id) WHERE body IS NOT NULL;
CREATE INDEX IF NOT EXISTS inbox_by_age ON inbox (at_ms) WHERE body IS NULL;
"""
_LARGEST_EVENT = 256 * 1024
_PAGE = 200


class State:
    """The open state. One bridge at a time; `shared` is for looking in and for small changes beside it."""

    def __init__(self, at: Path | str, *, shared: bool = False) -> None:
        """`at` is a file (SQLite) or a URL of PostgreSQL. Raises StateInUse, StateAway."""
        self._database = open_database(at, shared=shared)
        self._db = self._database.db
        self.define(_SCHEMA.replace("{numbered}", self._database.numbered))

    def close(self) -> None:
        """Let go of it."""
        self._database.close()

    def define(self, schema: str) -> None:
        """Make tables that are missing: those of `schema`, in SQLite's words. Raises StateAway."""
        self._database.define(schema)

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[Connection]:
        """All or nothing; `durable` waits for the disk.

        Raises StateInUse if another bridge has taken over, StateAway: then it may have happened or not.
        """
        return self._database.transaction(durable=durable)

    def _write(self, sql: str, values: Sequence[Any]) -> int:
        """One statement; how many rows it changed."""
        with self.transaction() as db:
            return db.execute(sql, values).rowcount

    # ---- capture ----

    def taken(self, mapping: str) -> set[str]:
        """Positions of changes that are stored here, while the source may not have been told."""
        return {row[0] for row in self._db.execute("SELECT position FROM taken WHERE mapping = ?", (mapping,))}

    def store(self, mapping: str, what: Stored) -> None:
        """Store captured changes and what they make, together."""
        with self.transaction(durable=True) as db:
            db.executemany(
                "INSERT INTO taken VALUES (?, ?) ON CONFLICT DO NOTHING", [(mapping, place) for place in what.taken]
            )
            db.executemany(
                "INSERT INTO room (lane, alias, name, topic, archived) VALUES (?, ?, ?, ?, ?) ON CONFLICT (lane) "
                "DO UPDATE SET name = excluded.name, topic = excluded.topic, archived = excluded.archived",
                [(room.lane, room.alias, room.name, room.topic, int(room.archived)) for room in what.rooms.values()],
            )
            db.executemany(
                "INSERT INTO row_state VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (mapping, key) DO UPDATE SET "
                "n = excluded.n, hash = excluded.hash, image = excluded.image, ahead = excluded.ahead, "
                "scan = CASE WHEN row_state.scan > excluded.scan THEN row_state.scan ELSE excluded.scan END",
                [
                    (mapping, r.key, r.n, r.hash, None if r.image is None else _dump(r.image), int(r.ahead), r.scan)
                    for r in what.rows.values()
                ],
            )
            db.executemany(
                "DELETE FROM echo WHERE mapping = ? AND key = ? AND event_id = ?",
                [(mapping, key, event) for key, event in what.echoes],
            )
            self._insert(db, what.deliveries)
            self._note(db, mapping, what.progress)

    def _insert(self, db: Connection, deliveries: Iterable[Delivery]) -> None:
        db.executemany(
            "INSERT INTO delivery (txn, mapping, lane, kind, sender, content, ts, state, error) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [_row(delivery) for delivery in deliveries],
        )

    def _note(self, db: Connection, mapping: str, values: Mapping[str, str]) -> None:
        rows = [(mapping, name, value) for name, value in values.items()]
        db.executemany(
            "INSERT INTO progress VALUES (?, ?, ?) ON CONFLICT (mapping, name) DO UPDATE SET value = excluded.value",
            rows,
        )

    def forget_taken(self, mapping: str) -> None:
        """The source has been told."""
        self._write("DELETE FROM taken WHERE mapping = ?", (mapping,))

    def progress(self, mapping: str) -> dict[str, str]:
        """What a mapping notes about itself: `position`, `scan`, `paused` …"""
        return dict(self._db.execute("SELECT name, value FROM progress WHERE mapping = ?", (mapping,)).fetchall())

    def note(self, mapping: str, **values: str | None) -> None:
        """Change what a mapping notes about itself; None forgets it."""
        with self.transaction() as db:
            self._note(db, mapping, {name: value for name, value in values.items() if value is not None})
            gone = [(mapping, name) for name, value in values.items() if value is None]
            db.executemany("DELETE FROM progress WHERE mapping = ? AND name = ?", gone)

    def row(self, mapping: str, key: str) -> RowState | None:
        """A row as it was last seen."""
        row = self._db.execute(
            "SELECT key, n, hash, image, ahead, scan FROM row_state WHERE mapping = ? AND key = ?", (mapping, key)
        ).fetchone()
        return None if row is None else _row_state(row)

    def clear_ahead(self, mapping: str) -> None:
        """The log has told everything from before the scan."""
        with self.transaction() as db:
            db.execute("UPDATE row_state SET ahead = 0 WHERE mapping = ? AND ahead <> 0", (mapping,))
            db.execute("DELETE FROM progress WHERE mapping = ? AND name = 'ahead'", (mapping,))

    def met(self, mapping: str, keys: Iterable[str], scan: int) -> None:
        """A scan has met these rows."""
        with self.transaction() as db:
            db.executemany(
                "UPDATE row_state SET scan = ? WHERE mapping = ? AND key = ?", [(scan, mapping, key) for key in keys]
            )

    def not_met(self, mapping: str, scan: int, after: str, limit: int) -> list[str]:
        """Keys of rows that are there as far as we know, and that the scan has not met; in our own order."""
        rows = self._db.execute(
            "SELECT key FROM row_state WHERE mapping = ? AND key > ? AND scan < ? AND hash IS NOT NULL "
            "ORDER BY key LIMIT ?",
            (mapping, after, scan, limit),
        )
        return [row[0] for row in rows]

    def expect_echo(self, mapping: str, key: str, image_hash: str | None, event_id: str) -> None:
        """A write of ours will come back as a change."""
        with self.transaction(durable=True) as db:
            at = int(time.time() * 1000)
            db.execute(
                "INSERT INTO echo VALUES (?, ?, ?, ?, ?) ON CONFLICT (mapping, key, event_id) "
                "DO UPDATE SET hash = excluded.hash, at_ms = excluded.at_ms",
                (mapping, key, image_hash, event_id, at),
            )

    def forget_echo(self, mapping: str, event_id: str) -> None:
        """It will not."""
        self._write("DELETE FROM echo WHERE mapping = ? AND event_id = ?", (mapping, event_id))

    def expects_echoes(self, mapping: str) -> bool:
        """Whether anything that we wrote is still to come back."""
        return self._db.execute("SELECT 1 FROM echo WHERE mapping = ? LIMIT 1", (mapping,)).fetchone() is not None

    def echoes(self, mapping: str, key: str) -> list[tuple[str | None, str]]:
        """Hash and event id of what we wrote and did not see come back."""
        return self._db.execute(
            "SELECT hash, event_id FROM echo WHERE mapping = ? AND key = ? ORDER BY at_ms", (mapping, key)
        ).fetchall()

    def waiting(self) -> int:
        """How many deliveries are not made yet."""
        return int(self._db.execute("SELECT count(*) FROM delivery WHERE state IN ('waiting', 'parked')").fetchone()[0])

    # ---- delivery ----

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Something to do that no change asks for."""
        with self.transaction() as db:
            self._insert(db, deliveries)

    def lanes(self, but: Collection[str], limit: int) -> list[str]:
        """Lanes that have something to do, those waiting longest first. A parked delivery holds up its lane."""
        if limit <= 0:
            return []
        parked = self._db.execute("SELECT DISTINCT lane FROM delivery WHERE state = 'parked'")
        passed = {*but, *(row[0] for row in parked)}
        found: list[str] = []
        after = 0
        while True:
            page = self._db.execute(
                "SELECT id, lane FROM delivery WHERE state = 'waiting' AND id > ? ORDER BY id LIMIT ?", (after, _PAGE)
            ).fetchall()
            for after, lane in page:  # noqa: B007 - the last one is where the next page begins
                if lane not in passed:
                    passed.add(lane)
                    found.append(lane)
                    if len(found) == limit:
                        return found
            if len(page) < _PAGE:
                return found

    def heads(self, lane: str, limit: int) -> list[Delivery]:
        """What is to be done next in a lane, one after the other; nothing behind what is parked."""
        rows = self._db.execute(
            "SELECT txn, mapping, lane, kind, sender, content, ts, id, attempts, at_ms, state FROM delivery "
            "LEFT JOIN tried ON delivery = id WHERE lane = ? AND state IN ('waiting', 'parked') ORDER BY id LIMIT ?",
            (lane, limit),
        )
        found: list[Delivery] = []
        for txn, mapping, name, kind, sender, content, ts, id_, attempts, tried_ms, state in rows.fetchall():
            if state == "parked":
                break
            found.append(Delivery(txn, mapping, name, kind, sender, json.loads(content), ts, id_, attempts, tried_ms))
        return found

    def settle(self, delivery: Delivery, state: str, error: str) -> None:
        """How a delivery ended that was not made: `dead` or `parked`; or `waiting`, to be tried again."""
        with self.transaction() as db:
            if state == "waiting":  # nobody knows whether it was made
                now = int(time.time() * 1000)
                db.execute("INSERT INTO tried VALUES (?, ?) ON CONFLICT DO NOTHING", (delivery.id, now))
            db.execute(
                "UPDATE delivery SET state = ?, error = ?, attempts = attempts + 1, done_ms = ? WHERE id = ?",
                (state, _text(error), int(time.time() * 1000), delivery.id),
            )

    def settle_made(self, made: Sequence[Made]) -> None:
        """These are done."""
        now = int(time.time() * 1000)
        with self.transaction() as db:
            db.executemany(
                "UPDATE delivery SET state = 'done', event_id = ?, error = NULL, attempts = attempts + 1, done_ms = ? "
                "WHERE id = ?",
                [(one.event_id, now, one.delivery.id) for one in made],
            )
            db.executemany(
                "INSERT INTO sent (lane, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(one.delivery.lane, one.event_id) for one in made if one.keep and one.event_id is not None],
            )
            tried = [(one.delivery.id,) for one in made if one.delivery.tried_ms is not None]
            db.executemany("DELETE FROM tried WHERE delivery = ?", tried)

    def newest_open(self) -> int:
        """The number of the delivery that came last of those that are not made; 0 if all are."""
        newest = "SELECT coalesce(max(id), 0) FROM delivery WHERE state <> 'done'"
        return int(self._db.execute(newest).fetchone()[0])

    def oldest_open(self) -> int:
        """That of the first of them; 0 if all are made."""
        oldest = "SELECT coalesce(min(id), 0) FROM delivery WHERE state <> 'done'"
        return int(self._db.execute(oldest).fetchone()[0])

    def last_made(self, lane: str) -> tuple[str, str] | None:
        """The event that was sent last of a lane, and who sent it."""
        row = self._db.execute(
            "SELECT event_id, sender FROM delivery WHERE lane = ? AND state = 'done' AND event_id IS NOT NULL "
            "ORDER BY id DESC LIMIT 1",
            (lane,),
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def sent(self, lane: str) -> list[str]:
        """Events of a lane that are to be redacted with its row."""
        order = self._database.arrival
        statement = f"SELECT event_id FROM sent WHERE lane = ? ORDER BY {order}"  # noqa: S608 - one of two constants
        rows = self._db.execute(statement, (lane,))
        return [row[0] for row in rows]

    def forget_sent(self, lane: str, event_id: str) -> None:
        """It is redacted."""
        self._write("DELETE FROM sent WHERE lane = ? AND event_id = ?", (lane, event_id))

    def prune(self, before_ms: int) -> None:
        """Forget what was done before that time."""
        with self.transaction() as db:
            db.execute("DELETE FROM delivery WHERE state = 'done' AND done_ms < ?", (before_ms,))
            db.execute("DELETE FROM txn WHERE at_ms < ?", (before_ms,))
            db.execute(
                "DELETE FROM tried WHERE NOT EXISTS "
                "(SELECT 1 FROM delivery WHERE id = tried.delivery AND delivery.state <> 'done')"
            )
            db.execute("DELETE FROM inbox WHERE body IS NULL AND at_ms < ?", (before_ms,))
            db.execute("DELETE FROM echo WHERE at_ms < ?", (before_ms,))

    def troubles(self) -> list[tuple[int, str, str, str, str]]:
        """Deliveries that failed for good or hold up their lane: id, state, mapping, lane, error."""
        return self._db.execute(
            "SELECT id, state, mapping, lane, coalesce(error, '') FROM delivery "
            "WHERE state IN ('dead', 'parked') ORDER BY id LIMIT 1000"
        ).fetchall()

    def retry(self, id_: int) -> bool:
        """Try one of `troubles` again; whether there was one. What could not be rendered cannot be tried again."""
        changed = self._write(
            "UPDATE delivery SET state = 'waiting', attempts = 0 "
            "WHERE id = ? AND state IN ('dead', 'parked') AND kind <> 'failed'",
            (id_,),
        )
        return changed == 1

    def drop(self, id_: int) -> bool:
        """Give one of `troubles` up; whether there was one."""
        changed = self._write("DELETE FROM delivery WHERE id = ? AND state IN ('dead', 'parked')", (id_,))
        return changed == 1

    # ---- from rooms ----

    def receive(self, txn_id: str, events: Sequence[Mapping[str, Any]]) -> int:
        """Store a transaction; how many of its events are new. The same transaction, or event, counts once."""
        now = int(time.time() * 1000)
        with self.transaction(durable=True) as db:
            if not db.execute("INSERT INTO txn VALUES (?, ?) ON CONFLICT DO NOTHING", (txn_id, now)).rowcount:
                return 0
            new = 0
            for event in events:
                event_id, body = event.get("event_id"), _dump(event)
                if isinstance(event_id, str) and len(event_id) <= 255 and len(body) <= _LARGEST_EVENT:
                    row = (event_id, body, now)
                    new += db.execute(
                        "INSERT INTO inbox (event_id, body, at_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row
                    ).rowcount
            return new

    def inbox(self, limit: int, after: int = 0) -> list[tuple[int, dict[str, Any]]]:
        """Events that were received and not handled, oldest first, behind one of them."""
        rows = self._db.execute(
            "SELECT id, body FROM inbox WHERE body IS NOT NULL AND id > ? ORDER BY id LIMIT ?", (after, limit)
        )
        return [(id_, json.loads(body)) for id_, body in rows]

    def handled(self, ids: Sequence[int], answers: Iterable[Delivery] = ()) -> None:
        """Events are handled, and these are the answers to them."""
        with self.transaction() as db:
            db.executemany("UPDATE inbox SET body = NULL WHERE id = ?", [(id_,) for id_ in ids])
            self._insert(db, answers)

    # ---- rooms and ghosts ----

    def room(self, lane: str) -> RoomRow | None:
        """The room of a lane."""
        return self._room("lane", lane)

    def room_by_id(self, room_id: str) -> RoomRow | None:
        """The lane of a room."""
        return self._room("room_id", room_id)

    def room_by_alias(self, alias: str) -> RoomRow | None:
        """A room by the local part of its alias; None before it is made."""
        found = self._room("alias", alias)
        return found if found is not None and found.room_id is not None else None

    def _room(self, column: str, value: str) -> RoomRow | None:
        row = self._db.execute(
            f"SELECT lane, alias, name, topic, archived, room_id FROM room WHERE {column} = ?",  # noqa: S608 - constants
            (value,),
        ).fetchone()
        if row is None:
            return None
        lane, alias, name, topic, archived, room_id = row
        return RoomRow(lane, alias, name, topic, bool(archived), room_id)

    def made_room(self, lane: str, room_id: str) -> None:
        """The room of a lane is there."""
        self._write("UPDATE room SET room_id = ? WHERE lane = ?", (room_id, lane))

    def space(self, alias: str) -> str | None:
        """The room id of a space."""
        row = self._db.execute("SELECT room_id FROM space WHERE alias = ?", (alias,)).fetchone()
        return None if row is None else str(row[0])

    def made_space(self, alias: str, room_id: str) -> None:
        """The space is there."""
        self._write(
            "INSERT INTO space VALUES (?, ?) ON CONFLICT (alias) DO UPDATE SET room_id = excluded.room_id",
            (alias, room_id),
        )

    def has_ghost(self, user_id: str) -> bool:
        """Whether the user is registered and has its device."""
        return self._db.execute("SELECT 1 FROM ghost WHERE user_id = ?", (user_id,)).fetchone() is not None

    def made_ghost(self, user_id: str) -> None:
        """The user is registered and has its device."""
        self._write("INSERT INTO ghost (user_id) VALUES (?) ON CONFLICT DO NOTHING", (user_id,))

    def profile(self, user_id: str) -> tuple[str | None, str | None]:
        """The display name and avatar that the ghost was given."""
        row = self._db.execute("SELECT name, avatar FROM ghost WHERE user_id = ?", (user_id,)).fetchone()
        return (None, None) if row is None else (row[0], row[1])

    def set_profile(self, user_id: str, name: str | None, avatar: str | None) -> None:
        """The ghost has them now."""
        self._write("UPDATE ghost SET name = ?, avatar = ? WHERE user_id = ?", (name, avatar, user_id))

    def linked(self, mxid: str) -> str | None:
        """The key of the row of a users' table that a real account belongs to."""
        row = self._db.execute("SELECT key FROM linked WHERE mxid = ?", (mxid,)).fetchone()
        return None if row is None else str(row[0])

    def is_member(self, lane: str, user_id: str) -> bool:
        """Whether the user has joined the room of the lane."""
        found = self._db.execute("SELECT 1 FROM member WHERE lane = ? AND user_id = ?", (lane, user_id))
        return found.fetchone() is not None

    def set_member(self, lane: str, user_id: str, joined: bool) -> None:
        """The user has joined the room of the lane, or may have left it."""
        statement = "INSERT INTO member (lane, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._write(statement if joined else "DELETE FROM member WHERE lane = ? AND user_id = ?", (lane, user_id))


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _text(error: object) -> str:
    """What was said of a fault, as every database can keep it."""
    return str(error).replace("\0", "\ufffd")


def _row_state(row: tuple[Any, ...]) -> RowState:
    key, n, hash_, image, ahead, scan = row
    return RowState(key, n, hash_, None if image is None else json.loads(image), bool(ahead), scan)


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
        _text(error) if error else None,
    )
