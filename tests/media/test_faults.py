"""Faults around media: a full disk, a bucket behind a bad network, a cache that goes, endless bodies, odd pictures."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from PIL import Image

from homeserver.ports.blobs import BlobMissing, BlobStoreFailed
from homeserver.ports.media import ThumbnailSpec
from media_repo.blobs.gcs import GcsSettings, GcsStore
from media_repo.thumbnails.pool import PoolSettings, ThumbnailPool
from tests.media.test_control import files
from tests.media.test_stores import MIB, read_all, source
from tests.media.test_uploads import left_behind, nothing_left
from tests.support.client import Client, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.faults import Filler, small_disk
from tests.support.fixtures import StartServer
from tests.support.gcs import BUCKET, Emulator
from tests.support.media import UPLOAD, download, picture, png, thumbnail, upload, upload_reply

# Google's library leaves connections with an unread error to the garbage collector.
pytestmark = [pytest.mark.all_only, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


async def test_a_full_disk(start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        server = start_server(environment={"HROMADA_MEDIA_FOLDER": str(disk / "media")})
        user = await Client(http, server.url).register("hoarder")
        before = await upload(user, png(600, 600), "image/png")
        reply = await upload_reply(user, bytes(12 * MIB))
        reply.error(503, "M_UNKNOWN")
        assert "Retry-After" in reply.headers
        filler = Filler(disk)
        filler.fill()
        (await upload_reply(user, b"x" * 100_000)).error(503, "M_UNKNOWN")
        (await thumbnail(user, before, 96, 96)).error(503, "M_UNKNOWN")
        assert (await download(user, before)).status == 200
        left = [path for path in (disk / "media" / "incoming").rglob("*") if path.is_file() and path.name != "lock"]
        assert not left
        filler.free()
        assert (await thumbnail(user, before, 96, 96)).status == 200
        after = await upload(user, b"x" * 100_000)
        assert (await download(user, after)).raw == b"x" * 100_000
        usage = (await user.request("GET", "/metrics")).raw
        assert b"hromada_media_store_failures_total 3.0" in usage
        await asyncio.to_thread(server.stop)


async def test_an_endless_body_is_stopped(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    """As fast as it can be sent: neither the disk nor memory takes more than the bound, and the place is free again."""
    environment = {"HROMADA_MEDIA_MAX_UPLOAD_BYTES": str(2 * MIB), "HROMADA_MEDIA_UPLOADS_PER_USER": "1"}
    server = start_server(environment=environment)
    user = await Client(http, server.url).register("endless")
    address = user.address("")
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
    sent, most = 0, 0

    def pour() -> bytes:
        """Send until the connection is reset; what was answered before is still to be read then."""
        nonlocal sent, most
        with socket.create_connection((address.host or "", address.port or 0), timeout=20) as connection:
            connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            with suppress(OSError):
                while True:
                    connection.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")
                    sent += 65_536
                    most = max([most, *(path.stat().st_size for path in left_behind(server) if path.exists())])
            return connection.recv(4_096)

    assert (await asyncio.to_thread(pour)).startswith(b"HTTP/1.1 413 ")
    assert most <= 2 * MIB
    assert sent < 40 * MIB
    await eventually(lambda: nothing_left(server))
    assert await upload(user, b"x")


# --- a bucket behind a bad network ---


@pytest.fixture
async def far(request: pytest.FixtureRequest, gcs_emulator: Emulator) -> AsyncIterator[tuple[GcsStore, FaultProxy]]:
    """A bucket behind a TCP proxy, and patience as usual; or `impatient`."""
    timeout_s, retry_s = getattr(request, "param", (30.0, 90.0))
    with FaultProxy.running(gcs_emulator.port) as proxy:
        settings = GcsSettings(
            BUCKET,
            f"{secrets.token_hex(6)}/",
            endpoint=f"http://127.0.0.1:{proxy.port}",
            threads=4,
            timeout_s=timeout_s,
            retry_s=retry_s,
        )
        store = GcsStore("gcs", settings)
        yield store, proxy
        proxy.flow()
        await store.close()


async def test_connections_are_cut_all_the_time(far: tuple[GcsStore, FaultProxy], tmp_path: Path) -> None:
    store, proxy = far
    kept = []
    for number in range(4):
        key, path, data = source(tmp_path, 600_000 + number)
        cutting = asyncio.create_task(asyncio.sleep(0.01 * number))
        cutting.add_done_callback(lambda _: proxy.reset())
        await store.put(key, path)
        kept.append((key, data))
    assert proxy.resets or kept
    for key, data in kept:
        proxy.reset_after(200_000)
        assert await read_all(store, key) == data
        assert (await store.stat(key)) is not None


@pytest.mark.parametrize("far", [(2.0, 4.0)], ids=["impatient"], indirect=True)
async def test_silence_ends_in_bounded_time_and_is_forgotten(far: tuple[GcsStore, FaultProxy], tmp_path: Path) -> None:
    store, proxy = far
    key, path, data = source(tmp_path, 100_000)
    other = source(tmp_path, 300_000)
    await store.put(key, path)
    proxy.hold()
    async with asyncio.timeout(120):
        for work in (store.put(other[0], other[1]), store.open(key), store.stat(key)):
            with pytest.raises(BlobStoreFailed):
                await work
    proxy.flow()
    proxy.cut()
    assert await read_all(store, key) == data
    with pytest.raises(BlobMissing):
        await store.open(other[0])
    await store.put(other[0], other[1])
    assert await read_all(store, other[0]) == other[2]


async def test_a_slow_bucket_is_only_slow(far: tuple[GcsStore, FaultProxy], tmp_path: Path) -> None:
    store, proxy = far
    key, path, data = source(tmp_path, 60_000)
    proxy.drip(2_000)
    await store.put(key, path)
    assert await read_all(store, key) == data


# --- sent to the bucket itself ---


def _key_file(token_uri: str) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {"type": "service_account", "client_email": "media@test.example", "token_uri": token_uri}
    return json.dumps({**account, "private_key_id": "1", "private_key": pem.decode(), "project_id": "test"})


async def test_clients_are_sent_to_the_bucket(
    start_server: StartServer, http: aiohttp.ClientSession, gcs_emulator: Emulator, tmp_path: Path
) -> None:
    """With a key, and a place that gives tokens for it, as Google's does."""

    async def token(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})

    application = web.Application()
    application.router.add_post("/token", token)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    key_file = tmp_path / "gcs.json"
    key_file.write_text(_key_file(f"http://127.0.0.1:{runner.addresses[0][1]}/token"))
    key_file.chmod(0o600)
    server = start_server(
        environment={
            "HROMADA_MEDIA_GCS_BUCKET": BUCKET,
            "HROMADA_MEDIA_GCS_PREFIX": f"{secrets.token_hex(4)}/",
            "HROMADA_MEDIA_GCS_ENDPOINT": gcs_emulator.url,
            "HROMADA_MEDIA_GCS_CREDENTIALS_FILE": str(key_file),
            "HROMADA_MEDIA_GCS_SIGNED_URLS": "true",
            "HROMADA_MEDIA_ALLOW_LEGACY": "true",
            "HROMADA_MEDIA_LEGACY_BEFORE": "2100-01-01",
        }
    )
    user = await Client(http, server.url).register("linked")
    media = await upload(user, png(64, 64), "image/png", "cat.png")
    address = f"{server.url}/_matrix/client/v1/media/download/{media}"
    headers = {"Authorization": f"Bearer {user.token}"}
    async with http.get(address, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 307
        where = answer.headers["Location"]
        assert "max-age=60" in answer.headers["Cache-Control"]
    assert where.startswith(gcs_emulator.url)
    for said in ("X-Goog-Signature=", "X-Goog-Expires=300", "image%2Fpng", "cat.png"):
        assert said in where, said
    assert user.token is not None
    assert user.token not in where
    old = f"{server.url}/_matrix/media/v3/download/{media}"
    async with http.get(old, allow_redirects=False) as answer:
        assert answer.status == 200, "not unless the client says that it follows"
    async with http.get(f"{old}?allow_redirect=true", allow_redirects=False) as answer:
        assert answer.status == 307
    assert (await thumbnail(user, media, 32, 32)).status == 200, "made here"
    await asyncio.to_thread(server.stop)
    await runner.cleanup()


# --- the cache of thumbnails, and odd pictures ---


async def test_thumbnails_may_be_deleted_at_any_time(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server()
    user = await Client(http, server.url).register("cacher")
    media = await upload(user, png(400, 100), "image/png")
    made = {method: await thumbnail(user, media, 96, 96, method) for method in ("crop", "scale")}
    assert picture(made["crop"].raw).size == (96, 96)
    assert picture(made["scale"].raw).size == (96, 24)
    for stopped in (False, True):
        if stopped:
            await asyncio.to_thread(server.stop)
        for path in files(server, "thumbnails"):
            path.unlink()
        if stopped:
            await asyncio.to_thread(server.start)
            user.base_url = server.url
        for method, before in made.items():
            again = await thumbnail(user, media, 96, 96, method)
            assert (again.status, again.raw) == (200, before.raw)
        assert len(files(server, "thumbnails")) == 2
    await asyncio.to_thread(server.restart)
    user.base_url = server.url
    for method, before in made.items():
        assert (await thumbnail(user, media, 96, 96, method)).raw == before.raw
    assert len(files(server, "content")) == 1, "originals only"


def header_only(width: int, height: int) -> bytes:
    """A PNG that announces a size and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


async def test_odd_sizes(alice: Client) -> None:
    for width, height in ((1, 1), (1, 5_000), (5_000, 1)):
        media = await upload(alice, png(width, height), "image/png")
        for method in ("crop", "scale"):
            small = picture((await thumbnail(alice, media, 96, 96, method)).raw)
            assert small.width >= 1
            assert small.height >= 1
            assert max(small.size) <= 96
    media = await upload(alice, header_only(30_000, 30_000), "image/png")
    (await thumbnail(alice, media, 96, 96)).error((400, 413), "M_TOO_LARGE", "M_UNKNOWN")


def pictures_of_all_modes() -> Iterator[tuple[str, int, bytes]]:
    """Red on the left, blue on the right (or black and white), as far as a mode and an orientation can say."""
    base = Image.new("RGB", (64, 32), "red")
    base.paste("blue", (32, 0, 64, 32))
    for mode, format_ in (
        ("1", "PNG"),
        ("L", "JPEG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("RGB", "JPEG"),
        ("RGBA", "WEBP"),
        ("CMYK", "JPEG"),
        ("I;16", "PNG"),
    ):
        made = base.convert("L").convert("I").point(lambda value: value * 256).convert("I;16")
        image = made if mode == "I;16" else base.convert(mode)
        for turned in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = turned
            exif[0x8825] = {1: "N", 29: "50 deg"}
            out = io.BytesIO()
            more = {"transparency": 0} if mode == "P" else {}
            image.save(out, format_, exif=exif, **more)
            yield mode, turned, out.getvalue()


async def test_every_mode_and_orientation(tmp_path: Path) -> None:
    pool = ThumbnailPool(PoolSettings(workers=1))
    path = tmp_path / "picture"
    for mode, turned, data in pictures_of_all_modes():
        path.write_bytes(data)
        made = await pool.make(path, "image/png", ThumbnailSpec(32, 32, "scale"))
        assert made is not None, (mode, turned)
        small = Image.open(io.BytesIO(made.data))
        small.load()
        assert small.size == ((16, 32) if turned in (5, 6, 7, 8) else (32, 16)), (mode, turned)
        assert not small.getexif()
        assert b"50 deg" not in made.data
    await pool.close()
