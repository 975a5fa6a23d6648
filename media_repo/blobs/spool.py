"""The folder in which arriving content is collected, before anybody knows what it is.

Every process has a folder of its own in it, held by a lock: what a killed process has left is found without its lock
by the next one that starts, and deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from homeserver.ports.blobs import Spool, SpoolFile, SpoolFull
from media_repo.blobs.files import FileThreads, OpenFile, is_full

_BUFFER = 512 * 1024
_MOST_PIECES = 256  # of one `writev`; POSIX promises 16, Linux takes 1024
_LOCK = "lock"


class FolderSpool(Spool):
    """Files in a folder."""

    def __init__(self, folder: Path, threads: FileThreads) -> None:
        """`folder` is made when the first file is."""
        self._folder = folder
        self._threads = threads
        self._own: Path | None = None
        self._lock = -1

    @asynccontextmanager
    async def file(self) -> AsyncIterator[_SpoolFile]:
        try:
            file = await self._threads.run(self._make)
        except OSError as error:
            raise SpoolFull(str(error)) from error
        try:
            yield file
        finally:
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

    def _make(self) -> _SpoolFile:
        if self._own is None:
            own = self._folder / f"{os.getpid()}-{os.urandom(6).hex()}"
            own.mkdir(parents=True)
            self._lock = os.open(own / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._own = own
        return _SpoolFile(self._own / os.urandom(12).hex(), self._threads)


class _SpoolFile(SpoolFile):
    """Written in larger pieces than what arrives: each costs a hop to a thread."""

    def __init__(self, path: Path, threads: FileThreads) -> None:
        self.path = path
        self.size = 0
        self._threads = threads
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._hash = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    async def write(self, piece: bytes) -> None:
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        self.size += len(piece)
        if self._waiting_bytes >= _BUFFER:
            await self._flush(final=False)

    async def flush(self) -> None:
        await self._flush(final=False)

    def open(self) -> OpenFile:
        return OpenFile(self._threads, os.dup(self._file), self.path)

    async def finish(self) -> bytes:
        await self._flush(final=True)
        return self._hash.digest()

    async def _flush(self, *, final: bool) -> None:
        pieces, self._waiting, self._waiting_bytes = self._waiting, [], 0

        def write() -> None:
            for piece in pieces:
                self._hash.update(piece)
            _write_all(self._file, pieces)
            if final:
                os.fsync(self._file)

        try:
            await self._threads.run(write)
        except OSError as error:
            if is_full(error):
                raise SpoolFull("the disk is full") from error
            raise SpoolFull(str(error)) from error

    def remove(self) -> None:
        """Delete the file. What was linked elsewhere stays there."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self.path.unlink(missing_ok=True)


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
