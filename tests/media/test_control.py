"""What operators do: `hromada media …` beside a running server, on both databases, and moving to a bucket and back."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import aiohttp
import pytest

from homeserver import cli
from homeserver.services.media.library import BlobStores, Library, LibrarySettings
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.storage.unit import Database
from homeserver.system import SystemClock, SystemEntropy
from media_repo.blobs.files import FileThreads
from media_repo.blobs.local import LocalStore
from media_repo.blobs.spool import FolderSpool
from media_repo.thumbnails.pool import PoolSettings, ThumbnailPool
from tests.media.clocks import Later
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.gcs import BUCKET, Emulator
from tests.support.media import download, png, thumbnail, upload
from tests.support.server import Server


def command(server: Server, *arguments: str) -> tuple[int, str, str]:
    """`hromada media …` on the server's data, in this process; status, output, errors."""
    line = ["media", *arguments, "--data-dir", str(server.data_dir), "--server-name", server.name]
    if server.options.database_url is not None:
        line += ["--database-url", server.options.database_url]
    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, server.options.environment), redirect_stdout(out), redirect_stderr(err):
        status = cli.main(line)
    return status, out.getvalue(), err.getvalue()


async def run(server: Server, *arguments: str) -> str:
    """The output of a command that must succeed."""
    status, out, err = await asyncio.to_thread(command, server, *arguments)
    assert status == 0, (out, err)
    return out


def files(server: Server, folder: str) -> list[Path]:
    return [path for path in (server.data_dir / "media" / folder).rglob("*") if path.is_file()]


@pytest.fixture
async def site(start_server: StartServer, database: str, http: aiohttp.ClientSession) -> tuple[Server, Client]:
    """A server of one's own, and a user."""
    server = start_server(database)
    return server, await Client(http, server.url).register("owner")


async def test_usage_and_deletion(site: tuple[Server, Client], http: aiohttp.ClientSession) -> None:
    server, user = site
    other = await Client(http, server.url).register("other")
    same = png(300, 200)
    first, second = await upload(user, same, "image/png"), await upload(other, same, "image/png")
    third = await upload(user, b"x" * 5_000, "text/plain")
    assert len(files(server, "content")) == 2, "equal content is kept once"
    assert (await thumbnail(user, first, 96, 96)).status == 200
    usage = (await run(server, "usage")).splitlines()
    assert f"all\tupload\t3\t{2 * len(same) + 5_000}" in usage
    assert f"{user.user_id}\tupload\t2\t{len(same) + 5_000}" in usage
    listed = await run(server, "list", "--user", "owner", "--larger-than", "4000")
    assert listed == f"mxc://{third}\t5000\ttext/plain\t{user.user_id}\n"

    assert "Deleted 1 media" in await run(server, "delete", f"mxc://{first}")
    (await download(user, first)).error(404, "M_NOT_FOUND")
    (await thumbnail(user, first, 96, 96)).error(404, "M_NOT_FOUND")
    assert (await download(user, second)).raw == same
    await run(server, "delete", f"mxc://{second}")
    (await download(user, second)).error(404, "M_NOT_FOUND")
    assert len(files(server, "content")) == 1
    assert files(server, "thumbnails") == []
    assert "Every row has its content" in await run(server, "check", "--read-all")
    assert (await asyncio.to_thread(command, server, "delete", f"mxc://{first}"))[0] == 1
    assert (await asyncio.to_thread(command, server, "delete", "nonsense"))[0] == 1
    assert (await asyncio.to_thread(command, server, "delete"))[0] == 1
    again = await upload(user, same, "image/png")
    assert (await download(user, again)).raw == same


async def test_what_is_in_use_stays(site: tuple[Server, Client]) -> None:
    server, user = site
    avatar, picture, pinned, pack, loose = [await upload(user, png(20 + n, 20), "image/png") for n in range(5)]
    await user.ok("PUT", f"/profile/{user.user_id}/avatar_url", {"avatar_url": f"mxc://{avatar}"})
    room = await user.create_room(preset="public_chat")
    await user.set_state(room, "m.room.avatar", {"url": f"mxc://{picture}"})
    event = await user.send(room, {"msgtype": "m.image", "body": "x", "url": f"mxc://{pinned}"})
    await user.set_state(room, "m.room.pinned_events", {"pinned": [event]})
    await user.set_state(room, "im.ponies.room_emotes", {"images": {"cat": {"url": f"mxc://{pack}"}}}, "pack")
    protected = await upload(user, png(30, 30), "image/png")
    await run(server, "protect", f"mxc://{protected}")
    assert loose in await run(server, "delete", "--user", "owner", "--dry-run")
    assert "Deleted 1 media" in await run(server, "delete", "--user", "owner")
    (await download(user, loose)).error(404)
    for media in (avatar, picture, pinned, pack, protected):
        assert (await download(user, media)).status == 200
    assert "Deleted 4 media" in await run(server, "delete", "--user", "owner", "--even-in-use")
    assert (await download(user, protected)).status == 200
    await run(server, "delete", "--user", "owner", "--even-in-use", "--even-protected")
    assert files(server, "content") == []


async def test_quarantine(site: tuple[Server, Client], http: aiohttp.ClientSession) -> None:
    server, user = site
    other = await Client(http, server.url).register("other")
    data = png(300, 300)
    first, second = await upload(user, data, "image/png"), await upload(other, data, "image/png")
    assert (await thumbnail(user, first, 96, 96)).status == 200
    assert "Quarantined 2 media" in await run(server, "quarantine", f"mxc://{first}")
    for media in (first, second, await upload(user, data, "image/png")):
        (await download(other, media)).error(404, "M_NOT_FOUND")
        (await download(other, media, "name.png")).error(404, "M_NOT_FOUND")
        (await thumbnail(other, media, 96, 96)).error(404, "M_NOT_FOUND")
    await run(server, "release", f"mxc://{second}")
    assert (await download(user, first)).raw == data
    await run(server, "protect", f"mxc://{first}")
    await run(server, "quarantine", "--user", "other")
    assert (await download(user, first)).raw == data, "protected"
    (await download(user, second)).error(404, "M_NOT_FOUND")


async def test_ageing(site: tuple[Server, Client]) -> None:
    """The server's own round, with times as they would be after months."""
    server, user = site
    server.reconfigure(environment={"HROMADA_MEDIA_KEEP_LOCAL_DAYS": "1"})
    old = await upload(user, b"old", "text/plain")
    assert "Deleted 0 media" in await run(server, "age")
    assert (await download(user, old)).status == 200
    assert "Deleted 0 media" in await run(server, "purge-remote", "--older-than", "0"), "it is ours"
    assert "Deleted 0 media" in await run(server, "delete", "--older-than", "1")
    await asyncio.sleep(0.01)  # "before now" does not hold for what came in the same millisecond
    assert "Deleted 1 media" in await run(server, "delete", "--older-than", "0")
    (await download(user, old)).error(404, "M_NOT_FOUND")


async def test_move_to_a_bucket_and_back(
    start_server: StartServer, database: str, http: aiohttp.ClientSession, gcs_emulator: Emulator
) -> None:
    environment = {
        "HROMADA_MEDIA_GCS_BUCKET": BUCKET,
        "HROMADA_MEDIA_GCS_PREFIX": f"{secrets.token_hex(4)}/",
        "HROMADA_MEDIA_GCS_ENDPOINT": gcs_emulator.url,
        "HROMADA_MEDIA_STORE_RULES": "image/* <100000 local,* >=1000 gcs",
        "HROMADA_MEDIA_DEFAULT_STORE": "local",
    }
    server = start_server(database, environment=environment)
    user = await Client(http, server.url).register("mover")
    picture = png(400, 300)
    contents = {picture: "image/png", b"video" * 100_000: "video/mp4", b"short": "text/plain"}
    media = {await upload(user, data, type_): data for data, type_ in contents.items()}
    assert len(files(server, "content")) == 2, "the video went to the bucket"

    async def all_there() -> None:
        for found, data in media.items():
            assert (await download(user, found)).raw == data
            part = await download(user, found, headers={"Range": "bytes=2-4"})
            assert (part.status, part.raw) == (206, data[2:5])

    await all_there()
    assert "Moved 2 files from local to gcs" in await run(server, "move", "--from", "local", "--to", "gcs")
    assert files(server, "content") == []
    await all_there()
    assert (await thumbnail(user, next(iter(media)), 96, 96)).status == 200
    assert "Every row has its content" in await run(server, "check", "--read-all")
    assert "Moved 3 files" in await run(server, "move", "--from", "gcs", "--to", "local")
    await all_there()
    assert "Moved 0 files" in await run(server, "move", "--from", "gcs", "--to", "local")
    for wrong in (("move", "--from", "local", "--to", "local"), ("move", "--from", "local", "--to", "nowhere")):
        assert (await asyncio.to_thread(command, server, *wrong))[0] == 1


async def test_check_finds_what_is_wrong(site: tuple[Server, Client]) -> None:
    server, user = site
    await upload(user, b"lost", "text/plain")
    await upload(user, b"short", "text/plain")
    await upload(user, b"spoiled", "text/plain")
    for path in files(server, "content"):
        data = path.read_bytes()
        path.unlink()
        if data == b"short":
            path.write_bytes(b"s")
        elif data == b"spoiled":
            path.write_bytes(b"SPOILED")
    orphan = server.data_dir / "media" / "content" / "a" / "b" / ("abcd" + "0" * 60)
    orphan.write_bytes(b"nobody's")
    status, out, _ = await asyncio.to_thread(command, server, "check", "--read-all")
    assert status == 1
    assert sorted(line.split("\t")[0] for line in out.splitlines()[:-1]) == ["content", "length", "lost"]
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(orphan, (long_ago, long_ago))
    _, out, _ = await asyncio.to_thread(command, server, "check", "--repair")
    assert "orphan\tlocal\tabcd" in out
    assert not orphan.exists()


async def test_thumbnails_age(store: Database, tmp_path: Path) -> None:
    """Copies go after their days; what they were made of stays."""
    threads = FileThreads()
    spool = FolderSpool(tmp_path / "incoming", threads)
    stores = BlobStores({"local": LocalStore("local", tmp_path / "content", threads)}, [], "local")
    library = Library(store, stores, SystemClock(), SystemEntropy(), LibrarySettings("hromada.test"))
    cache, pool = LocalStore("thumbnails", tmp_path / "thumbnails", threads), ThumbnailPool(PoolSettings())
    source = tmp_path / "source"
    source.write_bytes(b"x")
    await cache.put("ab" * 32 + "-96x96-crop.png", source)
    await stores.named("local").put("ab" * 32, source)
    for days, removed in ((29, 0), (31, 1)):
        aged = Thumbnails(library, cache, spool, pool, Later(days), keep_days=30, max_source_bytes=1)
        assert await aged.expire() == removed
    assert await stores.named("local").stat("ab" * 32) is not None
    await pool.close()
    spool.close()
    threads.close()
