"""From committed changes to deliveries: follow a feed, compare with what was seen, store, acknowledge.

The order is fixed: read, store here in one transaction, acknowledge to the source. Whatever ends the process between
two of these steps, the change is read again or acknowledged again, and is not stored twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from bridges import metrics
from bridges.config import Config, seconds
from bridges.faults import reach
from bridges.record import Recorder
from bridges.scans import Scanner
from bridges.sources import Batch, Gap, Keeping, Source, SourceUnavailable, Watched
from bridges.sources.examine import RETAINED_LIMIT
from bridges.state import State, Stored

_LONGEST_WAIT_S = 30.0
_PAUSED_POLL_S = 1.0
_MEASURE_S = 15.0
_log = structlog.get_logger(__name__)

Notify = Callable[[str, str], None]


class Capture:
    """Follows one mapping. `run` ends when it is cancelled, and at nothing else."""

    def __init__(self, config: Config, name: str, state: State, source: Source, stored: Callable[[], None]) -> None:
        """`stored` is called when there is something to deliver. Raises ConfigError."""
        self._name, self._state, self._stored = name, state, stored
        self._mapping = config.mapping[name]
        self._source = source
        self._recorder = Recorder(config, name, state)
        self._scanner = Scanner(config, name, state, source, self._recorder)
        self._feed = source.feed(name)
        self._open = False
        self._paused = self._full = False
        self._drained = False
        capture = self._mapping.capture
        self._poll, self._batch, self._most = seconds(capture.poll), capture.batch, config.appservice.max_queue
        self.notify: Notify = lambda _mapping, _text: None
        self._down_since: float | None = None
        self._measured, self._much = -_MEASURE_S, False
        self._read_at, self._held = time.monotonic(), False

    async def run(self) -> None:
        """Until cancelled."""
        wait = self._poll
        while True:
            mark = self._source.mark() if isinstance(self._source, Watched) else 0
            try:
                more = await self.step()
                wait = self._poll
                self._up()
            except SourceUnavailable as error:
                more, wait = False, min(max(wait, 0.05) * 2, _LONGEST_WAIT_S)
                self._down(error, wait)
            if self._paused:
                await asyncio.sleep(_PAUSED_POLL_S)
            elif not more and wait == self._poll and self._may_idle() and isinstance(self._source, Watched):
                await self._source.idle(mark, wait)
            elif not more:
                await asyncio.sleep(wait)

    def _may_idle(self) -> bool:
        # A horizon moves with the end of transactions that write nothing, too.
        return not self._full and self._mapping.capture.mode != "horizon"

    def _up(self) -> None:
        metrics.SOURCE_UP.labels(self._name).set(1)
        if self._down_since is not None and time.monotonic() - self._down_since > 60:
            self.notify(self._name, "The database answers again.")
        self._down_since = None

    def _down(self, error: SourceUnavailable, wait: float) -> None:
        metrics.SOURCE_UP.labels(self._name).set(0)
        _log.warning("source_unavailable", mapping=self._name, error=str(error), again_in=wait)
        if self._down_since is None:
            self._down_since = time.monotonic()
        elif time.monotonic() - self._down_since > 60:
            self.notify(self._name, f"The database does not answer: {error}")

    async def _measure(self) -> None:
        """Now and then, also while nothing is read: then it grows."""
        if not isinstance(self._feed, Keeping) or time.monotonic() - self._measured < _MEASURE_S:
            return
        self._measured = time.monotonic()
        with suppress(SourceUnavailable):  # who reads says so
            if (kept := await self._feed.retained()) is None:
                self._measured = -_MEASURE_S  # it is not open yet
                return
            metrics.RETAINED.labels(self._name).set(kept)
            much, self._much = self._much, kept >= RETAINED_LIMIT
            if self._much and not much:  # once: a mapping is heard of once an hour, and may have more to say
                text = f"The database keeps {kept >> 20} MiB for the bridge. See `hromada bridges doctor`."
                self.notify(self._name, text)

    async def step(self) -> bool:
        """Read, store, acknowledge; whether there may be more at once. Raises SourceUnavailable.

        With too much waiting for the homeserver nothing is read: the source keeps it.
        """
        notes = self._state.progress(self._name)
        if self._paused != ("paused" in notes):
            self._paused = not self._paused
            metrics.PAUSED.labels(self._name).set(self._paused)
        self._full = self._state.waiting() >= self._most
        await self._measure()
        if self._paused or self._full:
            # So old may be by now what the source has for us.
            metrics.LAG.labels(self._name).set(time.monotonic() - self._read_at)
            self._held = True
            return False
        try:
            if not self._open:
                notes["position"] = await self._feed.open(notes.get("position"))
                self._state.note(self._name, position=notes["position"])
                self._open = True
            scanned = await self._scanner.step(notes, drained=self._drained)
            if scanned is not None:
                self._stored()
            if scanned == "backfill":
                self._drained = False
                return True
            notes = self._state.progress(self._name)
            batch = await self._feed.read(notes["position"], self._batch)
            self._drained = not batch.more
            self._caught_up(batch)
            if batch.changes:
                reach("read")
        except Gap as gap:
            await self._start_anew(gap)
            return True
        more = await self._take(batch, notes["position"])
        if self._drained and "ahead" in notes:
            self._state.clear_ahead(self._name)
        return more or scanned is not None

    def _caught_up(self, batch: Batch) -> None:
        """It was read: what there is to be told of an age is told by the changes."""
        self._read_at = time.monotonic()
        if self._held and not batch.changes:
            metrics.LAG.labels(self._name).set(0)
            self._held = False

    async def _take(self, batch: Batch, position: str) -> bool:
        if not batch.changes and not batch.rescan:
            if batch.position != position:
                self._state.note(self._name, position=batch.position)
                await self._feed.acknowledge(batch)
            return batch.more
        progress = {"position": batch.position}
        if batch.rescan:
            progress["reconcile_due"] = "0"
        what = self._recorder.record(batch.changes, progress)
        reach("stored")
        if what.deliveries:
            self._stored()
        self._stop_on_error(what)
        reach("acknowledging")
        await self._feed.acknowledge(batch)
        reach("acknowledged")
        self._state.forget_taken(self._name)
        return batch.more

    def _stop_on_error(self, what: Stored) -> None:
        failed = [delivery for delivery in what.deliveries if delivery.kind == "failed"]
        if not failed:
            return
        self.notify(self._name, f"A row cannot be told: {failed[0].content['error']}. See `hromada bridges dead`.")
        if self._mapping.on_error == "stop":
            self._state.note(self._name, paused=f"a row cannot be told: {failed[0].content['error']}")

    async def _start_anew(self, gap: Gap) -> None:
        """The log is gone: nothing may be passed over silently, so a scan looks for what it would have told."""
        _log.error("source_gap", mapping=self._name, error=str(gap))
        metrics.GAPS.labels(self._name).inc()
        self.notify(self._name, f"{gap} Single changes since are lost to it; the table is compared now.")
        position = await self._feed.open(None)
        self._state.note(self._name, position=position, reconcile_due="0")
        self._state.forget_taken(self._name)
