"""Films, as telephones make them (H.264): visitors' carry what staff's clients show of them before they are loaded, and
staff's play and are sought in while they come.
"""

from __future__ import annotations

import io
import subprocess
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.embed.support_chat import Agent, host
from tests.embed.test_support_chat import Shop
from tests.embed.test_support_senses import MEDIA
from tests.support.client import eventually, part
from tests.support.fixtures import MakeUser, fresh, unavailable
from tests.support.media import download, upload
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Response

SECONDS = 40
SEEK = """async (to) => {
    const film = document.querySelector("video");
    film.muted = true;
    while (!film.duration) await new Promise((done) => setTimeout(done, 20));
    const sought = new Promise((done) => (film.onseeked = done));
    film.currentTime = to;
    await sought;
    const from = film.currentTime;
    await film.play();
    while (film.currentTime <= from + 0.2) await new Promise(requestAnimationFrame);
    film.pause();
    return { from, width: film.videoWidth, duration: film.duration, source: new URL(film.currentSrc).protocol };
}"""


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An H.264 film, long enough that no browser reads all of it before it seeks."""
    program = which("ffmpeg")
    if program is None:
        unavailable("no ffmpeg: install it")
        raise AssertionError
    encoders = subprocess.run([program, "-encoders"], capture_output=True, text=True, check=True, timeout=60).stdout
    if "libx264" not in encoders:
        unavailable("this ffmpeg has no encoder for H.264 (libx264)")
    path = tmp_path_factory.mktemp("films") / "h264.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=10,noise=alls=40:allf=t:all_seed=1", "-t", str(SECONDS)]
    quality = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-b:v", "1200k", "-pix_fmt", "yuv420p"]
    moved = ["-movflags", "+faststart", str(path)]
    command = [program, "-loglevel", "error", *source, *quality, *moved]
    subprocess.run(command, check=True, timeout=200, stdin=subprocess.DEVNULL)
    return path.read_bytes()


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_films_of_staff_play_and_are_sought_in_while_they_come(
    browser: Browser, server: Server, make_user: MakeUser, film: bytes
) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    ranges: list[str] = []
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "how is it put together?")

        async def note(response: Response) -> None:
            if "/media/download/" in response.url and response.status == 206:
                ranges.append((await response.request.all_headers()).get("range", ""))

        ada.page.on("response", note)
        uri = await upload(shop.agent.client, film, "video/mp4", "how-to.mp4")
        info = {"mimetype": "video/mp4", "size": len(film), "w": 1280, "h": 720}
        content = {"msgtype": "m.video", "body": "how-to.mp4", "url": f"mxc://{uri}", "info": info}
        path = f"/rooms/{part(room)}/send/m.room.message/{fresh('m')}"
        await shop.agent.client.ok("PUT", path, content)
        await ada.frame.locator("video").scroll_into_view_if_needed()
        await ada.frame.locator("video[src*='chat.hromada.site']").wait_for()
        seen = await ada.frame.evaluate(SEEK, SECONDS - 5)
        assert SECONDS - 6 < seen["from"] < SECONDS
        assert (seen["width"], seen["source"]) == (1280, "http:")
        assert abs(seen["duration"] - SECONDS) < 1

        async def sought() -> bool:
            return any(each not in ("", "bytes=0-") for each in ranges)

        await eventually(sought)  # what was asked is told of a moment later
        assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_films_of_visitors_say_how_large_and_long_they_are_and_show_a_still(
    browser: Browser, server: Server, make_user: MakeUser, film: bytes
) -> None:
    files = {"types": ["video/mp4", "video/webm", "image/jpeg"]}
    shop = Shop(server, Agent(await make_user("agent")), files=files)
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "look how it broke")

        async def sent(name: str, mime: str, data: bytes) -> dict[str, Any]:
            """What staff gets of a file."""
            chosen: Any = {"name": name, "mimeType": mime, "buffer": data}
            await ada.frame.locator("input[type=file]").set_input_files(chosen)
            content = dict((await shop.agent.hears(room, name))["content"])
            assert content["info"].pop("mimetype") == mime
            return content

        shown = await sent("broken.mp4", "video/mp4", film)
        info = shown["info"]
        assert (shown["msgtype"], info["size"], info["w"], info["h"]) == ("m.video", len(film), 1280, 720)
        assert abs(info["duration"] - SECONDS * 1000) < 1000
        assert len(info["xyz.amorgan.blurhash"]) > 6
        small = info["thumbnail_info"]
        assert (small["mimetype"], small["w"], small["h"]) == ("image/jpeg", 800, 450)
        still = (await download(shop.agent.client, info["thumbnail_url"].removeprefix("mxc://"))).raw
        assert (len(still), Image.open(io.BytesIO(still)).size) == (small["size"], (800, 450))
        # What this browser does not play goes as it is; pictures need no still, of which the server makes smaller ones.
        info = (await sent("torn.webm", "video/webm", b"no film"))["info"]
        assert info == {"size": len(b"no film")}
        info = (await sent("mug.jpg", "image/jpeg", (MEDIA / "picture.jpg").read_bytes()))["info"]
        assert (info.keys(), min(info["w"], info["h"]) > 0) == ({"size", "w", "h", "xyz.amorgan.blurhash"}, True)
        assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_films_go_without_a_still_where_the_site_takes_no_pictures(
    browser: Browser, server: Server, make_user: MakeUser, film: bytes
) -> None:
    shop = Shop(server, Agent(await make_user("agent")), files={"types": ["video/mp4"]})
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "look how it broke")
        chosen: Any = {"name": "broken.mp4", "mimeType": "video/mp4", "buffer": film}
        await ada.frame.locator("input[type=file]").set_input_files(chosen)
        info = (await shop.agent.hears(room, "broken.mp4"))["content"]["info"]
        assert (info["w"], "thumbnail_url" in info) == (1280, False)
        assert ada.faults == []
