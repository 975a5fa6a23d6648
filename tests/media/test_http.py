"""Downloads as HTTP sees them: ranges, conditions, headers, HEAD, names, and who may read."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import quote, unquote

import pytest

from tests.support.client import Client, Reply, part
from tests.support.fixtures import MakeUser, StartServer
from tests.support.media import DOWNLOAD, UPLOAD, download, media_file, png, thumbnail, upload, upload_reply

DATA = bytes(range(256)) * 5_000
SIZE = len(DATA)

IMMUTABLE = "private, max-age=86400, immutable"


@pytest.fixture
async def media(alice: Client) -> str:
    """`server/id` of some content."""
    return await upload(alice, DATA, "video/mp4", "clip.mp4")


def parsed(header: str) -> tuple[str, str | None]:
    """A Content-Disposition by RFC 6266: the type, which comes first, and the file name; the extended form counts."""
    found = re.fullmatch(
        r"""(inline|attachment)(?:;[ ]filename="([^"\\\x00-\x1f\x7f-\xff]*)")?"""
        r"""(?:;[ ]filename\*=UTF-8''([A-Za-z0-9%._~-]+))?""",
        header,
    )
    assert found, header
    return found[1], unquote(found[3], errors="strict") if found[3] else found[2]


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-1", 0, 1),
        ("bytes=0-0", 0, 0),
        ("bytes=5000-131080", 5000, 131080),
        ("bytes=1000-", 1000, SIZE - 1),
        ("bytes=-500", SIZE - 500, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        (f"bytes=10-{SIZE * 3}", 10, SIZE - 1),
        ("BYTES = 3-4", 3, 4),
    ],
)
async def test_part(alice: Client, media: str, wanted: str, first: int, last: int) -> None:
    answer = await download(alice, media, headers={"Range": wanted})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.raw == DATA[first : last + 1]
    assert answer.headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0", "bytes=99999999999-"])
async def test_no_part_of_it(alice: Client, media: str, wanted: str) -> None:
    answer = await download(alice, media, headers={"Range": wanted})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert answer.raw == b""


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,5-6", "bytes=5-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1-2", "bytes=1" + "0" * 40 + "-", "x"],
)
async def test_what_is_no_range_gets_everything(alice: Client, media: str, wanted: str) -> None:
    answer = await download(alice, media, headers={"Range": wanted})
    assert answer.status == 200
    assert answer.raw == DATA
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_conditions(alice: Client, media: str) -> None:
    whole = await download(alice, media)
    tag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
    part_of = {"Range": "bytes=0-9"}
    for condition, status in (
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f'"x", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": date}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({**part_of, "If-Range": tag}, 206),
        ({**part_of, "If-Range": date}, 206),
        ({**part_of, "If-Range": '"x"'}, 200),
        ({**part_of, "If-Range": f"W/{tag}"}, 200),
        ({**part_of, "If-Range": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
    ):
        answer = await download(alice, media, headers=condition)
        assert answer.status == status, condition
        assert len(answer.raw) == {200: SIZE, 206: 10, 304: 0}[status]
        assert answer.headers["ETag"] == tag


async def test_head(alice: Client, media: str) -> None:
    for headers, status, length in (({}, 200, SIZE), ({"Range": "bytes=0-9"}, 206, 10)):
        answer = await alice.request("HEAD", f"{DOWNLOAD}/{media}", headers=headers)
        assert (answer.status, answer.raw) == (status, b"")
        assert answer.headers["Content-Length"] == str(length)
        assert answer.headers["Content-Type"] == "video/mp4"
    missing = await alice.request("HEAD", f"{DOWNLOAD}/hromada.test/nothing")
    assert (missing.status, missing.raw) == (404, b"")


async def test_headers(alice: Client, media: str) -> None:
    for answer in (await download(alice, media), await thumbnail(alice, await upload(alice, png(9, 9)), 96, 96)):
        assert answer.headers["Cache-Control"] == IMMUTABLE
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert {"Content-Range", "Content-Disposition"} <= set(
            answer.headers["Access-Control-Expose-Headers"].split(", ")
        )
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    allowed = await alice.request("OPTIONS", f"{DOWNLOAD}/{media}", token=None)
    assert "Range" in allowed.headers["Access-Control-Allow-Headers"]
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    ("given", "kept", "shown"),
    [
        ("text/html", "text/html", "attachment"),
        ("Text/HTML; charset=utf-8", "Text/HTML; charset=utf-8", "attachment"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("application/xhtml+xml", "application/xhtml+xml", "attachment"),
        ("application/pdf", "application/pdf", "attachment"),
        ("IMAGE/PNG", "IMAGE/PNG", "inline"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8", "inline"),
        ('audio/ogg; codecs="opus"', 'audio/ogg; codecs="opus"', "inline"),
        ("image/png; x=text/html", "application/octet-stream", "attachment"),
        ("image/png\ttext/html", "application/octet-stream", "attachment"),
        ("nonsense", "application/octet-stream", "attachment"),
        ("a" * 200 + "/" + "b" * 200, "application/octet-stream", "attachment"),
        (None, "application/octet-stream", "attachment"),
    ],
)
async def test_types(alice: Client, given: str | None, kept: str, shown: str) -> None:
    answer = await download(alice, await upload(alice, b"<b>x</b>", given, "name.png"))
    assert answer.headers["Content-Type"] == kept
    assert parsed(answer.headers["Content-Disposition"])[0] == shown


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("plain.txt", "plain.txt"),
        ("фото «Різдво» №1.jpg", "фото «Різдво» №1.jpg"),
        ('quote".png', 'quote".png'),
        ("semi;colon, comma.png", "semi;colon, comma.png"),
        ("per%20cent%.png", "per%20cent%.png"),
        ("👩‍👩‍👧.png", "👩‍👩‍👧.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("a\r\nX-Injected: 1", "aX-Injected: 1"),
        ("x" * 400 + ".png", "x" * 251 + ".png"),
        ("..", None),
        ("", None),
    ],
)
async def test_names(alice: Client, given: str, kept: str | None) -> None:
    media = await upload(alice, b"content", "image/png", given)
    asked = await upload(alice, b"content", "image/png")
    for answer in (await download(alice, media), await download(alice, asked, given) if kept else None):
        if answer is None:
            continue
        assert answer.status == 200
        assert parsed(answer.headers["Content-Disposition"]) == ("inline", kept)
        assert "X-Injected" not in answer.headers
    assert parsed((await download(alice, asked)).headers["Content-Disposition"]) == ("inline", None)


@pytest.mark.parametrize(
    ("origin", "media_id", "status"),
    [
        ("hromada.test", "..%2F..%2Fetc", 400),
        ("hromada.test", "a" * 5_000, 400),
        ("hromada.test", "%D1%84", 400),
        ("hromada.test", "a%00b", 400),
        ("..%2F..", "abc", 400),
        ("%D1%84.test", "abc", 400),
        ("hromada.test", "AbCdEfGh", 404),
        ("elsewhere.test", "AbCdEfGh", 404),
    ],
)
async def test_what_is_no_media(alice: Client, origin: str, media_id: str, status: int) -> None:
    code = "M_INVALID_PARAM" if status == 400 else "M_NOT_FOUND"
    for path in (DOWNLOAD, "/_matrix/media/v3/download"):
        for what in (path, path.replace("download", "thumbnail")):
            params = {"timeout_ms": 0, "width": 32, "height": 32}
            (await alice.request("GET", f"{what}/{origin}/{media_id}", params=params)).error(status, code)
    (await alice.request("PUT", f"{UPLOAD}/{origin}/{media_id}", data=b"x")).error(status, code)


async def test_who_may_read(alice: Client, bob: Client, anonymous: Client, media: str) -> None:
    assert (await download(bob, media)).raw == DATA
    (await download(anonymous, media)).error(401, "M_MISSING_TOKEN")
    (await thumbnail(anonymous, media, 9, 9)).error(401, "M_MISSING_TOKEN")
    (await anonymous.request("GET", "/_matrix/client/v1/media/config")).error(401, "M_MISSING_TOKEN")
    (await upload_reply(anonymous, b"x")).error(401)
    for version in ("v3", "r0", "v1"):
        for kind in ("download", "thumbnail"):
            reply = await anonymous.request(
                "GET", f"/_matrix/media/{version}/{kind}/{media}", params={"width": 9, "height": 9}
            )
            reply.error(404, "M_NOT_FOUND")


async def test_old_media_by_old_paths(start_server: StartServer, http: object) -> None:
    environment = {"HROMADA_MEDIA_ALLOW_LEGACY": "true", "HROMADA_MEDIA_LEGACY_BEFORE": "2100-01-01"}
    server = start_server(environment=environment)
    user = await Client(http, server.url).register("old")  # type: ignore[arg-type]
    data = png(200, 100)
    media = await upload(user, data, "image/png", "a.png")
    for path in (f"download/{media}", f"download/{media}/b.png", f"thumbnail/{media}"):
        reply = await user.request("GET", f"/_matrix/media/v3/{path}", params={"width": 96, "height": 96}, token=None)
        assert reply.status == 200, reply
        assert reply.headers["Cache-Control"].startswith("public")
    server.reconfigure(environment={**environment, "HROMADA_MEDIA_LEGACY_BEFORE": "2020-01-01"})
    server.restart()
    user.base_url = server.url
    (await user.request("GET", f"/_matrix/media/v3/download/{media}", token=None)).error(404, "M_NOT_FOUND")
    assert (await download(user, media)).raw == data


async def test_a_reader_who_leaves_stops_the_work(start_server: StartServer, http: object) -> None:
    """A place is free as soon as its reader is gone, though nothing was sent to it meanwhile."""
    server = start_server(environment={"HROMADA_MEDIA_DOWNLOADS_PER_USER": "2"})
    user = await Client(http, server.url).register("leaver")  # type: ignore[arg-type]
    media = await upload(user, bytes(8_000_000))
    request = f"GET {DOWNLOAD}/{media} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n\r\n".encode()
    writers = []
    for _ in range(2):
        reader, writer = await asyncio.open_connection(user.address("").host, user.address("").port, limit=1024)
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writers.append(writer)
    (await download(user, media)).error(429, "M_LIMIT_EXCEEDED")
    for writer in writers:
        writer.transport.abort()

    async def is_free() -> bool:
        return (await download(user, media, headers={"Range": "bytes=0-1"})).status == 206

    deadline = asyncio.get_running_loop().time() + 60
    while not await is_free():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


async def test_lost_content_is_not_found(start_server: StartServer, http: object) -> None:
    """The row is there and the file is not (somebody deleted it): 404 for it and its thumbnail, and no 500."""
    server = start_server()
    user = await Client(http, server.url).register("loser")  # type: ignore[arg-type]
    media = await upload(user, png(300, 300), "image/png")
    files = [path for path in (server.data_dir / "media" / "content").rglob("*") if path.is_file()]
    assert len(files) == 1
    files[0].unlink()
    (await download(user, media)).error(404, "M_NOT_FOUND")
    (await thumbnail(user, media, 96, 96)).error(404, "M_NOT_FOUND")
    told = (await user.request("GET", "/metrics")).raw
    assert b"hromada_media_lost_total 2.0" in told
    assert await upload(user, png(300, 300), "image/png"), "the same again heals it"
    assert (await download(user, media)).status == 200


async def test_thumbnail_requests_that_make_no_sense(alice: Client) -> None:
    media = await upload(alice, png(40, 40), "image/png")
    for params in (
        {"width": 0, "height": 9},
        {"width": 9, "height": -1},
        {"width": "x", "height": 9},
        {"height": 9},
        {"width": 9, "height": 9, "method": "stretch"},
        {"width": 9, "height": 9, "animated": "maybe"},
    ):
        reply = await alice.request("GET", f"/_matrix/client/v1/media/thumbnail/{media}", params=params)
        reply.error(400, "M_INVALID_PARAM", "M_MISSING_PARAM")


async def test_both_methods_of_one_size_are_kept_apart(alice: Client) -> None:
    media = await upload(alice, png(400, 100), "image/png")
    sizes = []
    for method in ("crop", "scale", "crop", "scale"):
        made = await thumbnail(alice, media, 96, 96, method)
        sizes.append(made.headers["ETag"])
    assert sizes[0] == sizes[2] != sizes[1] == sizes[3]


async def test_many_ask_for_one_thumbnail(alice: Client, make_user: MakeUser) -> None:
    media = await upload(alice, media_file("jpeg-17-megapixels.jpg").data, "image/jpeg")
    answers: list[Reply] = await asyncio.gather(*(thumbnail(alice, media, 800, 600) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.raw for answer in answers}) == 1


async def test_name_in_path_is_decoded_once(alice: Client, media: str) -> None:
    answer = await download(alice, media, "a%2Fb.mp4")
    assert parsed(answer.headers["Content-Disposition"])[1] == "a%2Fb.mp4"
    encoded = await alice.request("GET", f"{DOWNLOAD}/{media}/{part('ж.mp4')}")
    assert quote("ж.mp4") in encoded.headers["Content-Disposition"]
