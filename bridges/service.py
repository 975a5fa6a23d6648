"""A running bridge: what captures, delivers, listens and answers, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from bridges.capture import Capture
from bridges.config import Config
from bridges.deliver import Sender
from bridges.ending import end
from bridges.http import listen, make_app, run
from bridges.inbound import Inbound
from bridges.mapper import transaction_id
from bridges.matrix import Homeserver
from bridges.sources import Source
from bridges.sources.opening import open_sources
from bridges.state import Delivery, RoomRow, State, StateLost, Stored
from bridges.webhooks.incoming import Hooks, serve_hooks
from bridges.webhooks.outgoing import Endpoints

ADMIN = "admin:"
_AGAIN_S = 3600.0


class Notices:
    """What operators are told in the admin room: of each mapping the same once an hour."""

    def __init__(self, config: Config, state: State, wake: Callable[[], None]) -> None:
        self._service, self._state, self._wake = config.appservice, state, wake
        self._last: dict[str, float] = {}
        self._bot = f"@{self._service.bot}:{self._service.server_name}"

    def open(self) -> None:
        """Have the room made, once."""
        room = self._service.admin_room
        if room is None or self._state.room(ADMIN) is not None:
            return
        content = {"invite": list(room.invite), "federate": False, "name": "Bridge", "topic": "", "space": ""}
        made = Delivery(transaction_id(self._service.id, ADMIN), ADMIN, ADMIN, "room", self._bot, content)
        self._state.store(ADMIN, Stored([made], {ADMIN: RoomRow(ADMIN, room.alias, "Bridge", "")}))
        self._wake()

    def tell(self, mapping: str, text: str) -> None:
        """Say it, unless something was said of the mapping lately."""
        now = time.monotonic()
        if self._service.admin_room is None or now - self._last.get(mapping, -_AGAIN_S) < _AGAIN_S:
            return
        self._last[mapping] = now
        content = {"msgtype": "m.notice", "body": f"{mapping}: {text}", "m.mentions": {}}
        txn = transaction_id(self._service.id, ADMIN, mapping, str(time.time_ns()))
        self._state.enqueue([Delivery(txn, ADMIN, ADMIN, "m.room.message", self._bot, content)])
        self._wake()

    def failed(self, delivery: Delivery, error: str) -> None:
        """A delivery is dead or parked."""
        if delivery.lane != ADMIN:
            self.tell(delivery.mapping, f"{delivery.lane} was refused: {error}. See `hromada bridges dead`.")


async def serve(
    config: Config, state: State, homeserver: Homeserver, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Run until `stop` is set. Raises OSError if the address is taken, StateLost, ConfigError for want of a package."""
    running = asyncio.create_task(_run(config, state, homeserver, ready, stop))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        running.cancel()  # it ends what it began, and takes its time for that
        await asyncio.wait([running])
    if not running.cancelled():
        running.result()


async def _run(
    config: Config, state: State, homeserver: Homeserver, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    sources, listener = open_sources(config), listen(config)
    tasks: list[asyncio.Task[None]] = []
    try:
        works = await _works(config, state, homeserver, sources, listener)
        if stop.is_set():
            return
        tasks = [asyncio.create_task(work()) for work in works]
        ready(", ".join(config.mapping))
        # Not `gather`, which would wait for a task that forgot that it was cancelled.
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            task.result()
    except BaseExceptionGroup as group:
        if (lost := group.subgroup(StateLost)) is not None:
            raise _first(lost) from None
        raise
    finally:
        await end(tasks)
        if listener is not None:
            listener.close()  # also if nothing was begun: this process may listen there again
        await _close(sources)


async def _works(
    config: Config, state: State, homeserver: Homeserver, sources: dict[str, Source], listener: socket.socket | None
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """What runs side by side until the bridge ends."""
    sender = Sender(config, state, homeserver)
    notices = Notices(config, state, sender.wake)
    notices.open()
    sender.failed = notices.failed
    works: list[Callable[[], Coroutine[Any, Any, None]]] = [sender.run]
    for name, mapping in config.mapping.items():
        capture = Capture(config, name, state, sources[mapping.source], sender.wake)
        capture.notify = notices.tell
        works.append(capture.run)
    inbound = Inbound(config, state, homeserver, sources, sender.wake)
    if listener is None:
        return works
    app = make_app(config, state, inbound.wake)
    hooks, endpoints = Hooks(config, state, sender.wake), Endpoints(config, state, notices.tell)
    await hooks.open(homeserver)
    serve_hooks(app, hooks)
    if config.users:
        from bridges.users.login import Logins, serve_logins  # noqa: PLC0415 - only what is used is imported

        serve_logins(app, Logins(config, state))
    inbound.told = endpoints.tell
    return [*works, inbound.run, endpoints.run, partial(run, app, listener)]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _close(sources: dict[str, Source]) -> None:
    for source in sources.values():
        await source.close()
