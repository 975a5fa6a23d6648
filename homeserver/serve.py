"""Serving: Hypercorn for the application, one task group for the role's workers, and an end that answers everybody.

Builds nothing (see `boot`).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

import hypercorn.asyncio
import hypercorn.config
import structlog

from homeserver.boot import Server
from homeserver.boot.parts import ConnectionBounds
from homeserver.config.load import split_address
from homeserver.ports.store import StoreBroken
from homeserver.web import connection, hypercorn_bounds, stack

_DRAIN_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 30
_BACKLOG = 4096  # after a restart everybody connects at once; the kernel may allow less
_PIECES_READ_AHEAD = 2  # of a body, or frames of a socket, each up to 64 KiB

_log = structlog.stdlib.get_logger("homeserver.serve")


def listen(address: str) -> socket.socket:
    """A listening socket on `HOST:PORT`. From here on the kernel takes connections. Raises OSError."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def url_of(listener: socket.socket) -> str:
    """Where the socket really listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(server: Server, listener: socket.socket, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is held and end, within 30 seconds.

    `announce` is called with the URL as soon as requests are answered. A worker that fails ends the process: a
    supervisor restarts it in a known state. Raises StoreBroken if it was the disk that failed, and
    UnknownStack before serving if the HTTP server beneath is not one that was tested.
    """
    stack.check()
    hypercorn_bounds.install()
    stop = asyncio.Event()
    url = url_of(listener)
    _on_signal(stop.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(worker()) for worker in server.workers]
            http = tasks.create_task(
                hypercorn.asyncio.serve(
                    server.app,  # type: ignore[arg-type] # a plain ASGI callable, typed more loosely
                    hypercorn_config(listener, server.bounds),
                    shutdown_trigger=stop.wait,
                )
            )
            announce(url)
            try:
                await stop.wait()
                _log.info("stopping")
            finally:  # a worker may have failed: nobody is to hold up the end
                server.release()
            # Hypercorn bounds its own waiting only in part: from Python 3.12 on, closing a listener waits for its
            # connections without a limit.
            _, late = await asyncio.wait([http], timeout=_DRAIN_SECONDS)
            for task in late:
                task.cancel()
            for worker in workers:
                worker.cancel()
    except BaseExceptionGroup as errors:
        broken = errors.subgroup(StoreBroken)
        if broken is None:
            raise
        _log.critical("the disk failed", error=str(broken.exceptions[0]))
        raise broken.exceptions[0] from None
    finally:
        await server.close()
        _log.info("stopped")


def hypercorn_config(listener: socket.socket, bounds: ConnectionBounds) -> hypercorn.config.Config:
    """Hypercorn's settings; it takes the listener over."""
    config = connection.Bounds()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = _BACKLOG
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)
    config.accesslog = None
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
    config.graceful_timeout = _DRAIN_SECONDS
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 100_000
    config.h11_max_incomplete_size = 16 * 1024
    config.max_app_queue_size = _PIECES_READ_AHEAD
    config.head_seconds = bounds.head_seconds
    config.answer_seconds = bounds.answer_seconds
    config.websocket_max_message_size = bounds.frame_bytes  # pings are the protocol's own: docs/websocket.md
    return config


def _on_signal(stop: Callable[[], None]) -> None:
    """The first SIGTERM or SIGINT stops gracefully, a second one as the system does."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)
        stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, handle)
