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
from homeserver.ports.media import RemoteContent
from homeserver.ports.outbound import Outbound, OutboundRequest
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
            yield RemoteContent(answer.headers.get("Content-Type"), "../name.bin", answer.pieces())


@dataclass
class World:
    """A library that fetches from a site."""

    library: Library
    folder: Path
    asked: list[str] = field(default_factory=list)

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
    found = World(library, tmp_path)

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
    library.fetch_with(RemoteFetches(store, uploads, spool, asker, max_bytes=2_000_000).fetch)
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
    assert not list(world.folder.glob("content/??/??/*"))


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
