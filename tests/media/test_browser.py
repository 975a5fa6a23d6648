"""A real Chromium shows what is stored here: by the cookie of the server's own pages, and by a service worker.

The page is put in by the test in the place of an answer of the server, so it has the server's origin; everything else
goes to the server.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import aiohttp
import pytest

from tests.support.browser import static_site
from tests.support.client import Client, eventually
from tests.support.fixtures import StartServer, unavailable
from tests.support.media import DOWNLOAD, THUMBNAIL, media_file, upload

pytestmark = pytest.mark.all_only

PAGE = "<!doctype html><meta charset=utf-8><title>media</title><body></body>"
PATH = "/test-page"

SHOW_IMAGE = """url => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve([image.naturalWidth, image.naturalHeight]);
    image.onerror = () => reject(new Error('not shown'));
    image.src = url;
    document.body.append(image);
})"""
TRY_IMAGE = """url => new Promise(resolve => {
    const image = new Image();
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.src = url;
})"""
SEEK = """async ([url, to]) => {
    const video = document.createElement('video');
    video.muted = true;
    video.preload = 'metadata';
    video.src = url;
    document.body.append(video);
    await new Promise((resolve, reject) => {
        video.onloadedmetadata = resolve;
        video.onerror = () => reject(new Error(video.error.message));
    });
    const seeked = new Promise(resolve => video.onseeked = resolve);
    video.currentTime = to;
    await seeked;
    const from = video.currentTime;
    await video.play();
    await new Promise(resolve => {
        const look = () => video.currentTime > from + 0.2 ? resolve() : requestAnimationFrame(look);
        look();
    });
    const now = video.currentTime;
    video.pause();
    return {from, now, width: video.videoWidth, duration: video.duration};
}"""
LOG_IN = """async token => {
    const headers = {Authorization: `Bearer ${token}`};
    const answer = await fetch('/_hromada/web/session', {method: 'PUT', headers});
    return [answer.status, document.cookie];
}"""


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Videos long enough that a browser does not read them whole before it seeks: type → bytes."""
    program = which("ffmpeg")
    if program is None:
        unavailable("no ffmpeg: install it")
        raise AssertionError
    folder = tmp_path_factory.mktemp("videos")
    made = {}
    for name, type_, codec in (("a.mp4", "video/mp4", "libx264"), ("a.webm", "video/webm", "libvpx")):
        source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10,noise=alls=60:allf=t:all_seed=1", "-t", "40"]
        fast = ["-preset", "ultrafast"] if codec == "libx264" else ["-deadline", "realtime", "-cpu-used", "8"]
        quality = [*fast, "-g", "20", "-b:v", "1200k", "-pix_fmt", "yuv420p"]
        command = [program, "-loglevel", "error", *source, "-c:v", codec, *quality, str(folder / name)]
        subprocess.run(command, check=True, timeout=100, stdin=subprocess.DEVNULL)
        made[type_] = Path(folder / name).read_bytes()
        assert len(made[type_]) > 1_500_000
    return made


@pytest.fixture
async def site(start_server: StartServer, http: aiohttp.ClientSession, page: Any) -> tuple[Client, Any]:
    """A user, and a page of the server's origin whose user it is (not yet logged in)."""
    server = start_server()
    user = await Client(http, server.url).register("viewer")
    await put_page(page, server.url)
    return user, page


async def put_page(page: Any, origin: str) -> None:
    async def answer(route: Any) -> None:
        await route.fulfill(status=200, content_type="text/html", body=PAGE)

    await page.route(f"{origin}{PATH}", answer)
    await page.goto(f"{origin}{PATH}")


async def test_image_by_cookie(site: tuple[Client, Any]) -> None:
    user, page = site
    photo = await upload(user, media_file("jpeg-portrait-exif6.jpg").data, "image/jpeg", "photo.jpg")
    assert await page.evaluate(TRY_IMAGE, f"{DOWNLOAD}/{photo}") is False
    assert await page.evaluate(LOG_IN, user.token) == [200, ""], "no script sees the cookie"
    assert await page.evaluate(SHOW_IMAGE, f"{DOWNLOAD}/{photo}") == [1200, 1800]
    small = f"{THUMBNAIL}/{photo}?width=320&height=240&method=scale"
    assert await page.evaluate(SHOW_IMAGE, small) == [160, 240]


@pytest.mark.parametrize("type_", ["video/mp4", "video/webm"])
async def test_video_plays_and_seeks(site: tuple[Client, Any], videos: dict[str, bytes], type_: str) -> None:
    user, page = site
    ranges: list[tuple[str | None, int]] = []

    async def note(response: Any) -> None:
        if DOWNLOAD in response.url:
            headers = await response.request.all_headers()
            ranges.append((headers.get("range"), response.status))

    page.on("response", note)
    media = await upload(user, videos[type_], type_, "clip")
    await page.evaluate(LOG_IN, user.token)
    seen = await page.evaluate(SEEK, [f"{DOWNLOAD}/{media}", 35])
    assert 34 < seen["from"] < seen["now"]
    assert seen["width"] == 320
    assert 39 < seen["duration"] < 41

    async def asked_for_parts() -> bool:
        sought = any(wanted not in (None, "bytes=0-") and status == 206 for wanted, status in ranges)
        return sought and ("bytes=0-", 206) in ranges

    await eventually(asked_for_parts)  # what was asked is told of a moment later


async def test_phone_video_with_its_index_at_the_end(site: tuple[Client, Any]) -> None:
    user, page = site
    media = await upload(user, media_file("video-portrait-moov-at-end.mp4").data, "video/mp4")
    await page.evaluate(LOG_IN, user.token)
    seen = await page.evaluate(SEEK, [f"{DOWNLOAD}/{media}", 1.5])
    assert 1.4 < seen["from"] < seen["now"]


async def test_the_cookie_is_for_this_origin_alone(
    site: tuple[Client, Any], start_server: StartServer, browser_context: Any
) -> None:
    """A page of another port is the same site: the browser sends the cookie with its requests, and gets nothing."""
    user, page = site
    photo = await upload(user, media_file("jpeg-gray.jpg").data, "image/jpeg")
    await page.evaluate(LOG_IN, user.token)
    address = f"{user.base_url}{DOWNLOAD}/{photo}"
    assert await page.evaluate(TRY_IMAGE, address) is True
    other = await browser_context.new_page()
    await put_page(other, start_server().url)
    assert await other.evaluate(TRY_IMAGE, f"{address}?again") is False


async def test_the_cookie_dies_with_the_device(site: tuple[Client, Any]) -> None:
    user, page = site
    photo = await upload(user, media_file("jpeg-gray.jpg").data, "image/jpeg")
    await page.evaluate(LOG_IN, user.token)
    assert await page.evaluate(TRY_IMAGE, f"{DOWNLOAD}/{photo}?a") is True
    await user.ok("POST", "/logout", {})
    assert await page.evaluate(TRY_IMAGE, f"{DOWNLOAD}/{photo}?b") is False


async def test_the_cookie_is_taken_back(site: tuple[Client, Any]) -> None:
    user, page = site
    photo = await upload(user, media_file("jpeg-gray.jpg").data, "image/jpeg")
    await page.evaluate(LOG_IN, user.token)
    await page.evaluate("fetch('/_hromada/web/session', {method: 'DELETE'}).then(answer => answer.status)")
    assert await page.evaluate(TRY_IMAGE, f"{DOWNLOAD}/{photo}?c") is False


WORKER = """
let token = null;
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()));
self.addEventListener('message', event => { token = event.data; event.ports[0].postMessage('thanks'); });
self.addEventListener('fetch', event => {
    if (!event.request.url.includes('/_matrix/client/v1/media/') || token === null) return;
    const headers = new Headers(event.request.headers);
    headers.set('Authorization', `Bearer ${token}`);
    event.respondWith(fetch(event.request.url, {headers, mode: 'cors', credentials: 'omit'}));
});
"""
START_WORKER = """async ([url, token]) => {
    await navigator.serviceWorker.register(url, {scope: '/'});
    const {active} = await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller)
        await new Promise(resolve => navigator.serviceWorker.oncontrollerchange = resolve);
    const {port1, port2} = new MessageChannel();
    const thanks = new Promise(resolve => port1.onmessage = resolve);
    active.postMessage(token, [port2]);
    await thanks;
}"""


async def test_service_worker_of_a_client_elsewhere(
    start_server: StartServer,
    http: aiohttp.ClientSession,
    browser_context: Any,
    videos: dict[str, bytes],
    tmp_path: Path,
) -> None:
    """How other clients do it: on an origin of their own, a service worker adds the token to what elements ask for."""
    user = await Client(http, start_server().url).register("elsewhere")
    photo = await upload(user, media_file("jpeg-portrait-exif6.jpg").data, "image/jpeg")
    video = await upload(user, videos["video/mp4"], "video/mp4")
    async with static_site({"/": ("text/html", PAGE), "/worker.js": ("text/javascript", WORKER)}) as origin:
        page = await browser_context.new_page()
        await page.goto(origin)
        await page.evaluate(START_WORKER, ["/worker.js", user.token])
        base = f"{user.base_url}{DOWNLOAD}"
        assert await page.evaluate(SHOW_IMAGE, f"{base}/{photo}") == [1200, 1800]
        seen = await page.evaluate(SEEK, [f"{base}/{video}", 35])
        assert 34 < seen["from"] < seen["now"]
