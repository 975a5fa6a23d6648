"""Stores of blobs: the same promises from a folder and from a bucket; and a bucket that fails.

With GCS_TEST_BUCKET (and credentials in the environment) the same tests run on a real bucket as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from homeserver.ports.blobs import BlobMissing, BlobStore, BlobStoreFailed, OpenBlob, StoreRule
from media_repo.blobs.files import FileThreads
from media_repo.blobs.gcs import GcsSettings, GcsStore
from media_repo.blobs.local import LocalStore
from tests.support.gcs import BUCKET, Emulator, Faults, faulty

MIB = 1 << 20

# Google's library leaves connections with an unread error to the garbage collector.
pytestmark = [pytest.mark.all_only, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture(params=["local", "emulator", "bucket"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty store of each kind."""
    if request.param == "local":
        threads = FileThreads()
        yield LocalStore("local", tmp_path / "blobs", threads)
        threads.close()
        return
    prefix = f"{secrets.token_hex(6)}/"
    if request.param == "emulator":
        emulator: Emulator = request.getfixturevalue("gcs_emulator")
        settings = GcsSettings(BUCKET, prefix, endpoint=emulator.url)
    else:
        if "GCS_TEST_BUCKET" not in os.environ:
            pytest.skip("set GCS_TEST_BUCKET to try a real bucket")
        settings = GcsSettings(os.environ["GCS_TEST_BUCKET"], prefix)
    made = GcsStore("gcs", settings)
    yield made
    async for found in made.list():
        await made.delete(found.key)
    await made.close()


def source(folder: Path, size: int) -> tuple[str, Path, bytes]:
    """Some content: its key, its file, its bytes."""
    data = secrets.token_bytes(size)
    path = folder / secrets.token_hex(8)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest(), path, data


async def everything(blob: OpenBlob, start: int = 0, length: int | None = None) -> bytes:
    try:
        wanted = blob.size - start if length is None else length
        return b"".join([piece async for piece in blob.read(start, wanted)])
    finally:
        await blob.close()


@pytest.mark.parametrize("size", [1, 65_536, 300_000, 9 * MIB])
async def test_keeps_what_it_got(store: BlobStore, tmp_path: Path, size: int) -> None:
    key, path, data = source(tmp_path, size)
    assert await store.stat(key) is None
    with pytest.raises(BlobMissing):
        await store.open(key)
    await store.put(key, path)
    assert path.exists(), "the source stays"
    await store.put(key, path)
    opened = await store.open(key)
    assert opened.size == size
    assert await everything(opened) == data
    middle = (size // 3, size // 2)
    assert await everything(await store.open(key), *middle) == data[middle[0] : middle[0] + middle[1]]
    assert await everything(await store.open(key), size - 1, 1) == data[-1:]
    found = await store.stat(key)
    assert found is not None
    assert (found.key, found.stored_size) == (key, size)
    assert [entry.key async for entry in store.list()] == [key]
    assert await store.delete(key) is True
    assert await store.delete(key) is False
    with pytest.raises(BlobMissing):
        await store.open(key)


async def test_many_at_once(store: BlobStore, tmp_path: Path) -> None:
    contents = [source(tmp_path, 1 + 7_001 * number) for number in range(32)]
    await asyncio.gather(*(store.put(key, path) for key, path, _ in contents))
    read = await asyncio.gather(*(read_all(store, key) for key, _, _ in contents))
    assert read == [data for _, _, data in contents]
    assert {entry.key async for entry in store.list()} == {key for key, _, _ in contents}


async def read_all(store: BlobStore, key: str) -> bytes:
    return await everything(await store.open(key))


async def test_a_half_written_file_has_no_name(tmp_path: Path) -> None:
    threads = FileThreads()
    local = LocalStore("local", tmp_path / "blobs", threads)
    key, path, data = source(tmp_path, 1000)
    await local.put(key, path)
    kept = tmp_path / "blobs" / key[0] / key[1] / key
    kept.unlink()
    kept.write_bytes(data[:10])  # a disk that lost a part
    await local.put(key, path)
    assert await everything(await local.open(key)) == data
    kept.with_name(f"{key}.1-x.part").write_bytes(b"x")
    assert [entry.key async for entry in local.list()] == [key]
    assert await local.sweep_unfinished(1 << 60) == 1
    for bad in ("../../../etc/passwd", "ABCD" * 16, "", "aa/bb" * 10):
        with pytest.raises(ValueError, match="no key"):
            await local.stat(bad)
    threads.close()


# --- a bucket that fails ---


@pytest.fixture
async def broken(gcs_emulator: Emulator) -> AsyncIterator[tuple[GcsStore, Faults]]:
    """A bucket behind a proxy that can fail, and little patience."""
    async with faulty(gcs_emulator.url) as (url, faults):
        settings = GcsSettings(BUCKET, f"{secrets.token_hex(6)}/", endpoint=url, threads=8, timeout_s=2.0, retry_s=3.0)
        store = GcsStore("gcs", settings)
        yield store, faults
        await store.close()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_passes_is_tried_again(broken: tuple[GcsStore, Faults], tmp_path: Path, status: int) -> None:
    store, faults = broken
    key, path, data = source(tmp_path, 500_000)
    faults.statuses = [status, 0, status]
    await store.put(key, path)
    faults.statuses = [status, 0, status]
    assert await read_all(store, key) == data


@pytest.mark.parametrize("status", [401, 403, 429, 500])
async def test_what_stays_is_an_error_in_bounded_time(
    broken: tuple[GcsStore, Faults], tmp_path: Path, status: int
) -> None:
    store, faults = broken
    key, path, data = source(tmp_path, 1000)
    other = source(tmp_path, 1000)
    await store.put(key, path)
    faults.always = status
    async with asyncio.timeout(60):
        for work in (store.put(other[0], other[1]), store.open(key), store.delete(key)):
            with pytest.raises(BlobStoreFailed):
                await work
    faults.always = None
    assert await read_all(store, key) == data, "it recovers by itself"
    assert await store.stat(other[0]) is None


async def test_lost_answers_do_no_harm(broken: tuple[GcsStore, Faults], tmp_path: Path) -> None:
    """The upload is done and its answer lost: the repetition meets the object (412), and that is a success."""
    store, faults = broken
    key, path, data = source(tmp_path, 1000)
    await store.stat(key)
    faults.statuses = [0]
    faults.lose_answers = 2
    await store.put(key, path)
    assert await read_all(store, key) == data


async def test_large_upload_goes_on_after_faults(broken: tuple[GcsStore, Faults], tmp_path: Path) -> None:
    store, faults = broken
    key, path, data = source(tmp_path, 20 * MIB)
    faults.statuses = [0, 0, 0, 503, 0, 503]
    await store.put(key, path)
    assert await read_all(store, key) == data
    assert len([path for method, path in faults.seen if method == "PUT"]) >= 3, "in pieces"


async def test_cut_in_the_middle(broken: tuple[GcsStore, Faults], tmp_path: Path) -> None:
    store, faults = broken
    key, path, _ = source(tmp_path, 3 * MIB)
    await store.put(key, path)
    opened = await store.open(key)
    faults.cut_after = 100_000
    async with asyncio.timeout(60):
        with pytest.raises(BlobStoreFailed):
            await everything(opened)


async def test_spoiled_content_never_ends_well(broken: tuple[GcsStore, Faults], tmp_path: Path) -> None:
    store, faults = broken
    key, path, _ = source(tmp_path, 2 * MIB)
    await store.put(key, path)
    opened = await store.open(key)
    faults.spoil = True
    with pytest.raises(BlobStoreFailed, match="CRC32C"):
        await everything(opened)


async def test_gone_while_it_is_read(broken: tuple[GcsStore, Faults], tmp_path: Path) -> None:
    store, _ = broken
    key, path, _ = source(tmp_path, 3 * MIB)
    await store.put(key, path)
    opened = await store.open(key)
    pieces = opened.read(0, opened.size)
    await anext(pieces)
    await store.delete(key)
    with pytest.raises(BlobStoreFailed):
        async for _piece in pieces:
            pass


async def test_no_bucket(gcs_emulator: Emulator, tmp_path: Path) -> None:
    store = GcsStore("gcs", GcsSettings("no-such-bucket", endpoint=gcs_emulator.url, retry_s=2.0))
    key, path, _ = source(tmp_path, 10)
    with pytest.raises((BlobStoreFailed, BlobMissing)):
        await store.put(key, path)
    assert await store.stat(key) is None
    await store.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image/* local", StoreRule("image/*", "local")),
        ("* >=1048576 gcs", StoreRule("*", "gcs", 1_048_576)),
        ("video/mp4 <10 local", StoreRule("video/mp4", "local", less_than=10)),
    ],
)
def test_rules_are_read(text: str, expected: StoreRule) -> None:
    assert StoreRule.parse(text) == expected


@pytest.mark.parametrize("text", ["", "image/*", "image/* >5 gcs", "IMAGE/* gcs", "image/* >=x gcs", "* gcs extra"])
def test_bad_rules(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        StoreRule.parse(text)


def test_rules_fit() -> None:
    rule = StoreRule("image/*", "x", at_least=10, less_than=20)
    assert [rule.fits("image/png", size) for size in (9, 10, 19, 20)] == [False, True, True, False]
    assert not rule.fits("video/mp4", 15)
    assert not replace(rule, type="image/gif").fits("image/png", 15)
