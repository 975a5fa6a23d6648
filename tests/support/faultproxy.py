"""A TCP proxy that breaks connections on purpose: between a server and its PostgreSQL, or clients and the server.

It can cut, reset (RST), hold and drip connections, reset them after so many bytes, and lose the answer to a COMMIT:
the database commits, and the answer never arrives (reliability D3). `seen` counts what clients were seen to send,
which no restart of the server makes it forget.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

# `CommandComplete` with the tag COMMIT: what PostgreSQL says when a transaction is on disk.
COMMITTED = b"COMMIT\x00"
_READ = 65_536
_DRIP_S = 0.005


class FaultProxy:
    """Forwards one port to another in a thread of its own; the switches may be used from any thread."""

    def __init__(self, target_port: int, watch: Sequence[bytes] = (), tls: ssl.SSLContext | None = None) -> None:
        """`watch`: what to count in `seen`. It must come in one piece, as the head of a small request does.

        With `tls` clients have to encrypt, and the server is spoken to in plain text.
        """
        self._tls = tls
        self.port = 0
        self.seen = dict.fromkeys(watch, 0)
        self.target_port = target_port
        """Where new connections go; may be changed while running."""
        self.lost_commits = 0
        self.resets = 0
        self._to_lose = 0
        self._reset_after: int | None = None
        self._drip: int | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._links: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._started = threading.Event()

    # ---- switches ----

    def lose_commits(self, count: int) -> None:
        """Cut the connections of the next `count` commits after the database has made them."""
        self._to_lose = count

    def cut(self) -> None:
        """End every connection now; new ones are welcome."""
        self._call(self._end_all, False)

    def reset(self) -> None:
        """As `cut`, with a TCP reset: what was on its way is thrown away, at both ends."""
        self._call(self._end_all, True)

    def reset_after(self, size: int) -> None:
        """Reset the next connection on which this many bytes of answers have passed, in the middle of whatever."""
        self._reset_after = size

    def hold(self) -> None:
        """Let nothing through, in either direction, and say nothing: half-open connections, until `flow`."""
        self._call(self._flowing.clear)

    def drip(self, size: int) -> None:
        """Let only this many bytes through every 5 ms, until `flow`."""
        self._drip = size

    def flow(self) -> None:
        """Let everything through again; what was held arrives late."""
        self._drip = None
        self._reset_after = None
        self._call(self._flowing.set)

    # ---- inside ----

    def _call(self, switch: Callable[..., object], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(switch, *arguments)

    def _end_all(self, hard: bool) -> None:
        for writer in self._links:
            _end(writer, hard)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._flowing.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        self._end_all(False)
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        links = {writer, far_writer}
        self._links |= links
        hard = False
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._answers(far_reader, writer))
        except ConnectionResetError:
            hard = True
        except OSError:
            pass
        finally:
            self._links -= links
            for link in links:
                _end(link, hard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ):
            for watched in self.seen:
                self.seen[watched] += data.count(watched)
            await self._pass(data, writer)
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(_READ):
            if self._to_lose and COMMITTED in data:
                self._to_lose -= 1
                self.lost_commits += 1
                raise ConnectionAbortedError("the answer to COMMIT is lost, as ordered")
            if self._reset_after is not None and passed + len(data) > self._reset_after:
                await self._pass(data[: max(self._reset_after - passed, 0)], writer)
                self._reset_after = None
                self.resets += 1
                raise ConnectionResetError("so many bytes have passed, as ordered")
            await self._pass(data, writer)
            passed += len(data)
        writer.close()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        while data:
            await self._flowing.wait()
            size = self._drip or len(data)
            writer.write(data[:size])
            await writer.drain()
            data = data[size:]
            if self._drip is not None:
                await asyncio.sleep(_DRIP_S)

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, target_port: int, watch: Sequence[bytes] = (), tls: ssl.SSLContext | None = None
    ) -> Iterator[FaultProxy]:
        """A running proxy for the length of the block."""
        proxy = cls(target_port, watch, tls)
        proxy._thread.start()
        proxy._started.wait(60)
        yield proxy
        proxy._call(proxy._loop.stop)
        proxy._thread.join(10)


def _end(writer: asyncio.StreamWriter, hard: bool) -> None:
    if hard and (near := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            # Lingering for no time at all makes closing a reset.
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
