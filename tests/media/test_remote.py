"""The port for media of other servers: one fetch for all who wait, bounds, and what is stored. The other server is a
real one on loopback, asked by the outbound client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web

from homeserver.core.errors import MatrixError
from homeserver.ports.blobs import BlobStoreFailed
from homeserver.ports.media import Media, RemoteContent
from homeserver.ports.outbound import Outbound, OutboundAnswer, OutboundRequest
from homeserver.remote.addresses import AddressRules
from homeserver.remote.client import OutboundClient
from homeserver.services.media.library import BlobStores, Library, LibrarySettings, not_found
from homeserver.services.media.remote import RemoteFetches
from homeserver.services.media.uploads import Uploads, UploadSettings
from homeserver.storage.unit import Database
from homeserver.system import SystemClock, SystemEntropy
from media_repo.blobs.files import FileThreads
from media_repo.blobs.local import LocalStore
from media_repo.blobs.spool import FolderSpool
from tests.support.store import SERVER_NAME

ELSEWHERE = "elsewhere.test"


@dataclass
class Asker:
    """Implements `ports.media.RemoteMedia` as plainly as can be."""

    outbound: Outbound
    base: str

    @asynccontextmanager
    async def fetch(self, origin: str, media_id: str, timeout_ms: int) -> AsyncIterator[RemoteContent]:
        request = OutboundRequest(f"{self.base}/{media_id}", max_bytes=50_000_000)
        async with self.outbound.request(request) as answer:
            if answer.status == 404:
                raise not_found()
            yield RemoteContent(answer.headers.get("Content-Type"), "../name.bin", answer.pieces(), _length(answer))


def _length(answer: OutboundAnswer) -> int | None:
    announced = answer.headers.get("Content-Length")
    return None if announced is None else int(announced)


@dataclass
class World:
    """A library that fetches from a site."""

    library: Library
    store: Database
    folder: Path
    asked: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def left_behind(self) -> list[Path]:
        return [path for path in (self.folder / "incoming").rglob("*") if path.is_file() and path.name != "lock"]


@pytest.fixture
async def world(store: Database, tmp_path: Path) -> AsyncIterator[World]:
    threads = FileThreads()
    spool = FolderSpool(tmp_path / "incoming", threads)
    stores = BlobStores({"local": LocalStore("local", tmp_path / "content", threads)}, [], "local")
    clock = SystemClock()
    library = Library(store, stores, clock, SystemEntropy(), LibrarySettings(SERVER_NAME))
    uploads = Uploads(store, library, spool, clock, UploadSettings())
    found = World(library, store, tmp_path)

    async def answer(request: web.Request) -> web.StreamResponse:
        found.asked.append(request.path)
        if request.path == "/missing":
            return web.Response(status=404)
        if request.path == "/cut":
            response = web.StreamResponse(headers={"Content-Length": "1000000"})
            await response.prepare(request)
            await response.write(bytes(100_000))
            assert request.transport is not None
            request.transport.abort()
            return response
        if request.path in ("/slow", "/slow-cut"):
            response = web.StreamResponse(headers={"Content-Length": "1000000", "Content-Type": "video/mp4"})
            await response.prepare(request)
            await response.write(b"y" * 600_000)
            await found.go_on.wait()
            if request.path == "/slow":
                await response.write(b"z" * 400_000)
            elif request.transport is not None:
                request.transport.abort()
            return response
        await asyncio.sleep(0.2)
        size = {"/large": 3_000_000, "/empty": 0}.get(request.path, 500_000)
        return web.Response(body=b"x" * size, headers={"Content-Type": "image/png"})

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outbound = OutboundClient(AddressRules(allowed=[ip_network("127.0.0.1/32")]), user_agent="x")
    asker = Asker(outbound, f"http://127.0.0.1:{runner.addresses[0][1]}")
    library.fetch_with(RemoteFetches(store, uploads, spool, asker, max_bytes=2_000_000))
    yield found
    await outbound.close()
    await runner.cleanup()
    spool.close()
    threads.close()


async def test_one_fetch_for_many_readers(world: World) -> None:
    readers = [asyncio.create_task(world.library.find(ELSEWHERE, "abc", 1000)) for _ in range(20)]
    await asyncio.sleep(0.05)
    readers[0].cancel()
    found = await asyncio.gather(*readers[1:])
    assert {(media.kind, media.size, media.content_type, media.upload_name) for media in found} == {
        ("remote", 500_000, "image/png", "name.bin")
    }
    assert world.asked == ["/abc"]
    blob = await world.library.open(found[0])
    assert b"".join([piece async for piece in blob.read(0, blob.size)]) == b"x" * 500_000
    await blob.close()
    again = await world.library.find(ELSEWHERE, "abc", 0)
    assert again.digest == found[0].digest
    assert world.asked == ["/abc"], "it is here now"


@pytest.mark.parametrize(("media_id", "status"), [("missing", 404), ("large", 502), ("empty", 404)])
async def test_what_is_not_kept(world: World, media_id: str, status: int) -> None:
    with pytest.raises(MatrixError) as refused:
        await world.library.find(ELSEWHERE, media_id, 1000)
    assert refused.value.status == status
    assert not world.left_behind()
    assert not list(world.folder.glob("content/?/?/*"))


async def test_cut_in_the_middle(world: World) -> None:
    with pytest.raises(MatrixError) as refused:
        await world.library.find(ELSEWHERE, "cut", 1000)
    assert refused.value.status == 502
    assert not world.left_behind()


async def test_not_asked(world: World) -> None:
    for origin, allow in ((ELSEWHERE, False), (SERVER_NAME, True)):
        with pytest.raises(MatrixError) as refused:
            await world.library.find(origin, "abc", 0, allow_remote=allow)
        assert refused.value.status == 404
    assert world.asked == []


async def test_readers_get_it_while_it_comes(world: World) -> None:
    """Two of them, and a third who waits until it is stored: one fetch, everything right."""
    followed = await asyncio.gather(*(world.library.follow(ELSEWHERE, "slow", 1000) for _ in range(2)))
    stored = asyncio.create_task(world.library.find(ELSEWHERE, "slow", 1000))
    got = [bytearray(), bytearray()]

    async def read(number: int) -> None:
        incoming = followed[number]
        assert not isinstance(incoming, Media)
        assert (incoming.content_type, incoming.size) == ("video/mp4", 1_000_000)
        async for piece in incoming.read():
            got[number].extend(piece)
        await incoming.close()

    reading = [asyncio.create_task(read(number)) for number in range(2)]
    async with asyncio.timeout(60):
        while len(got[0]) < 500_000 or len(got[1]) < 500_000:
            await asyncio.sleep(0.01)
    assert not stored.done()
    reading[1].cancel()
    world.go_on.set()
    await reading[0]
    assert got[0] == b"y" * 600_000 + b"z" * 400_000
    assert (await stored).size == 1_000_000
    assert isinstance(await world.library.follow(ELSEWHERE, "slow", 0), Media), "it is here now"
    assert world.asked == ["/slow"]
    assert not world.left_behind()


async def test_what_is_cut_off_never_ends_well(world: World) -> None:
    incoming = await world.library.follow(ELSEWHERE, "slow-cut", 1000)
    assert not isinstance(incoming, Media)
    world.go_on.set()
    size = 0
    with pytest.raises(BlobStoreFailed):
        async for piece in incoming.read():
            size += len(piece)
    assert size < 600_000
    await incoming.close()
    assert not world.left_behind()


async def test_quarantined_content_is_not_given_under_another_id(world: World) -> None:
    first = await world.library.find(ELSEWHERE, "abc", 1000)
    async with world.store.write() as tx:
        await tx.media.set_quarantine(first.origin, first.media_id, "operator")
    followed = await world.library.follow(ELSEWHERE, "other", 1000)
    assert not isinstance(followed, Media)
    with pytest.raises(BlobStoreFailed):
        async for _ in followed.read():
            pass
    await followed.close()
    with pytest.raises(MatrixError) as refused:
        await world.library.find(ELSEWHERE, "other", 1000)
    assert refused.value.status == 404


@pytest.mark.parametrize(("media_id", "status"), [("missing", 404), ("large", 502), ("empty", 404)])
async def test_errors_before_the_first_byte_are_answers(world: World, media_id: str, status: int) -> None:
    with pytest.raises(MatrixError) as refused:
        await world.library.follow(ELSEWHERE, media_id, 1000)
    assert refused.value.status == status
