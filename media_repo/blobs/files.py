"""What the disk is asked for, and in which threads.

Reading from memory (the page cache) is done at once in the event loop: a hop to a thread and back costs more than it.
Only what must come from the disk is read in a thread, so that a slow disk never stops the server.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from homeserver.ports.blobs import BlobStoreFailed, OpenBlob

T = TypeVar("T")

PIECE = 128 * 1024
"""Bytes read at a time: what one reader costs in memory."""

SPAN = 1024 * 1024
"""Bytes that are had in memory at a time for what sends them from there."""

_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_CANNOT_PEEK = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # Linux only
_SENDS_FILES = _NO_WAIT is not None and hasattr(os, "posix_fadvise")


class FileThreads:
    """A bounded pool of threads for files."""

    def __init__(self, threads: int = 8) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="media-files")

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, done in one of the threads. It is always done to its end."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def visit() -> None:
            # Straight to the future that is waited for: the executor's own way back costs twice as much.
            try:
                result = work()
            except BaseException as error:
                tell: Callable[[], None] = partial(done.set_exception, error)
            else:
                tell = partial(done.set_result, result)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(lambda: None if done.done() else tell())

        self._pool.submit(visit)
        return await done

    def close(self) -> None:
        """End the threads when they have done what they do."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def is_full(error: OSError) -> bool:
    """Whether the disk, or somebody's share of it, is full."""
    return error.errno in _NO_ROOM


def sync_folder(folder: Path) -> None:
    """Make what was named in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class OpenFile(OpenBlob):
    """A file."""

    def __init__(self, threads: FileThreads, descriptor: int, path: Path) -> None:
        self._threads = threads
        self._descriptor = descriptor
        self._peeks = _NO_WAIT is not None
        self._reading = 0
        self._closed = False
        self.path: Path | None = path
        self.descriptor = descriptor if _SENDS_FILES else None
        self.size = os.fstat(descriptor).st_size

    async def spans(self, start: int, length: int) -> AsyncIterator[tuple[int, int]]:
        # Of each span the last byte is asked for: what lies before it is read along with it.
        at, end = start, start + length
        while at < end:
            count = min(SPAN, end - at)
            last = at + count - 1
            if not (self._peek(last, 1) or await self._load(at, count)):
                raise BlobStoreFailed(f"{self.path} ends before {last + 1}, and should go on until {end}")
            yield at, count
            at += count

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        at, end = start, start + length
        while at < end:
            wanted = min(PIECE, end - at)
            piece = self._peek(at, wanted) or await self._fetch(at, wanted)
            if not piece:
                raise BlobStoreFailed(f"{self.path} ends at {at} instead of {end}")
            at += len(piece)
            yield piece

    def _peek(self, at: int, wanted: int) -> bytes | None:
        """What of it is in memory; None if the disk would have to be asked."""
        if not self._peeks or _NO_WAIT is None:
            return None
        buffer = bytearray(wanted)
        try:
            count = os.preadv(self._descriptor, [buffer], at, _NO_WAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _CANNOT_PEEK:
                raise BlobStoreFailed(str(error)) from error
            self._peeks = False
            return None
        del buffer[count:]
        return cast("bytes", buffer)  # nobody changes it any more: a copy would cost as much as the reading

    async def _load(self, at: int, wanted: int) -> bytes:
        """Have a span read into memory, and what follows it soon; returns its last byte."""

        def load() -> bytes:
            os.posix_fadvise(self._descriptor, at, 2 * SPAN, os.POSIX_FADV_WILLNEED)
            return os.pread(self._descriptor, 1, at + wanted - 1)

        return await self._in_thread(load)

    async def _fetch(self, at: int, wanted: int) -> bytes:
        return await self._in_thread(lambda: os.pread(self._descriptor, wanted, at))

    async def _in_thread(self, work: Callable[[], bytes]) -> bytes:
        self._reading += 1  # a descriptor that is closed under a thread may be another file by then

        def read() -> bytes:
            try:
                return work()
            finally:
                self._reading -= 1
                if self._closed and not self._reading:
                    os.close(self._descriptor)

        try:
            return await self._threads.run(read)
        except OSError as error:
            raise BlobStoreFailed(str(error)) from error

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.descriptor = None
        if not self._reading:
            os.close(self._descriptor)


def remove(path: Path) -> bool:
    """Delete a file; whether there was one."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    with suppress(OSError):  # the folder itself may be going
        sync_folder(path.parent)
    return True
