"""What is read, compared with what was seen, and stored: the difference, and what it makes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from bridges import metrics
from bridges.config import Config
from bridges.mapper import Event, Mapper, image_hash
from bridges.sources import Change, Key, Row, key_text
from bridges.state import RowState, State, Stored


class Recorder:
    """Compares what is read with what was seen, and stores both the difference and what it makes."""

    def __init__(self, config: Config, name: str, state: State) -> None:
        self._name, self._state = name, state
        self._mapping = config.mapping[name]
        self.mapper = Mapper(config, name)
        self._echoes = False

    def record(self, changes: Sequence[Change], progress: dict[str, str], scan: int = 0) -> Stored:
        """Store changes with where to read on; what was stored. Those that are stored already are passed over."""
        what = Stored(progress=progress)
        taken = self._state.taken(self._name)
        new = [change for change in changes if not change.position or change.position not in taken]
        self._echoes = self._state.expects_echoes(self._name)
        what.taken = [change.position for change in new if change.position]
        for change in self._latest(new) if self._mapping.deliver == "latest" else new:
            self._change(what, change, scan)
        self.keep(what)
        metrics.CAPTURED.labels(self._name).inc(len(new))
        if new and new[-1].ts is not None and not scan:
            metrics.LAG.labels(self._name).set(max(0.0, time.time() - new[-1].ts / 1000))
        return what

    def keep(self, what: Stored) -> None:
        """Store it; what cannot be rendered is dead from the start, and counted as such."""
        self._state.store(self._name, what)
        if failed := sum(delivery.kind == "failed" for delivery in what.deliveries):
            metrics.DELIVERIES.labels("dead").inc(failed)

    def _latest(self, changes: Sequence[Change]) -> list[Change]:
        last: dict[str, Change] = {}
        for change in changes:
            if change.old_key is not None and (gone := last.pop(key_text(change.old_key), None)) is not None:
                last[key_text(change.old_key)] = replace(gone, op="seen", new=None)
            key = key_text(change.key)
            last.pop(key, None)
            last[key] = replace(change, op="seen") if change.old_key is None else change
        return list(last.values())

    def known(self, what: Stored, key: str) -> RowState | None:
        """A row as it was last seen, what is being stored included."""
        return what.rows.get(key) or self._state.row(self._name, key)

    def _change(self, what: Stored, change: Change, scan: int) -> None:
        if change.old_key is not None:  # the row has become another one, in another room
            before = self.known(what, key_text(change.old_key))
            new = self._whole(change, before)
            self._change(what, Change(change.position, "delete", change.old_key, None, change.old, ts=change.ts), scan)
            change = replace(change, op="insert", new=new, old=None, old_key=None, unchanged=frozenset())
        key = key_text(change.key)
        known = self.known(what, key)
        new = self._whole(change, known)
        if change.op == "seen":
            old: Row | None = None if known is None or known.hash is None else known.image
            hash_ = image_hash(new)
            if hash_ == (None if known is None else known.hash):
                return
            position = f"{0 if known is None else known.n}:{hash_}"
            quiet = self._echo(what, key, hash_, every=True)
        else:
            old, hash_ = self._before(change, known), image_hash(new)
            if self._is_old_news(what, change, known, old, hash_):
                return
            position = change.position
            quiet = self._echo(what, key, hash_, every=False)
        event = Event(position, old, new, change.ts, quiet, change.op == "update")
        self._tell(what, key, known, event, hash_, scan)

    def _tell(self, what: Stored, key: str, known: RowState | None, event: Event, hash_: str | None, scan: int) -> None:
        n = 1 if known is None else known.n + 1
        what.rows[key] = RowState(key, n, hash_, event.new, bool(scan), scan)
        lane = f"{self._name}:{key}"
        made, room = self.mapper.deliveries(event, what.rooms.get(lane) or self._state.room(lane))
        what.deliveries += made
        if room is not None:
            what.rooms[lane] = room

    def _whole(self, change: Change, known: RowState | None) -> Row | None:
        new = change.new
        if new is not None and change.unchanged:
            image = (known.image if known is not None else None) or change.old or {}
            new = {**new, **{column: image.get(column) for column in change.unchanged}}
        return new if self._mapping.predicate.holds(new) else None

    def _before(self, change: Change, known: RowState | None) -> Row | None:
        if change.op == "insert":
            return None
        if change.old is not None:
            return change.old if self._mapping.predicate.holds(change.old) else None
        return known.image if known is not None else None

    def _is_old_news(
        self, what: Stored, change: Change, known: RowState | None, old: Row | None, hash_: str | None
    ) -> bool:
        """A change that a scan has seen the end of, or in no column of ours."""
        if known is None:
            return old is None and hash_ is None
        if hash_ == known.hash:
            if known.ahead:
                what.rows[known.key] = replace(known, ahead=False)
            return True
        # The scan saw the row as it was later than this change.
        return known.ahead and (change.op == "insert" or change.old is not None) and image_hash(old) != known.hash

    def _echo(self, what: Stored, key: str, hash_: str | None, *, every: bool) -> bool:
        """Whether a change is what we wrote ourselves."""
        for expected, event_id in self._state.echoes(self._name, key) if self._echoes else ():
            found = (key, event_id) in what.echoes
            if expected == hash_ and not found:
                what.echoes.append((key, event_id))
                return True
            if every and not found:  # a look at the row cannot see what it was in between
                what.echoes.append((key, event_id))
        return False

    def silent(self, what: Stored, key: Key, row: Row, scan: int) -> None:
        """A row that was there before: it is remembered, and nobody is told."""
        text = key_text(key)
        what.rows[text] = RowState(text, 1, image_hash(row), row, True, scan)

    def insert(self, what: Stored, key: Key, row: Row, ts: int | None, scan: int) -> None:
        """A row that was there before: it is told as if it were new."""
        text, hash_ = key_text(key), image_hash(row)
        known = self.known(what, text)
        event = Event(f"{0 if known is None else known.n}:{hash_}", None, row, ts)
        self._tell(what, text, known, event, hash_, scan)
