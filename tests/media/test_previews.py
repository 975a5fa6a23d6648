"""URL previews of a running server, which asks a real site on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from tests.support.client import Client, Reply, eventually
from tests.support.fixtures import DATABASES, StartServer, fresh
from tests.support.media import VECTORS, download, media_file
from tests.support.postgres import PostgresCluster
from tests.support.server import Server, ServerOptions

PREVIEW = "/_matrix/client/v1/media/preview_url"


class Site:
    """Pages: path → (type, bytes); what was asked for is in `seen`."""

    def __init__(self) -> None:
        self.url = ""
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.statuses: dict[str, int] = {}
        self.redirects: dict[str, str] = {}
        self.slow: set[str] = set()
        self.hanging: set[str] = set()
        self.over = asyncio.Event()
        self.endless: dict[str, str] = {}
        self.seen: list[web.Request] = []
        self.ended: list[str] = []

    def asked(self, path: str) -> int:
        return len([request for request in self.seen if request.path == path])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        path = request.path
        if path in self.slow:
            await asyncio.sleep(0.5)
        if path in self.hanging:
            await self.over.wait()
        if path in self.endless:
            return await self._go_on(request)
        if path in self.redirects:
            return web.Response(status=302, headers={"Location": self.redirects[path]})
        type_, data = self.pages.get(path, ("text/plain", b""))
        return web.Response(
            status=self.statuses.get(path, 200 if path in self.pages else 404),
            body=data,
            headers={"Content-Type": type_},
        )

    async def _go_on(self, request: web.Request) -> web.StreamResponse:
        """More and more of it, until nobody wants it any more."""
        response = web.StreamResponse(headers={"Content-Type": self.endless[request.path]})
        await response.prepare(request)
        if "html" in self.endless[request.path]:
            await response.write(page(meta("og:title", "Begins"))[1])
        with suppress(ConnectionError):
            while not self.over.is_set():
                await response.write(b"<p>" * 20_000)
        self.ended.append(request.path)
        return response


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    site = Site()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield site
    finally:
        site.over.set()
        await runner.cleanup()


@pytest.fixture(scope="module", params=DATABASES)
def preview_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that makes previews, shared by these tests: each has a site of its own."""
    url = None
    if request.param == "postgres":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        url = cluster.make_database()
    environment = {
        "HROMADA_PREVIEWS_ENABLED": "true",
        "HROMADA_PREVIEWS_IMAGE_BYTES": "300000",
        "HROMADA_PREVIEWS_SECONDS": "10",
        "HROMADA_PREVIEWS_DENY_HOSTS": "*.denied.example",
        "HROMADA_OUTBOUND_ALLOW": "127.0.0.1/32",
    }
    running = Server(
        tmp_path_factory.mktemp("previews") / "data", ServerOptions(database_url=url, environment=environment)
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def world(preview_server: Server, http: aiohttp.ClientSession) -> AsyncIterator[tuple[Client, Site]]:
    """A user, and a site."""
    user = await Client(http, preview_server.url).register(fresh("reader"))
    async with serving() as site:
        yield user, site


async def preview(user: Client, url: str, **more: object) -> Reply:
    return await user.request("GET", PREVIEW, params={"url": url}, **more)  # type: ignore[arg-type]


def page(*tags: str) -> tuple[str, bytes]:
    return "text/html; charset=utf-8", f"<!doctype html><head>{''.join(tags)}</head>".encode()


def meta(name: str, value: str) -> str:
    return f'<meta property="{name}" content="{value}">'


async def test_page_with_picture(world: tuple[Client, Site]) -> None:
    user, site = world
    photo = media_file("jpeg-portrait-exif6.jpg").data
    site.pages["/photo.jpg"] = ("image/jpeg", photo)
    site.pages["/a"] = page(meta("og:title", "Title"), meta("og:image", "/photo.jpg"), meta("og:type", "article"))
    found = (await preview(user, f"{site.url}/a#part")).ok()
    assert found["og:title"] == "Title"
    assert found["og:type"] == "article"
    assert (found["og:image:width"], found["og:image:height"]) == (1200, 1800)
    assert found["og:image:type"] == "image/jpeg"
    assert found["matrix:image:size"] == len(photo)
    assert (await download(user, found["og:image"].removeprefix("mxc://"))).raw == photo
    assert (await preview(user, f"{site.url}/a")).body == found
    assert site.asked("/a") == site.asked("/photo.jpg") == 1, "kept"


async def test_many_ask_at_once(world: tuple[Client, Site]) -> None:
    user, site = world
    site.pages["/slow"] = page(meta("og:title", "Slow"))
    site.slow.add("/slow")
    found = await asyncio.gather(*(preview(user, f"{site.url}/slow") for _ in range(10)))
    assert {reply.body["og:title"] for reply in found} == {"Slow"}
    assert site.asked("/slow") == 1


async def test_language(world: tuple[Client, Site]) -> None:
    user, site = world
    site.pages["/l"] = page("<title>t</title>")
    await preview(user, f"{site.url}/l", headers={"Accept-Language": "uk, en;q=0.5"})
    await preview(user, f"{site.url}/l", headers={"Accept-Language": "de"})
    assert [request.headers["Accept-Language"] for request in site.seen] == ["uk, en;q=0.5", "de"]


async def test_oembed(world: tuple[Client, Site]) -> None:
    user, site = world
    link = '<link rel="alternate" type="application/json+oembed" href="/oembed?x=1">'
    site.pages["/v"] = page("<title>Video</title>", link)
    site.pages["/oembed"] = (
        "application/json",
        b'{"title": "Bees, slowly", "author_name": "Olena", "thumbnail_url": 5}',
    )
    found = (await preview(user, f"{site.url}/v")).ok()
    assert found == {"og:title": "Bees, slowly", "og:description": "by Olena"}
    site.pages["/w"] = page("<title>Video</title>", link.replace("/oembed", "/nowhere"))
    assert (await preview(user, f"{site.url}/w")).ok() == {"og:title": "Video"}


async def test_a_picture_itself(world: tuple[Client, Site]) -> None:
    user, site = world
    site.pages["/p.png"] = ("image/png", media_file("png-palette-trns.png").data)
    found = (await preview(user, f"{site.url}/p.png")).ok()
    assert (found["og:image:width"], found["og:image:type"]) == (64, "image/png")
    site.pages["/x.png"] = ("image/png", b"no picture")
    assert (await preview(user, f"{site.url}/x.png")).ok() == {}
    site.pages["/z.zip"] = ("application/zip", b"PK")
    assert (await preview(user, f"{site.url}/z.zip")).ok() == {}


@pytest.mark.parametrize("what", ["missing", "forbidden", "text", "large", "inside", "svg", "bomb"])
async def test_the_text_stands_without_its_picture(world: tuple[Client, Site], what: str) -> None:
    user, site = world
    image = f"/{what}"
    if what == "forbidden":
        site.statuses[image] = 403
    elif what == "text":
        site.pages[image] = ("image/png", b"<html>")
    elif what == "large":
        site.pages[image] = ("image/png", bytes(400_000))
    elif what == "inside":
        image = site.url.replace("127.0.0.1", "127.0.0.2") + "/inside"
    elif what == "svg":
        site.pages[image] = ("image/svg+xml", media_file("svg-entities.svg").data)
    elif what == "bomb":
        site.pages[image] = ("image/png", media_file("png-20000x20000-1bit.png").data)
    site.pages["/t"] = page(meta("og:title", "Stands"), meta("og:image", image))
    assert (await preview(user, f"{site.url}/t")).ok() == {"og:title": "Stands"}
    assert site.asked("/inside") == 0


async def test_what_never_ends_is_cut(world: tuple[Client, Site]) -> None:
    """A page's beginning is enough; a picture has to end."""
    user, site = world
    site.pages["/large"] = page(meta("og:title", "Large"), "<p>" * 1_000_000)
    assert (await preview(user, f"{site.url}/large")).ok() == {"og:title": "Large"}
    site.endless = {"/page": "text/html", "/picture": "image/png"}
    assert (await preview(user, f"{site.url}/page")).ok() == {"og:title": "Begins"}
    site.pages["/t"] = page(meta("og:title", "Stands"), meta("og:image", "/picture"))
    assert (await preview(user, f"{site.url}/t")).ok() == {"og:title": "Stands"}

    async def is_left() -> bool:
        return site.ended == ["/page", "/picture"]

    await eventually(is_left)


async def test_the_text_does_not_wait_for_ever(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    """A picture, and an oEmbed, that never come cost the preview nothing but time."""
    server = start_server(
        "sqlite",
        environment={
            "HROMADA_PREVIEWS_ENABLED": "true",
            "HROMADA_PREVIEWS_SECONDS": "4",
            "HROMADA_OUTBOUND_ALLOW": "127.0.0.1/32",
        },
    )
    user = await Client(http, server.url).register("reader")
    async with serving() as site:
        site.hanging = {"/never", "/q"}
        site.pages["/p"] = page(meta("og:title", "Stands"), meta("og:image", "/never"))
        oembed = '<link rel="alternate" type="application/json+oembed" href="/never?o">'
        site.pages["/o"] = page("<title>Stands</title>", oembed)
        *found, nothing = await asyncio.gather(*(preview(user, f"{site.url}/{name}") for name in "poq"))
        assert [answer.ok() for answer in found] == [{"og:title": "Stands"}] * 2
        assert site.asked("/never") == 2
        nothing.error(502, "M_UNKNOWN")


async def test_what_is_not_fetched(world: tuple[Client, Site]) -> None:
    user, site = world
    for url in (
        "data:text/html,x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "nonsense",
        "http://",
        "",
        "//a.example",
    ):
        (await preview(user, url)).error(400, "M_INVALID_PARAM")
    (await preview(user, "https://a.denied.example/")).error(403, "M_FORBIDDEN")
    (await user.request("GET", PREVIEW)).error(400, "M_MISSING_PARAM")
    site.redirects["/r"] = site.url.replace("127.0.0.1", "127.0.0.2") + "/secret"
    inside, nowhere = (site.url.replace("127.0.0.1", host) for host in ("127.0.0.2", "nowhere.invalid"))
    for url in (f"{site.url}/r", inside, nowhere):
        (await preview(user, url)).error(502, "M_UNKNOWN")
    assert site.asked("/secret") == 0
    (await preview(user, f"{site.url}/gone")).error(502, "M_UNKNOWN")
    (await preview(user, f"{site.url}/gone")).error(502, "M_UNKNOWN")
    assert site.asked("/gone") == 1, "not asked again at once"
    (await preview(user.anonymous(), f"{site.url}/gone")).error(401)


async def test_vectors_are_served(world: tuple[Client, Site]) -> None:
    """Pages as they come over a connection; what they say is tried in test_pages."""
    user, site = world
    for name, title in (
        ("01-windows-1251-meta-only.html", "Їжак у ґанку: новини Києва"),  # noqa: RUF001 - Ukrainian
        ("08-huge-head.html", "Behind 200 kB of styles"),
        ("15-hostile-values.html", "Nice page"),
    ):
        site.pages[f"/{name}"] = ("text/html", (VECTORS / "previews" / name).read_bytes())
        found = (await preview(user, f"{site.url}/{name}")).ok()
        assert found["og:title"] == title
        assert "og:image" not in found


async def test_off_by_default(alice: Client) -> None:
    (await preview(alice, "https://a.example/")).error(404, "M_UNRECOGNIZED")
