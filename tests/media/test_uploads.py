"""Uploads: at once and later, in chunks, too large, cut off, beyond the quota; and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.media.test_control import run
from tests.support.client import Client, eventually
from tests.support.fixtures import MakeUser, StartServer
from tests.support.media import UPLOAD, download, media_files, png, thumbnail, upload, upload_reply
from tests.support.server import Server

MIB = 1 << 20


async def pieces(count: int, size: int = 65_536) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * size


def left_behind(server: Server) -> list[Path]:
    """Files of content on its way, the locks of the folders aside."""
    folder = server.data_dir / "media" / "incoming"
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


async def create(client: Client) -> str:
    body = await client.ok("POST", "/_matrix/media/v1/create", {})
    assert body["unused_expires_at"] > 1_700_000_000_000
    return str(body["content_uri"]).removeprefix("mxc://")


async def test_config(alice: Client) -> None:
    for path in ("/_matrix/client/v1/media/config", "/_matrix/media/v3/config", "/_matrix/media/r0/config"):
        assert await alice.ok("GET", path) == {"m.upload.size": 52_428_800}


async def test_chunked(alice: Client) -> None:
    reply = await upload_reply(alice, pieces(40), "video/mp4")
    answer = await download(alice, reply.ok()["content_uri"].removeprefix("mxc://"))
    assert answer.raw == b"".join([piece async for piece in pieces(40)])


async def test_nothing_at_all(alice: Client) -> None:
    (await upload_reply(alice, b"")).error(400, "M_INVALID_PARAM")
    (await upload_reply(alice, pieces(0))).error(400, "M_INVALID_PARAM")


async def test_old_names(alice: Client) -> None:
    for version in ("r0", "v1"):
        assert (await upload_reply(alice, b"x", path=f"/_matrix/media/{version}/upload")).status == 200


async def test_later(alice: Client, bob: Client) -> None:
    media = await create(alice)
    path = f"{UPLOAD}/{media}"
    waiting = asyncio.create_task(download(alice, media))
    (await download(bob, media, params={"timeout_ms": 0})).error(504, "M_NOT_YET_UPLOADED")
    (await upload_reply(bob, b"x", path=path, method="PUT")).error(403, "M_FORBIDDEN")
    assert (await upload_reply(alice, b"content", "text/plain", "a.txt", path=path, method="PUT")).ok() == {}
    assert (await waiting).raw == b"content"
    (await upload_reply(alice, b"other", path=path, method="PUT")).error(409, "M_CANNOT_OVERWRITE_MEDIA")
    assert (await download(bob, media)).raw == b"content"
    unknown = f"{UPLOAD}/{media.partition('/')[0]}/unknown"
    (await upload_reply(alice, b"x", path=unknown, method="PUT")).error(404, "M_NOT_FOUND")
    (await upload_reply(alice, b"x", path=f"{UPLOAD}/elsewhere.test/abc", method="PUT")).error(404, "M_NOT_FOUND")


async def test_few_may_wait(alice: Client) -> None:
    made = [await create(alice) for _ in range(5)]
    (await alice.request("POST", "/_matrix/media/v1/create", {})).error(429, "M_LIMIT_EXCEEDED")
    (await upload_reply(alice, b"x", path=f"{UPLOAD}/{made[0]}", method="PUT")).ok()
    await create(alice)


async def test_equal_bytes_at_once(alice: Client, bob: Client, make_user: MakeUser, server: Server) -> None:
    data = png(64, 64, (1, 2, 3)) + server.url.encode()
    users = [alice, bob, await make_user("carol")]
    found = await asyncio.gather(*(upload(users[number % 3], data, "image/png") for number in range(20)))
    assert len(set(found)) == 20
    for media in found:
        assert (await download(alice, media)).raw == data


async def test_what_thumbnailers_choke_on_is_taken(alice: Client) -> None:
    shapes = [png(1, 1), png(1, 5000), png(5000, 1)]
    for data in shapes:
        media = await upload(alice, data, "image/png")
        for size in (32, 96, 640):
            assert (await thumbnail(alice, media, size, size)).status == 200
            assert (await thumbnail(alice, media, size, size, "crop")).status == 200
    for data in (b"PK\x03\x04" + bytes(100), b"text", png(300, 300)[:200], media_files()[0].data[:50]):
        media = await upload(alice, data, "image/png")
        (await thumbnail(alice, media, 96, 96)).error(400, "M_UNKNOWN")
        (await thumbnail(alice, media, 96, 96)).error(400, "M_UNKNOWN")
        assert (await download(alice, media)).raw == data


@pytest.fixture
async def small(start_server: StartServer, database: str, http: object) -> tuple[Server, Client]:
    """A server that takes little."""
    server = start_server(
        database,
        environment={
            "HROMADA_MEDIA_MAX_UPLOAD_BYTES": "1000000",
            "HROMADA_MEDIA_QUOTA_BYTES": "1500000",
            "HROMADA_MEDIA_UPLOADS_PER_USER": "2",
        },
    )
    return server, await Client(http, server.url).register("small")  # type: ignore[arg-type]


async def test_bounds(small: tuple[Server, Client]) -> None:
    server, user = small
    (await upload_reply(user, bytes(1_000_001))).error(413, "M_TOO_LARGE")
    reply = await upload_reply(user, pieces(200))
    reply.error(413, "M_TOO_LARGE")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert await upload(user, bytes(1_000_000))
    (await upload_reply(user, bytes(600_000))).error(403, "M_FORBIDDEN")
    (await upload_reply(user, pieces(10))).error(403, "M_FORBIDDEN")
    assert await upload(user, b"x" * 500_000)
    (await user.request("POST", "/_matrix/media/v1/create", {})).error(403, "M_FORBIDDEN")
    await eventually(lambda: nothing_left(server))
    content = [path for path in (server.data_dir / "media" / "content").rglob("*") if path.is_file()]
    assert sorted(path.stat().st_size for path in content) == [500_000, 1_000_000]


async def nothing_left(server: Server) -> bool:
    return not left_behind(server)


async def test_lying_length(small: tuple[Server, Client]) -> None:
    """A header that announces too much is refused at once; one that announces too little cuts the body there."""
    _, user = small
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
    answer = await user.raw(f"{head}Content-Length: 5000000\r\n\r\n".encode() + b"x" * 1000, timeout=30)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"M_TOO_LARGE" in answer
    assert b"access-control-allow-origin: *" in answer.lower()
    answer = await user.raw(f"{head}Content-Length: -5\r\n\r\n".encode(), timeout=30)
    assert answer.startswith(b"HTTP/1.1 400")


async def test_cut_off(small: tuple[Server, Client]) -> None:
    server, user = small
    for framing, sent in (
        ("Content-Length: 900000\r\n\r\n", 60_000),
        ("Transfer-Encoding: chunked\r\n\r\nfff00\r\n", 700_000),
    ):
        begun = await begin_all(user, framing.encode() + bytes(sent))
        for _, writer in begun:
            writer.transport.abort()
        await eventually(lambda: nothing_left(server))
        await eventually(lambda: is_free(user))  # the places of both
    content = list((server.data_dir / "media").glob("content/?/?/*"))
    assert {path.stat().st_size for path in content} <= {1}


async def begin_all(user: Client, rest: bytes) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Begin uploads, with this behind their heads, until as many run as the user may have; some are refused perhaps."""
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
    begun = []

    async def is_full() -> bool:
        begun.append(await asyncio.open_connection(user.address("").host, user.address("").port))
        begun[-1][1].write(head.encode() + rest)
        reply = await upload_reply(user, b"x")
        return reply.status == 429 and b"running already" in reply.raw

    await eventually(is_full)
    return begun


async def is_free(user: Client) -> bool:
    return (await upload_reply(user, b"x")).status == 200


async def test_few_at_a_time(small: tuple[Server, Client]) -> None:
    server, user = small
    begun = await begin_all(user, b"Content-Length: 9000\r\n\r\nx")
    (await upload_reply(user, b"x")).error(429, "M_LIMIT_EXCEEDED")
    answers = []
    for reader, writer in begun:
        writer.write(b"x" * 8999)
        answers.append((await reader.readline()).split()[1])
        writer.close()
    assert answers.count(b"200") == 2
    assert set(answers) <= {b"200", b"429"}
    assert await upload(user, b"x")
    await eventually(lambda: nothing_left(server))


async def test_kill_in_the_middle(
    start_server: StartServer, database: str, http: object, request: pytest.FixtureRequest
) -> None:
    """After kill -9 every acknowledged upload is whole, nothing else is there, and the next start clears the folder.

    More than once with `--crash-kills`.
    """
    server = start_server(database)
    user = await Client(http, server.url).register("killed")  # type: ignore[arg-type]
    acknowledged: dict[str, bytes] = {}

    async def go_on(number: int) -> None:
        for round_ in range(1_000):
            data = f"{number} {round_} {len(acknowledged)} ".encode() * (5_000 * number)
            try:
                acknowledged[await upload(user, data)] = data
            except (OSError, AssertionError):
                return
            except Exception as error:  # aiohttp's own
                assert "Server" in type(error).__name__ or "Client" in type(error).__name__, error
                return

    for kill in range(1, max(1, request.config.getoption("--crash-kills") // 4) + 1):
        tasks = [asyncio.create_task(go_on(number)) for number in range(1, 5)]
        await eventually(lambda: many(acknowledged, 12 * kill))  # noqa: B023 - awaited before the next round
        server.kill()
        await asyncio.gather(*tasks)
        server.start()
        user.base_url = server.url
        for media, data in acknowledged.items():
            assert (await download(user, media)).raw == data
        assert await upload(user, b"after")
        assert not left_behind(server)
        folders = list((server.data_dir / "media" / "incoming").iterdir())
        assert len(folders) == 1
    assert "Every row has its content" in await run(server, "check", "--read-all")


async def many(found: dict[str, bytes], count: int) -> bool:
    return len(found) >= count
