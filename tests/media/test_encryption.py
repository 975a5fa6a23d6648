"""Encryption at rest: tampering, parts of every size, and a server that turns it on, changes keys, and turns it off."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.ports.blobs import BlobStoreFailed
from media_repo.blobs.encrypted import PIECE, TAG, AtRestKey, EncryptedStore, stored_size
from media_repo.blobs.files import FileThreads
from media_repo.blobs.local import LocalStore
from media_repo.blobs.spool import FolderSpool
from tests.media.test_control import run
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.gcs import BUCKET, Emulator
from tests.support.media import download, png, thumbnail, upload

KEY = AtRestKey("k1", bytes(range(32)))
HEADER = stored_size(0) - TAG


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[EncryptedStore, Path]]:
    """An encrypted store in a folder."""
    threads = FileThreads()
    spool = FolderSpool(tmp_path / "incoming", threads)
    yield EncryptedStore(LocalStore("x", tmp_path / "blobs", threads), KEY, spool, threads), tmp_path
    spool.close()
    threads.close()


async def put(store: EncryptedStore, folder: Path, data: bytes) -> tuple[str, Path]:
    key = hashlib.sha256(data).hexdigest()
    source = folder / secrets.token_hex(8)
    source.write_bytes(data)
    await store.put(key, source)
    return key, folder / "blobs" / key[0] / key[1] / key


async def read(store: EncryptedStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    blob = await store.open(key)
    try:
        return b"".join([p async for p in blob.read(start, blob.size - start if length is None else length)])
    finally:
        await blob.close()


SIZES = [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 40 * PIECE + 17]


@pytest.mark.parametrize("size", SIZES)
async def test_ciphertext_only(stores: tuple[EncryptedStore, Path], size: int) -> None:
    store, folder = stores
    data = (b"plain text of a secret " * (size // 23 + 1))[:size]
    key, file = await put(store, folder, data)
    kept = file.read_bytes()
    assert len(kept) == stored_size(size)
    assert b"secret" not in kept
    assert await read(store, key) == data
    assert (await store.open(key)).size == size


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.sampled_from(SIZES), ends=st.tuples(st.floats(0, 1), st.floats(0, 1)))
async def test_every_part(stores: tuple[EncryptedStore, Path], size: int, ends: tuple[float, float]) -> None:
    store, folder = stores
    data = hashlib.shake_128(str(size).encode()).digest(size)
    start = min(size - 1, int(min(ends) * size))
    stop = max(start + 1, int(max(ends) * size))
    key, _ = await put(store, folder, data)
    assert await read(store, key, start, stop - start) == data[start:stop]


@pytest.mark.parametrize(
    "spoil",
    ["bit", "header", "salt", "cut", "cut at a piece", "swap", "repeat", "longer", "size", "nothing"],
)
async def test_what_was_changed_is_not_given(stores: tuple[EncryptedStore, Path], spoil: str) -> None:
    store, folder = stores
    data = secrets.token_bytes(4 * PIECE)
    key, file = await put(store, folder, data)
    kept = bytearray(file.read_bytes())
    sealed = PIECE + TAG
    first, second = slice(HEADER, HEADER + sealed), slice(HEADER + sealed, HEADER + 2 * sealed)
    if spoil == "bit":
        kept[HEADER + 100_000] ^= 1
    elif spoil == "header":
        kept[0] ^= 1
    elif spoil == "salt":
        kept[10] ^= 1
    elif spoil == "cut":
        del kept[-100:]
    elif spoil == "cut at a piece":
        del kept[-sealed:]
        kept[24:32] = (3 * PIECE).to_bytes(8, "big")
    elif spoil == "swap":
        kept[first], kept[second] = kept[second], kept[first]
    elif spoil == "repeat":
        kept[second] = kept[first]
    elif spoil == "longer":
        kept += b"x"
    elif spoil == "size":
        kept[31] ^= 1
    elif spoil == "nothing":
        kept = bytearray()
    file.unlink()
    file.write_bytes(kept)
    with pytest.raises(BlobStoreFailed):
        await read(store, key)


async def test_another_key_opens_nothing(stores: tuple[EncryptedStore, Path]) -> None:
    store, folder = stores
    key, _ = await put(store, folder, b"content")
    threads = FileThreads()
    other = EncryptedStore(
        LocalStore("x", folder / "blobs", threads),
        AtRestKey("k1", bytes(31) + b"x"),
        FolderSpool(folder / "y", threads),
        threads,
    )
    with pytest.raises(BlobStoreFailed):
        await read(other, key)
    threads.close()


def everything(folder: Path) -> bytes:
    """All bytes of all files of a folder, and their names."""
    return b"".join(path.name.encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_server_turns_it_on_rotates_and_off(
    start_server: StartServer, database: str, http: aiohttp.ClientSession, gcs_emulator: Emulator
) -> None:
    environment = {
        "HROMADA_MEDIA_GCS_BUCKET": BUCKET,
        "HROMADA_MEDIA_GCS_PREFIX": f"{secrets.token_hex(4)}/",
        "HROMADA_MEDIA_GCS_ENDPOINT": gcs_emulator.url,
        "HROMADA_MEDIA_STORE_RULES": "text/* local",
    }
    server = start_server(database, environment=environment)
    user = await Client(http, server.url).register("secretive")
    text = b"a very particular sentence " * 5_000
    picture = png(500, 400)
    media = {await upload(user, text, "text/plain"): text, await upload(user, picture, "image/png"): picture}
    folder = server.data_dir / "media"
    assert text in everything(folder / "content")

    async def restart(enabled: bool) -> None:
        server.reconfigure(environment={**environment, "HROMADA_AT_REST_ENABLED": str(enabled).lower()})
        await asyncio.to_thread(server.restart)
        user.base_url = server.url
        for found, data in media.items():
            assert (await download(user, found)).raw == data
            part = await download(user, found, headers={"Range": "bytes=70000-70010"})
            assert part.raw == data[70_000:70_011] or len(data) < 70_000

    await restart(True)
    new = await upload(user, b"another particular sentence " * 100, "text/plain")
    media[new] = b"another particular sentence " * 100
    assert "Moved 2 files" in await run(server, "renew")
    assert (await thumbnail(user, list(media)[1], 96, 96)).status == 200
    await restart(True)
    for place in (folder, gcs_emulator.folder / BUCKET / environment["HROMADA_MEDIA_GCS_PREFIX"].strip("/")):
        stored = everything(place)
        assert b"particular sentence" not in stored
        assert b"IHDR" not in stored
        assert b"JFIF" not in stored
    assert "Every row has its content" in await run(server, "check", "--read-all")

    before = sorted(path.name for path in folder.glob("content-*"))
    await run(server, "rotate-key")
    await restart(True)
    assert "Moved 3 files" in await run(server, "renew")
    assert not [path for path in (folder / before[0]).rglob("*") if path.is_file()]
    await restart(True)

    await restart(False)
    assert "Moved 3 files" in await run(server, "renew")
    assert text in everything(folder / "content")
    await restart(False)
