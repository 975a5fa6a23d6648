"""Media: uploads and downloads, small and large, and the first thumbnail of a photograph.

Every upload has other content: a server that keeps equal content once would have little to do.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from PIL import Image

from benchmarks.measure import Measurement, Meter
from benchmarks.servers import HOST
from benchmarks.world import World

MIB = 1 << 20
SMALL = 200
LARGE = 5
PHOTOS = 8
PHOTO = (4_000, 3_000)


async def transfer(world: World) -> list[Measurement]:
    """1 MiB and 100 MiB, up and down, one after the other."""
    found: list[Measurement] = []
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=MIB) as session:
        client = MediaClient(session, world)
        warm = await client.upload(MIB)
        await client.download(warm)
        for name, size, times in (("1m", MIB, SMALL), ("100m", 100 * MIB, LARGE)):
            kept: list[str] = []

            async def up(size: int = size, kept: list[str] = kept) -> None:
                kept.append(await client.upload(size))

            async def down(kept: list[str] = kept) -> None:
                await client.download(kept.pop())

            found.append(await _measured(world, f"upload-{name}", times, size, up))
            found.append(await _measured(world, f"download-{name}", times, size, down))
    return found


async def thumbnails(world: World) -> list[Measurement]:
    """The first thumbnail of each of some photographs of 12 megapixels."""
    meter = Meter("thumbnail-12mp", world.server)
    async with aiohttp.ClientSession() as session:
        client = MediaClient(session, world)
        picture = photo()
        media = [await client.send(picture + bytes([number]), "image/jpeg") for number in range(PHOTOS)]
        await client.thumbnail(media.pop())  # whatever is started or loaded for the first one
        await meter.start()
        for found in media:
            began = time.perf_counter()
            await client.thumbnail(found)
            meter.latencies.append(time.perf_counter() - began)
        meter.mark_end()
    return [await meter.finish()]


async def _measured(world: World, name: str, times: int, size: int, work: Callable[[], Awaitable[None]]) -> Measurement:
    meter = Meter(name, world.server)
    await meter.start()
    for _ in range(times):
        began = time.perf_counter()
        await work()
        meter.latencies.append(time.perf_counter() - began)
    measured = await meter.finish()
    measured.extra["cpu_ms_per_mib"] = measured.cpu_ms * MIB / size
    return measured


class MediaClient:
    """One user who sends and reads media."""

    def __init__(self, session: aiohttp.ClientSession, world: World) -> None:
        self._session = session
        self._base = f"http://{HOST}:{world.server.port}"
        self._headers = {"Authorization": f"Bearer {world.senders[0].token}"}

    async def upload(self, size: int) -> str:
        """Send content that nobody has sent before; its server and id."""
        return await self.send(_stream(size), "application/octet-stream", size)

    async def send(self, data: bytes | AsyncIterator[bytes], content_type: str, size: int | None = None) -> str:
        """Send this content; its server and id."""
        headers = {**self._headers, "Content-Type": content_type}
        if size is not None:
            headers["Content-Length"] = str(size)
        body = io.BytesIO(data) if isinstance(data, bytes) else data
        address = f"{self._base}/_matrix/media/v3/upload"
        async with self._session.post(address, data=body, headers=headers) as answer:
            answer.raise_for_status()
            return str((await answer.json())["content_uri"]).removeprefix("mxc://")

    async def download(self, media: str) -> None:
        """Read all of it."""
        await self._get(f"download/{media}")

    async def thumbnail(self, media: str) -> None:
        """Ask for a usual size."""
        await self._get(f"thumbnail/{media}?width=800&height=600&method=scale")

    async def end_of(self, media: str, size: int, length: int) -> None:
        """Read the last bytes of content of a size; all of it, if ranges are not known."""
        address = f"{self._base}/_matrix/client/v1/media/download/{media}"
        headers = {**self._headers, "Range": f"bytes={size - length}-"}
        async with self._session.get(address, headers=headers) as answer:
            answer.raise_for_status()
            async for _ in answer.content.iter_chunked(MIB):
                pass

    async def read_slowly(self, media: str, seconds: float) -> None:
        """Read about 1 MiB a second, and go away after some seconds."""
        address = f"{self._base}/_matrix/client/v1/media/download/{media}"
        ends = time.perf_counter() + seconds
        async with self._session.get(address, headers=self._headers) as answer:
            answer.raise_for_status()
            while time.perf_counter() < ends and await answer.content.read(MIB // 16):
                await asyncio.sleep(1 / 16)
            answer.close()

    async def _get(self, path: str) -> None:
        address = f"{self._base}/_matrix/client/v1/media/{path}"
        async with self._session.get(address, headers=self._headers) as answer:
            answer.raise_for_status()
            async for _ in answer.content.iter_chunked(MIB):
                pass


async def _stream(size: int) -> AsyncIterator[bytes]:
    start = os.urandom(MIB // 16)
    yield start
    rest = bytes(MIB // 16)
    for _ in range(size // len(rest) - 1):
        yield rest


def photo() -> bytes:
    """A photograph of 12 megapixels, as far as decoders can tell."""
    noise = Image.effect_noise((PHOTO[0] // 4, PHOTO[1] // 4), 40).resize(PHOTO).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=85)
    return out.getvalue()
