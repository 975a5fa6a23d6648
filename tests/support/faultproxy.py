"""A TCP proxy that breaks connections on purpose: it stands between a server and its PostgreSQL, or before a server.

`lose_commits(n)` is the fault of reliability D3: the database commits, and the answer never arrives. `seen` counts
what clients were seen to send, which no restart of the server makes it forget.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

# `CommandComplete` with the tag COMMIT: what PostgreSQL says when a transaction is on disk.
COMMITTED = b"COMMIT\x00"


class FaultProxy:
    """Forwards one port to another in a thread of its own; the switches may be used from any thread."""

    def __init__(self, target_port: int, watch: Sequence[bytes] = ()) -> None:
        """`watch`: what to count in `seen`. It must come in one piece, as the head of a small request does."""
        self.port = 0
        self.seen = dict.fromkeys(watch, 0)
        self.lost_commits = 0
        self._target_port = target_port
        self._to_lose = 0
        self._loop = asyncio.new_event_loop()
        self._links: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._started = threading.Event()

    def lose_commits(self, count: int) -> None:
        """Cut the connections of the next `count` commits after the database has made them."""
        self._to_lose = count

    def retarget(self, port: int) -> None:
        """Connect new connections to another port: the server has moved."""
        self._target_port = port

    def cut(self) -> None:
        """Cut every connection now; new ones are welcome."""
        self._loop.call_soon_threadsafe(self._abort_all)

    # ---- inside ----

    def _abort_all(self) -> None:
        for writer in self._links:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        self._abort_all()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        links = {writer, far_writer}
        self._links |= links
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._answers(far_reader, writer))
        except OSError:
            pass
        finally:
            self._links -= links
            for link in links:
                link.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            for watched in self.seen:
                self.seen[watched] += data.count(watched)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._to_lose and COMMITTED in data:
                self._to_lose -= 1
                self.lost_commits += 1
                raise ConnectionAbortedError("the answer to COMMIT is lost, as ordered")
            writer.write(data)
            await writer.drain()
        writer.close()

    @classmethod
    @contextlib.contextmanager
    def running(cls, target_port: int, watch: Sequence[bytes] = ()) -> Iterator[FaultProxy]:
        """A running proxy for the length of the block."""
        proxy = cls(target_port, watch)
        proxy._thread.start()
        proxy._started.wait(10)
        yield proxy
        proxy._loop.call_soon_threadsafe(proxy._loop.stop)
        proxy._thread.join(10)
