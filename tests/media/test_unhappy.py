"""Uploads that end otherwise: their caller goes, a store is not configured any more, a store fails in the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from homeserver.core.errors import MatrixError
from homeserver.ports.blobs import BlobStoreFailed
from homeserver.ports.clock import Clock
from homeserver.ports.media import Usage
from homeserver.ports.requester import Requester
from homeserver.services.media.control import MediaControl, Retention
from homeserver.services.media.library import BlobStores, Library, LibrarySettings
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import Arriving, Uploads, UploadSettings
from homeserver.storage.unit import Database
from homeserver.system import SystemClock, SystemEntropy
from media_repo.blobs.files import FileThreads
from media_repo.blobs.local import LocalStore
from media_repo.blobs.spool import FolderSpool
from media_repo.thumbnails.pool import PoolSettings, ThumbnailPool
from tests.media.clocks import Later
from tests.support.store import SERVER_NAME

WHO = Requester(f"@alice:{SERVER_NAME}", "DEVICE")
DATA = b"x" * 700_000


class Failing(LocalStore):
    """A folder that says no from some call on."""

    fails_from = 1 << 30

    async def put(self, key: str, source: Path, *, may_move: bool = False) -> bool:
        self.fails_from -= 1
        if self.fails_from < 0:
            raise BlobStoreFailed("no")
        return await super().put(key, source, may_move=may_move)


@dataclass
class World:
    """One place for content, which can be made to fail."""

    store: Database
    folder: Path
    threads: FileThreads
    spool: FolderSpool
    content: Failing

    def library(self, clock: Clock, name: str = "local") -> Library:
        self.content.name = name
        stores = BlobStores({name: self.content}, [], name)
        return Library(self.store, stores, clock, SystemEntropy(), LibrarySettings(SERVER_NAME))

    def uploads(self, name: str = "local", clock: Clock | None = None) -> Uploads:
        clock = clock or SystemClock()
        return Uploads(self.store, self.library(clock, name), self.spool, clock, UploadSettings(at_once=1))

    def left_behind(self) -> list[Path]:
        return [path for path in (self.folder / "incoming").rglob("*") if path.is_file() and path.name != "lock"]

    def kept(self) -> list[Path]:
        return [path for path in (self.folder / "content").rglob("*") if path.is_file()]

    async def usage(self) -> Usage:
        async with self.store.read() as tx:
            return await tx.media.usage(WHO.user_id)


@pytest.fixture
def world(store: Database, tmp_path: Path) -> Iterator[World]:
    threads = FileThreads(1)
    spool = FolderSpool(tmp_path / "incoming", threads)
    yield World(store, tmp_path, threads, spool, Failing("local", tmp_path / "content", threads))
    spool.close()
    threads.close()


async def once(data: bytes = DATA) -> AsyncIterator[bytes]:
    yield data


def arriving(data: bytes = DATA) -> Arriving:
    return Arriving(once(data), None, "video/mp4", None)


async def test_cancelled_while_it_comes(world: World) -> None:
    """By its sender's leaving: the file, the place and the memory are free at once."""
    uploads, begun = world.uploads(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield DATA
        begun.set()
        await asyncio.Event().wait()

    async def read_into(memory: memoryview) -> int:
        if begun.is_set():
            await asyncio.Event().wait()
        begun.set()
        memory[:] = bytes(len(memory))
        return len(memory)

    for one in (
        Arriving(pieces(), None, None, None),
        Arriving(pieces(), 5_000_000, None, None, read_into),
    ):
        begun.clear()
        task = asyncio.create_task(uploads.upload(WHO, one))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.left_behind() == []
    await uploads.upload(WHO, arriving())  # the only place is free
    assert (await world.usage()).count == 1


async def test_cancelled_while_a_thread_writes(world: World) -> None:
    """The thread comes to it when nobody waits for it any more: it makes nothing, or what it made is deleted."""
    uploads, busy = world.uploads(), threading.Event()
    blocked = asyncio.create_task(world.threads.run(busy.wait))
    await asyncio.sleep(0)
    task = asyncio.create_task(uploads.upload(WHO, arriving()))
    for _ in range(20):  # as far as it gets without the thread
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    busy.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await blocked
    await world.threads.run(lambda: None)
    assert world.left_behind() == world.kept() == []
    assert await world.usage() == Usage(0, 0)
    await uploads.upload(WHO, arriving())
    assert world.left_behind() == []


async def test_content_in_a_store_that_is_not_configured(world: World) -> None:
    """It cannot be read, so nothing is made that refers to it, and nothing stays that nobody refers to."""
    await world.uploads("elsewhere").upload(WHO, arriving())
    for path in world.kept():
        path.unlink()  # it is elsewhere
    for _ in range(2):
        with pytest.raises(MatrixError) as refused:
            await world.uploads().upload(WHO, arriving())
        assert (refused.value.status, refused.value.code) == (503, "M_UNKNOWN")
        assert world.kept() == world.left_behind() == []
    assert (await world.usage()).count == 1
    await world.uploads().upload(WHO, arriving(b"other"))
    later = await world.uploads().create(WHO)
    with pytest.raises(MatrixError):
        await world.uploads().upload_to(WHO, SERVER_NAME, later.media_id, arriving())
    await world.uploads().upload_to(WHO, SERVER_NAME, later.media_id, arriving(b"other"))  # it can be tried again


@pytest.mark.parametrize("at", [0, 1])
async def test_a_store_that_fails(world: World, at: int) -> None:
    """Before the row is there, or after: an id that nobody was told is in no list."""
    uploads = world.uploads()
    if at:
        await uploads.upload(WHO, arriving())
    world.content.fails_from = at
    with pytest.raises(MatrixError) as refused:
        await uploads.upload(WHO, arriving())
    assert refused.value.status == 503
    assert (await world.usage()).count == at
    assert world.left_behind() == []
    assert len(world.kept()) == at
    world.content.fails_from = 1 << 30
    await uploads.upload(WHO, arriving())
    assert (await world.usage()).count == at + 1


async def test_content_that_comes_too_late(world: World) -> None:
    """The id is refused when its time is over, counts for nothing from then on, and is forgotten."""
    now, tomorrow = world.uploads(), world.uploads(clock=Later(2))
    made = [await now.create(WHO) for _ in range(5)]
    with pytest.raises(MatrixError) as refused:
        await now.create(WHO)
    assert refused.value.code == "M_LIMIT_EXCEEDED"
    with pytest.raises(MatrixError) as refused:
        await tomorrow.upload_to(WHO, SERVER_NAME, made[0].media_id, arriving())
    assert refused.value.code == "M_NOT_FOUND"
    await now.upload_to(WHO, SERVER_NAME, made[1].media_id, arriving())
    await tomorrow.create(WHO)
    assert await now.forget_expired() == 0
    assert await tomorrow.forget_expired() == 4
    assert (await world.usage()).count == 1


async def test_copies_of_other_servers_age(world: World) -> None:
    """They go by when they were read last; what was uploaded here stays."""
    uploads = world.uploads()
    own = await uploads.upload(WHO, arriving(b"own"))
    async with world.spool.file() as file:
        await file.write(b"a copy")
        await uploads.keep_remote("elsewhere.test", "abc", file, await file.finish(), "image/png", None)
    pool = ThumbnailPool(PoolSettings())
    cache = LocalStore("thumbnails", world.folder / "thumbnails", world.threads, digits=2)
    for days, gone in ((29, 0), (31, 1), (31, 0)):
        later = Later(days)
        library = world.library(later)
        thumbnails = Thumbnails(library, cache, world.spool, pool, later, keep_days=30, max_source_bytes=1)
        retention = Retention(local_days=0, remote_days=30, preview_days=0)
        aged = await MediaControl(world.store, library, thumbnails, world.spool, later, retention).age()
        assert (aged.media, aged.blobs) == (gone, gone)
    assert [path.name for path in world.kept()] == [own.digest.hex() if own.digest else ""]
    with pytest.raises(MatrixError):
        await world.library(SystemClock()).find("elsewhere.test", "abc", 0)
    await pool.close()
