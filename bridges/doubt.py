"""Deliveries that may have been made so long ago that the homeserver does not remember: they are looked for in rooms.

A transaction id tells a homeserver that it has a message already, for as long as it remembers: Synapse for 24 hours.
Who was sent a message, did not get to answer, and is asked again later than that would say it twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import structlog

from bridges.matrix import Homeserver, MatrixFailure, part
from bridges.state import Delivery, State

MARK = "chat.hromada.bridge"
"""What a message carries of its delivery."""
_TRUSTED_MS = 20 * 3600 * 1000
"""How long every homeserver is trusted to remember: Synapse's day, less what clocks and requests may be off."""
_PAGES, _PAGE = 20, 100
_NOTES = "sender."  # names of mappings have no dot
_log = structlog.get_logger(__name__)


def marked(delivery: Delivery) -> dict[str, Any]:
    """The content of an event with its delivery's name."""
    return {**delivery.content, MARK: {"txn": delivery.txn}}


class Doubts:
    """Knows which deliveries may have been made long ago, and finds them."""

    def __init__(self, state: State, homeserver: Homeserver, now: Callable[[], float] = time.time) -> None:
        self._state, self._homeserver, self._now = state, homeserver, now
        self._certain: set[str] = set()
        notes = state.progress(_NOTES)
        # What was under way when the bridge ended has no note of its own: it was sent while the bridge was there.
        if "alive_ms" in notes and self._is_long_ago(int(notes["alive_ms"])):
            self._upto = state.newest_open()
        else:
            self._upto = int(notes.get("doubtful_to", "0"))
        # Kept until all of that is made: this bridge may end before it is, and begin anew at once.
        is_doubtful = 0 < state.oldest_open() <= self._upto
        state.note(_NOTES, doubtful_to=str(self._upto) if is_doubtful else None)

    def _is_long_ago(self, at_ms: int) -> bool:
        return abs(self._now() * 1000 - at_ms) > _TRUSTED_MS  # a clock that was set back says nothing either

    def alive(self) -> None:
        """Note that the bridge is there; to be called every minute or more often while it sends."""
        self._state.note(_NOTES, alive_ms=str(int(self._now() * 1000)))

    async def found(self, delivery: Delivery, room_id: str) -> str | None:
        """The event of a delivery that was made long ago. Raises MatrixFailure, TryAgain."""
        is_old = delivery.id <= self._upto and delivery.lane not in self._certain
        if not is_old and (delivery.tried_ms is None or not self._is_long_ago(delivery.tried_ms)):
            return None
        event_id = await self._look(delivery, room_id)
        if event_id is None:  # nor was anything made that comes after it
            self._certain.add(delivery.lane)
        return event_id

    async def _look(self, delivery: Delivery, room_id: str) -> str | None:
        """Back to what was made before it, and not farther than some pages."""
        last = self._state.last_made(delivery.lane)
        senders = sorted({delivery.sender} | ({last[1]} if last is not None else set()))
        query: dict[str, Any] = {"dir": "b", "limit": _PAGE, "filter": json.dumps({"senders": senders})}
        for _ in range(_PAGES):
            try:
                page = await self._homeserver.call("GET", f"/rooms/{part(room_id)}/messages", **query)
            except MatrixFailure as failure:
                # A room that cannot be read is no reason to keep the message: what sending it says is decided upon.
                _log.warning("doubt_stays", lane=delivery.lane, txn=delivery.txn, error=str(failure))
                return None
            for event in page["chunk"]:
                mark = event.get("content", {}).get(MARK)
                if isinstance(mark, dict) and mark.get("txn") == delivery.txn and event["sender"] == delivery.sender:
                    return str(event["event_id"])
                if last is not None and event["event_id"] == last[0]:
                    return None
            if not page.get("end"):
                return None
            query["from"] = page["end"]
        _log.warning("doubt_stays", lane=delivery.lane, txn=delivery.txn, error="too much was said since")
        return None
