"""The folder in which arriving content is collected, before anybody knows what it is.

Every process has a folder of its own in it, held by a lock: what a killed process has left is found without its lock
by the next one that starts, and deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

from homeserver.ports.blobs import ReadInto, Spool, SpoolFile, SpoolFull
from media_repo.blobs.files import FileThreads, OpenFile, is_full

_BUFFER = 512 * 1024
_LARGE_BUFFER = 1024 * 1024
_SMALL_BUFFER = 128 * 1024
_MOST_BUFFERS = 16
_KEPT_BUFFERS = 2
_MOST_PIECES = 256  # of one `writev`; POSIX promises 16, Linux takes 1024
_LOCK = "lock"


class FolderSpool(Spool):
    """Files in a folder."""

    def __init__(self, folder: Path, threads: FileThreads) -> None:
        """`folder` is made when the first file is."""
        self._folder = folder
        self._threads = threads
        self._buffers = _Buffers()
        self._own: Path | None = None
        self._lock = -1
        self._making = threading.Lock()

    @asynccontextmanager
    async def file(self) -> AsyncIterator[_SpoolFile]:
        file = _SpoolFile(self._place, self._threads, self._buffers)
        try:
            yield file
        finally:
            if not file.close_if_moved():
                await self._threads.run(file.remove)

    def sweep(self) -> int:
        """Delete the folders of processes that are no more; returns how many."""
        swept = 0
        for folder in self._folder.glob("*/"):
            if folder == self._own:
                continue
            with suppress(OSError):  # held by somebody, or gone meanwhile
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
                    swept += 1
                finally:
                    os.close(lock)
        return swept

    def close(self) -> None:
        """Delete the own folder."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._own = None

    def _place(self) -> Path:
        """Where a new file goes."""
        with self._making:
            if self._own is None:
                own = self._folder / f"{os.getpid()}-{os.urandom(6).hex()}"
                own.mkdir(parents=True)
                self._lock = os.open(own / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._own = own
        return self._own / os.urandom(12).hex()


class _Buffers:
    """Memory that bodies are read into: large, used again and bounded; whoever finds none left gets a small one."""

    def __init__(self) -> None:
        self._given = 0
        self._free: list[mmap.mmap] = []

    @contextmanager
    def one(self) -> Iterator[memoryview]:
        """Memory for the length of the block."""
        if self._given >= _MOST_BUFFERS:
            yield memoryview(bytearray(_SMALL_BUFFER))
            return
        self._given += 1
        buffer = self._free.pop() if self._free else mmap.mmap(-1, _LARGE_BUFFER)
        try:
            yield memoryview(buffer)
        finally:
            self._given -= 1
            if len(self._free) < _KEPT_BUFFERS:
                self._free.append(buffer)


class _SpoolFile(SpoolFile):
    """Written in larger pieces than what arrives: each costs a visit to a thread. Made by the first of them."""

    def __init__(self, place: Callable[[], Path], threads: FileThreads, buffers: _Buffers) -> None:
        self.size = 0
        self._place = place
        self._threads = threads
        self._buffers = buffers
        self._file = -1
        self._hash = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_durable = False
        self._visited = threading.Lock()  # who waits for a visit may be cancelled, and remove the file under it
        self._removed = False

    async def write(self, piece: bytes) -> None:
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        self.size += len(piece)
        if self._waiting_bytes >= _BUFFER:
            await self._flush(final=False)

    async def fill(self, read_into: ReadInto, length: int) -> None:
        await self._flush(final=False)
        with self._buffers.one() as memory:
            while length:
                part = memory[: min(length, len(memory))]
                length -= await read_into(part)
                self.size += len(part)
                await self._do(partial(self._append, part, final=not length))

    async def flush(self) -> None:
        await self._flush(final=False)

    def open(self) -> OpenFile:
        return OpenFile(self._threads, os.dup(self._file), self.path)

    async def finish(self) -> bytes:
        if self._waiting or not self._is_durable:
            await self._flush(final=True)
        return self._hash.digest()

    async def _flush(self, *, final: bool) -> None:
        pieces, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not pieces and not final:
            return

        def write() -> None:
            file = self._made()
            for piece in pieces:
                self._hash.update(piece)
            _write_all(file, pieces)
            if final:
                os.fsync(file)
            self._is_durable = final

        await self._do(write)

    def _append(self, part: memoryview, *, final: bool) -> None:
        file = self._made()
        self._hash.update(part)
        written = 0
        while written < len(part):
            written += os.write(file, part[written:])
        if final:
            os.fsync(file)
        self._is_durable = final

    def _made(self) -> int:
        if self._file < 0:
            self.path = self._place()
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return self._file

    async def _do(self, work: Callable[[], None]) -> None:
        def visit() -> None:
            with self._visited:
                if not self._removed:
                    work()

        try:
            await self._threads.run(visit)
        except OSError as error:
            if is_full(error):
                raise SpoolFull("the disk is full") from error
            raise SpoolFull(str(error)) from error

    def close_if_moved(self) -> bool:
        """Whether the file is elsewhere by now, so that nothing but closing it was left to do: no disk is asked."""
        if not self._is_durable or os.path.lexists(self.path):
            return False
        with self._visited:
            self._close()
        return True

    def remove(self) -> None:
        """Delete the file. What was moved or linked elsewhere stays there."""
        with self._visited:
            if self._close():
                self.path.unlink(missing_ok=True)

    def _close(self) -> bool:
        self._removed = True
        was_open = self._file >= 0
        if was_open:
            os.close(self._file)
            self._file = -1
        return was_open


def _write_all(descriptor: int, pieces: list[bytes]) -> None:
    for first in range(0, len(pieces), _MOST_PIECES):
        some = pieces[first : first + _MOST_PIECES]
        written = os.writev(descriptor, some)
        for piece in some:  # nearly always all of it went out
            if written >= len(piece):
                written -= len(piece)
                continue
            view = memoryview(piece)[written:]
            written = 0
            while view:
                view = view[os.write(descriptor, view) :]
