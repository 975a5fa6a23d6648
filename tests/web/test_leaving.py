"""Parts of files go from the page cache to the socket, at the reader's pace and never beyond the file's end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.ports.blobs import BlobStoreFailed
from homeserver.web.leaving import FileEnded, OutgoingFile
from media_repo.blobs.files import SPAN, FileThreads, OpenFile

MIB = 1 << 20
CONTENT = os.urandom(MIB // 4) * 12 + b"the end"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


async def test_a_head_and_a_part_of_a_file_arrive_in_order(
    file: int, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    outgoing = OutgoingFile(ours.fileno())
    sending = asyncio.create_task(outgoing.send([b"he", b"ad"], file, 5, len(CONTENT) - 5))
    got = bytearray()
    while len(got) < len(CONTENT) - 1:
        got += await asyncio.get_running_loop().sock_recv(theirs, 100_000)
    await sending
    outgoing.close()
    assert bytes(got) == b"head" + CONTENT[5:]
    assert ours.send(b"still open")


async def test_a_file_that_is_too_short_is_an_error(file: int, sockets: tuple[socket.socket, socket.socket]) -> None:
    outgoing = OutgoingFile(sockets[0].fileno())
    with pytest.raises(FileEnded):
        await outgoing.send([], file, len(CONTENT) - 3, 4)
    outgoing.close()


async def test_a_reader_who_leaves_is_an_error_and_one_who_does_not_read_can_be_left(
    file: int, sockets: tuple[socket.socket, socket.socket]
) -> None:
    outgoing = OutgoingFile(sockets[0].fileno())
    stuck = asyncio.create_task(outgoing.send([b"x" * 3 * MIB], file, 0, MIB))
    await asyncio.sleep(0)
    assert not stuck.done()
    stuck.cancel()
    await asyncio.wait([stuck])
    sockets[1].close()
    with pytest.raises(OSError):
        await outgoing.send([], file, 0, MIB)
    outgoing.close()


@pytest.mark.parametrize("cold", [False, True])
async def test_spans_cover_a_part_of_a_file_in_memory_or_not(tmp_path: Path, cold: bool) -> None:
    threads = FileThreads(1)
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    blob = OpenFile(threads, os.open(path, os.O_RDONLY), path)
    if blob.descriptor is None:
        pytest.skip("this system sends no files")
    if cold:
        os.fsync(blob.descriptor)
        os.posix_fadvise(blob.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    found = [span async for span in blob.spans(7, len(CONTENT) - 7)]
    assert found[0] == (7, SPAN)
    assert sum(count for _, count in found) == len(CONTENT) - 7
    assert [offset for offset, _ in found] == [7 + SPAN * number for number in range(len(found))]
    with pytest.raises(BlobStoreFailed):
        assert [span async for span in blob.spans(0, len(CONTENT) + 1)]
    await blob.close()
    assert blob.descriptor is None
    threads.close()
