"""Pictures out of videos, by ffmpeg, and of HEIC and AVIF: where the configuration asks for them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from homeserver.ports.media import NotAPicture, ThumbnailSpec
from media_repo.thumbnails.pool import PoolSettings, ThumbnailPool
from tests.media.test_control import run
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.media import media_file, picture, thumbnail, upload
from tests.support.server import Server

pytestmark = pytest.mark.all_only

FORMATS = "png,jpeg,gif,webp,avif,heic,video"


@pytest.fixture(scope="module", autouse=True)
def _ffmpeg() -> None:
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        if os.environ.get("CI"):
            pytest.fail("ffmpeg is not installed")
        pytest.skip("ffmpeg is not installed")


@pytest.fixture
async def site(start_server: StartServer, http: aiohttp.ClientSession) -> tuple[Server, Client]:
    server = start_server(environment={"HROMADA_MEDIA_THUMBNAIL_FORMATS": FORMATS})
    return server, await Client(http, server.url).register("director")


@pytest.fixture
async def pool() -> AsyncIterator[ThumbnailPool]:
    made = ThumbnailPool(PoolSettings(workers=1, formats=("PNG", "JPEG", "VIDEO")))
    yield made
    await made.close()


async def test_posters_and_other_formats(site: tuple[Server, Client]) -> None:
    server, user = site
    for name, type_, size in (
        ("video-portrait-moov-at-end.mp4", "video/mp4", (135, 240)),
        ("video-imovie.mp4", "video/mp4", (320, 178)),
        ("video-vp8.webm", "video/webm", (320, 178)),
        ("avif-animated-alpha.avif", "image/avif", (150, 150)),
        ("heic-phone.heic", "image/heic", (65, 240)),
    ):
        media = await upload(user, media_file(name).data, type_)
        answer = await thumbnail(user, media, 320, 240)
        assert answer.status == 200, (name, answer)
        made = picture(answer.raw).size
        assert all(abs(a - b) <= 1 for a, b in zip(made, size, strict=True)), (name, made)
        assert answer.headers["Content-Type"] in ("image/png", "image/jpeg")
        told = await run(server, "info", f"mxc://{media}" if "mxc:" not in media else media)
        assert "x" in told.split("\t")[-1] or " s" in told
    assert "180x320\t3 s" in await run(server, "info", await uploaded(user, "video-portrait-moov-at-end.mp4"))
    for bad in (b"\0\0\0\x20ftypisom" + bytes(1000), b"#EXTM3U\nfile:///etc/passwd\n", media_file("voice.opus").data):
        (await thumbnail(user, await upload(user, bad, "video/mp4"), 96, 96)).error(400, "M_UNKNOWN")


async def uploaded(user: Client, name: str) -> str:
    media = await upload(user, media_file(name).data, "video/mp4")
    return media if media.startswith("mxc:") else f"mxc://{media}"


async def test_a_video_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    impatient = ThumbnailPool(PoolSettings(seconds=0, formats=("VIDEO",)))
    with pytest.raises(NotAPicture):
        await impatient.poster(media_file("video-portrait-moov-at-end.mp4").path)
    await impatient.close()
    assert not [child for child in psutil.Process().children() if "ff" in child.name()]


async def test_a_worker_that_is_killed_is_replaced(pool: ThumbnailPool) -> None:
    spec = ThumbnailSpec(32, 32, "crop")
    path = media_file("jpeg-progressive.jpg").path
    others = set(psutil.Process().children())  # databases of other tests
    assert await pool.make(path, "image/jpeg", spec) is not None
    (worker,) = set(psutil.Process().children()) - others
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(60)
    assert await pool.make(path, "image/jpeg", spec) is not None
    assert worker.pid not in [child.pid for child in psutil.Process().children()]
