"""Scans of whole tables, a page at a time: rows from before (backfill), and what capture could not see (reconcile).

A scan is resumed where it was after a restart, and needs the memory of a page. While it runs nothing else of the
mapping is read; the source keeps it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import structlog

from bridges import metrics
from bridges.config import Config, seconds
from bridges.faults import reach
from bridges.filters import Filter
from bridges.mapper import image_hash
from bridges.record import Recorder
from bridges.sources import Change, Scanned, Source, key_text
from bridges.state import State, Stored

PAGE = 500
_log = structlog.get_logger(__name__)


class Scanner:
    """The scans of one mapping. What it does and how far it is stands in the notes of the mapping: `scan`."""

    def __init__(self, config: Config, name: str, state: State, source: Source, recorder: Recorder) -> None:
        self._name, self._state, self._source, self._recorder = name, state, source, recorder
        self._mapping = config.mapping[name]
        self._chosen = Filter(self._mapping.backfill.filter)
        self._every = seconds(self._mapping.reconcile) if self._mapping.reconcile else None

    async def step(self, notes: Mapping[str, str], *, drained: bool) -> str | None:
        """Do a page of a scan, if one is due; of which kind. Raises SourceUnavailable.

        `drained` tells that capture has read everything there was.
        """
        if "scan" in notes:
            scan = json.loads(notes["scan"])
        elif (kind := self._due(notes)) is not None:
            scan = await self._begin(kind, notes)
        else:
            return None
        if scan["kind"] == "backfill":
            await self._backfill(scan)
        elif scan["suspects"]:
            # What differs may only be on its way: capture is heard first.
            if drained:
                await self._found(scan)
        elif scan["missing"] is None:
            await self._reconcile(scan)
        else:
            await self._missing(scan)
        return str(scan["kind"])

    def _due(self, notes: Mapping[str, str]) -> str | None:
        if "backfill_due" in notes or ("backfilled" not in notes and self._wants_scan()):
            return "backfill"
        due = notes.get("reconcile_due")
        if due is None and self._every is not None:
            self._state.note(self._name, reconcile_due=str(time.time() + self._every))
        return "reconcile" if due is not None and time.time() >= float(due) else None

    def _wants_scan(self) -> bool:
        """Where a change does not tell what was before, or somebody compares, every row has to be known."""
        mapping = self._mapping
        return mapping.capture.mode != "outbox" or mapping.backfill.mode != "none" or self._every is not None

    async def _begin(self, kind: str, notes: Mapping[str, str]) -> dict[str, Any]:
        number = int(notes.get("scans", "0")) + 1
        scan: dict[str, Any] = {"kind": kind, "number": number, "after": None, "done": 0, "told": 0}
        scan |= {"missing": None, "suspects": []}
        scan["total"] = await self._source.count(self._name)
        scan["began"] = time.time()
        backfill = self._mapping.backfill
        if kind == "backfill" and backfill.mode == "last":
            scan["from"] = await self._source.nth_last(self._name, backfill.limit)
        _log.info("scan_begins", mapping=self._name, kind=kind, rows=scan["total"])
        self._state.note(self._name, scan=json.dumps(scan), scans=str(number))
        return scan

    async def _backfill(self, scan: dict[str, Any]) -> None:
        backfill = self._mapping.backfill
        chosen = backfill.filter if backfill.mode == "where" else scan.get("from")
        rows = await self._source.scan(self._name, scan["after"], PAGE, chosen, backfill.ts)
        what = Stored()
        for row in rows:
            image = row.row if self._mapping.predicate.holds(row.row) else None
            if image is None or self._has_room(row):
                continue
            if self._is_told(row, scan):
                scan["told"] += 1
                self._recorder.insert(what, row.key, image, row.ts, scan["number"])
            elif self._state.row(self._name, key_text(row.key)) is None:
                self._recorder.silent(what, row.key, image, scan["number"])
        what.progress = {"ahead": "1", **self._advance(scan, rows)}
        self._recorder.keep(what)
        reach("scanned")
        if "scan" not in what.progress:
            self._end(scan, backfilled=str(time.time()), backfill_due=None)

    def _has_room(self, row: Scanned) -> bool:
        return self._state.room(self._recorder.mapper.lane(row.key)) is not None

    def _is_told(self, row: Scanned, scan: Mapping[str, Any]) -> bool:
        backfill = self._mapping.backfill
        if backfill.mode == "none" or scan["told"] >= backfill.limit or not row.chosen:
            return False
        return backfill.mode != "where" or self._chosen.holds(row.row)

    def _advance(self, scan: dict[str, Any], rows: list[Scanned]) -> dict[str, str]:
        scan["done"] += len(rows)
        if len(rows) < PAGE:
            return {}
        scan["after"] = list(rows[-1].key)
        return {"scan": json.dumps(scan)}

    def _end(self, scan: Mapping[str, Any], **notes: str | None) -> None:
        took = round(time.time() - scan["began"], 1)
        _log.info("scan_ends", mapping=self._name, kind=scan["kind"], rows=scan["done"], told=scan["told"], took_s=took)
        self._state.note(self._name, scan=None, last_scan=json.dumps({**scan, "took": took}), **notes)

    async def _reconcile(self, scan: dict[str, Any]) -> None:
        rows = await self._source.scan(self._name, scan["after"], PAGE)
        for row in rows:
            image = row.row if self._mapping.predicate.holds(row.row) else None
            known = self._state.row(self._name, key_text(row.key))
            if image_hash(image) != (None if known is None else known.hash):
                scan["suspects"].append(list(row.key))
        self._state.met(self._name, [key_text(row.key) for row in rows], scan["number"])
        if not self._advance(scan, rows):
            scan["missing"] = ""
        self._state.note(self._name, scan=json.dumps(scan))

    async def _missing(self, scan: dict[str, Any]) -> None:
        """Rows that the scan did not meet: each is looked at once more, and is gone if it is not there then."""
        keys = self._state.not_met(self._name, scan["number"], scan["missing"], PAGE)
        if not keys:
            due = None if self._every is None else str(time.time() + self._every)
            self._end(scan, reconcile_due=due)
            return
        scan |= {"missing": keys[-1], "suspects": [json.loads(key) for key in keys]}
        self._state.note(self._name, scan=json.dumps(scan))

    async def _found(self, scan: dict[str, Any]) -> None:
        keys = scan["suspects"]
        rows = await self._source.fetch(self._name, keys)
        changes = [Change("", "seen", key, row) for key, row in zip(keys, rows, strict=True)]
        scan["suspects"] = []
        what = self._recorder.record(changes, {}, scan["number"])
        scan["told"] += len(what.rows)
        metrics.MISMATCHES.labels(self._name).inc(len(what.rows))
        self._state.note(self._name, scan=json.dumps(scan), ahead="1")
