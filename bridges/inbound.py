"""From rooms to databases: events that the homeserver pushed, one after the other, each until it is certain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog

from bridges import metrics
from bridges.config import Config
from bridges.matrix import Homeserver, TryAgain
from bridges.sources import Source, SourceUnavailable
from bridges.state import Delivery, State
from bridges.writeback import Writeback

_LONGEST_WAIT_S = 30.0
_AT_ONCE = 100
_LOOK_AGAIN_S = 5.0
_log = structlog.get_logger(__name__)


class Inbound:
    """Handles what was received. Events of a room are handled in order; a database that is away holds up its own."""

    def __init__(
        self,
        config: Config,
        state: State,
        homeserver: Homeserver,
        sources: Mapping[str, Source],
        stored: Callable[[], None],
    ) -> None:
        self._state, self._stored = state, stored
        self._service = config.appservice
        self._writeback = Writeback(config, state, homeserver, sources)
        self._news = asyncio.Event()
        self.told: Callable[[Mapping[str, Any]], None] = lambda _event: None

    def wake(self) -> None:
        """Something was received."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        wait = 0.25
        while True:
            self._news.clear()
            held: set[str] = set()
            passed: list[int] = []
            for id_, event in self._received():
                room = str(event.get("room_id"))
                if room in held:
                    continue
                try:
                    answers = await self._handle(event)
                except (SourceUnavailable, TryAgain) as error:
                    _log.warning("event_postponed", event_id=event.get("event_id"), error=str(error), again_in=wait)
                    held.add(room)
                    continue
                passed.append(id_)
                if answers or len(passed) >= _AT_ONCE:
                    self._state.handled(passed, answers)
                    passed = []
                if answers:
                    self._stored()
            if passed:
                self._state.handled(passed)
            if held:
                wait = min(wait * 2, _LONGEST_WAIT_S)
                await asyncio.sleep(wait)
            elif not self._state.inbox(1):
                wait = 0.25
                await self._news.wait()

    def _received(self) -> Iterator[tuple[int, dict[str, Any]]]:
        after = 0
        while page := self._state.inbox(_AT_ONCE, after):
            yield from page
            after = page[-1][0]

    async def _handle(self, event: Mapping[str, Any]) -> list[Delivery]:
        sender = event.get("sender")
        if not isinstance(sender, str) or self._service.owns(sender):
            return []
        self.told(event)
        try:
            result, answers = await self._writeback.handle(event, sender)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # Whatever somebody sends, the next event is handled.
            _log.warning(
                "event_not_understood", event_id=event.get("event_id"), error=f"{type(error).__name__}: {error}"
            )
            result, answers = "bad", []
        metrics.RECEIVED.labels(result).inc()
        return answers
