"""Pictures that would take much to decode, many at a time, and what is more than one thing."""

from __future__ import annotations

import asyncio
import io
import struct
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from homeserver.ports.media import NotAPicture, ThumbnailSpec
from media_repo.thumbnails.pool import PoolSettings, ThumbnailPool
from tests.support.media import media_file, png

MIB = 1 << 20
WORKERS = 2
STILL = ThumbnailSpec(96, 96, "scale")
MOVING = ThumbnailSpec(96, 96, "scale", animated=True)


@pytest.fixture
async def pool() -> AsyncIterator[ThumbnailPool]:
    pool = ThumbnailPool(PoolSettings(workers=WORKERS))
    yield pool
    await pool.close()


def gif(frames: int) -> bytes:
    """A GIF of so many frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\x04\0\2\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return head + frame * frames + b"\x3b"


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: no byte of it says more than how large it is."""
    bits = (width - 1) | (height - 1) << 14
    body = b"\x2f" + struct.pack("<I", bits) + b"\x88\x88\x08" + bytes(8)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


async def test_ten_thousand_frames_are_one(pool: ThumbnailPool, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(gif(10_000))
    with Image.open(path) as whole:
        assert getattr(whole, "n_frames", 1) == 10_000
    for spec in (STILL, MOVING):
        made = await pool.make(path, "image/gif", spec)
        assert made is not None
        assert getattr(Image.open(io.BytesIO(made.data)), "n_frames", 1) == 1


async def test_many_large_ones_at_once(pool: ThumbnailPool, tmp_path: Path) -> None:
    """Pictures of more pixels than are decoded, in a few bytes; meanwhile others get theirs."""
    bombs = [webp(16_383, 16_383), media_file("png-20000x20000-1bit.png").data, media_file("png-ztxt-bomb.png").data]
    paths = []
    for number in range(9):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(bombs[number % 3])
    good = tmp_path / "good"
    good.write_bytes(png(200, 200))
    here = psutil.Process()
    before, most = here.memory_info().rss, 0

    async def refused(path: Path) -> bool:
        try:
            await pool.make(path, "image/png", STILL)
        except NotAPicture:
            return True
        return False

    async def watch() -> None:
        nonlocal most
        while True:
            most = max([most, *(child.memory_info().rss for child in here.children() if child.is_running())])
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    *found, made = await asyncio.gather(*map(refused, paths), pool.make(good, "image/png", STILL))
    watching.cancel()
    assert [all(found[kind::3]) for kind in range(2)] == [True, True]  # the third has harmless pixels beside its bomb
    assert made is not None
    assert most < 512 * MIB
    assert here.memory_info().rss - before < 50 * MIB


@pytest.mark.parametrize("kind", ["zip", "html", "pdf"])
async def test_what_is_two_things_is_only_a_picture_made_smaller(
    pool: ThumbnailPool, tmp_path: Path, kind: str
) -> None:
    """A picture with an archive, a page or a document behind it: nothing of that is in what is made of it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("evil.js", "alert(1)")
    behind = {"zip": archive.getvalue(), "html": b"<script>evil</script>", "pdf": b"%PDF-1.4\nevil"}[kind]
    path = tmp_path / "picture"
    path.write_bytes(png(300, 300) + behind)
    made = await pool.make(path, "text/html", STILL)
    assert made is not None
    assert b"evil" not in made.data
    assert Image.open(io.BytesIO(made.data)).size == (96, 96)
