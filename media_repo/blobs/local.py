"""Blobs as files in a folder: `a/b/abcd…`, two levels of folders from the beginning of the key.

A file has its name only when all of it is on the disk: what a crash leaves behind has no name that is looked for.
With one digit a level there are 256 folders, which are made by the first blob: a blob that makes folders of its own
waits for two more syncs. With two digits there are 65,536, made one by one, each with little to look through.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path

from homeserver.ports.blobs import BlobCache, BlobMissing, BlobStat, BlobStoreFailed
from media_repo.blobs.files import FileThreads, OpenFile, is_full, remove, sync_folder

_KEY = re.compile(r"[0-9a-f]{4}[0-9A-Za-z_.-]{4,200}", re.ASCII)
_UNFINISHED = ".part"
_PAGE = 500
_DIGITS = "0123456789abcdef"


class LocalStore(BlobCache):
    """A folder."""

    def __init__(self, name: str, folder: Path, threads: FileThreads, *, digits: int = 1) -> None:
        """`digits` of the key name a folder of each level, 1 or 2."""
        self.name = name
        self._folder = folder
        self._threads = threads
        self._digits = digits
        self._files_are_at = f"{'?' * digits}/{'?' * digits}/*"
        self._making = threading.Lock()

    async def put(self, key: str, source: Path, *, may_move: bool = False) -> bool:
        # A new name or a link where the file system can, else a copy.
        target = self._path(key)

        def keep() -> bool:
            if _size(target) == os.stat(source).st_size:
                return False
            try:
                self._name(target, source, may_move=may_move)
            except FileNotFoundError:  # the first one, or somebody has deleted the folder
                self._make_folders(target.parent)
                self._name(target, source, may_move=may_move)
            sync_folder(target.parent)
            return True

        return await self._do(keep)

    async def open(self, key: str) -> OpenFile:
        path = self._path(key)

        def look() -> OpenFile:
            return OpenFile(self._threads, os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)

        try:
            return await self._threads.run(look)
        except FileNotFoundError:
            raise BlobMissing(key) from None
        except OSError as error:
            raise BlobStoreFailed(str(error)) from error

    async def stat(self, key: str) -> BlobStat | None:
        path = self._path(key)

        def look() -> BlobStat | None:
            try:
                return _stat(path)
            except FileNotFoundError:
                return None

        try:
            return await self._threads.run(look)
        except OSError as error:
            raise BlobStoreFailed(str(error)) from error

    async def delete(self, key: str) -> bool:
        path = self._path(key)
        try:
            return await self._threads.run(lambda: remove(path))
        except OSError as error:
            raise BlobStoreFailed(str(error)) from error

    async def link(self, key: str, content_type: str, disposition: str) -> str | None:
        # Files have no URL.
        return None

    async def beginning(self, prefix: str) -> list[str]:
        folder = self._path(prefix).parent

        def look() -> list[str]:
            try:
                names = os.listdir(folder)
            except FileNotFoundError:
                return []
            return sorted(name for name in names if name.startswith(prefix) and not name.endswith(_UNFINISHED))

        try:
            return await self._threads.run(look)
        except OSError as error:
            raise BlobStoreFailed(str(error)) from error

    async def list(self) -> AsyncIterator[BlobStat]:
        files = self._files()
        while True:
            page = await self._threads.run(lambda: list(islice(files, _PAGE)))
            for found in page:
                yield found
            if len(page) < _PAGE:
                return

    async def close(self) -> None:
        return  # the threads belong to whoever made them

    async def sweep_unfinished(self, before_ms: int) -> int:
        """Delete what crashes have left half-written before a time; returns how many files."""

        def sweep() -> int:
            old = [p for p in self._folder.glob(f"{self._files_are_at}{_UNFINISHED}") if _modified_ms(p) < before_ms]
            return sum(remove(path) for path in old)

        return await self._threads.run(sweep)

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no key of a blob")
        return self._folder / key[: self._digits] / key[self._digits : 2 * self._digits] / key

    def _name(self, target: Path, source: Path, *, may_move: bool) -> None:
        try:
            if may_move:
                os.replace(source, target)
            else:
                os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:  # one of another length is there, or the source is on another disk, or nothing knows links
            self._replace(target, source)

    def _replace(self, target: Path, source: Path) -> None:
        part = target.with_name(f"{target.name}.{os.getpid()}-{os.urandom(6).hex()}{_UNFINISHED}")
        try:
            try:
                os.link(source, part)
            except OSError:
                _copy(source, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _make_folders(self, folder: Path) -> None:
        """Make a folder for blobs, and if it is one of few, all of them. Durable when this returns."""
        with self._making:  # who finds it made goes on, so it must be durable by then
            changed = [folder.parent]
            if self._digits > 1:
                if not folder.parent.exists():
                    changed += [self._folder, self._folder.parent]
                folder.mkdir(parents=True, exist_ok=True)
            else:
                changed = [self._folder / digit for digit in _DIGITS]
                for path in changed:
                    for digit in _DIGITS:
                        (path / digit).mkdir(parents=True, exist_ok=True)
                changed += [self._folder, self._folder.parent]
            for path in changed:
                sync_folder(path)

    def _files(self) -> Iterator[BlobStat]:
        for path in self._folder.glob(self._files_are_at):
            if _KEY.fullmatch(path.name) is not None and not path.name.endswith(_UNFINISHED):
                try:
                    yield _stat(path)
                except FileNotFoundError:
                    continue

    async def _do(self, work: Callable[[], bool]) -> bool:
        try:
            return await self._threads.run(work)
        except OSError as error:
            what = "the disk is full" if is_full(error) else str(error)
            raise BlobStoreFailed(what) from error


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _stat(path: Path) -> BlobStat:
    found = path.stat()
    return BlobStat(path.name, found.st_size, found.st_mtime_ns // 1_000_000)


def _modified_ms(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return 1 << 62
