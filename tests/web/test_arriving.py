"""Bodies that come while they are answered, past h11 (docs/adr/0006-plain-requests.md)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.web.arriving import ArrivingBody
from homeserver.web.plain import read_begun
from tests.web.test_plain import WHOLE, read_by_h11
from tests.web.test_serving import serving, talk

MIB = 1 << 20


class Transport:
    def __init__(self) -> None:
        self.is_paused = False

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False


@given(st.integers(0, len(WHOLE) - 1))
def test_a_request_that_has_begun_is_read_as_h11_reads_it(cut: int) -> None:
    request = read_begun(WHOLE[:cut])
    if b"\r\n\r\n" not in WHOLE[:cut]:
        assert request is None
        return
    assert request is not None
    whole = read_by_h11(WHOLE)
    assert whole is not None
    assert (request.method, request.target, request.fields, request.body + WHOLE[cut:]) == whole
    assert request.missing == len(WHOLE) - cut


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=8), st.integers(0, 8), st.integers(0, 30), st.booleans())
async def test_pieces_come_in_order_and_what_follows_stays(
    pieces: list[bytes], held: int, behind: int, at_once: bool
) -> None:
    data = b"".join(pieces)
    begun, rest = data[: len(data) // 2], data[len(data) // 2 :]
    if not rest:
        return
    reader = asyncio.StreamReader()
    stream = rest + b"n" * behind
    reader.feed_data(stream[:held])
    body = ArrivingBody(reader, Transport(), begun, len(rest))
    for at in range(held, len(stream), len(stream) if at_once else 3):
        reader.feed_data(stream[at : len(stream) if at_once else at + 3])
    read = b""
    while body.is_unread:
        read += await body.next()
    assert read == data
    assert bytes(reader._buffer) == b"n" * behind  # type: ignore[attr-defined]
    assert "feed_data" not in vars(reader)


async def test_a_fast_sender_is_held_back() -> None:
    transport = Transport()
    reader = asyncio.StreamReader()
    body = ArrivingBody(reader, transport, b"", 10 * MIB)
    for _ in range(5):
        reader.feed_data(bytes(100_000))
    assert transport.is_paused
    while transport.is_paused:
        await body.next()
    assert body.missing == 10 * MIB - 500_000
    body.end()
    while await body.next():
        pass
    body.let_go()


async def test_whoever_reads_hears_that_the_client_has_gone() -> None:
    reader = asyncio.StreamReader()
    body = ArrivingBody(reader, Transport(), b"a", 5)
    assert await body.next() == b"a"
    waiting = asyncio.create_task(body.next())
    await asyncio.sleep(0)
    body.end()
    assert await waiting == b""


HEAD = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("size", [300, 70_000, 900_000])
@pytest.mark.parametrize("step", [7_000, 200_000])
async def test_requests_follow_one_another_on_a_connection(size: int, step: int) -> None:
    """Long ones, in pieces that end anywhere, and a short one in the same piece as the end of a long one."""
    body = b'{"a":"' + b"x" * size + b'"}'
    ending = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serving() as (port, _, _task), asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stream = HEAD % len(body) + body
        for number in (1, 2):
            for at in range(0, len(stream), step):
                writer.write(stream[at : at + step])
                await writer.drain()
                await asyncio.sleep(0)
            if number == 1:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(2)
            else:
                writer.write(ending)
        rest = await reader.read()
        assert rest.count(b"HTTP/1.1 200 ") == 1
        assert rest.count(b"HTTP/1.1 404 ") == 1
        writer.close()


async def test_an_answer_before_the_body_ends_the_connection() -> None:
    async with serving() as (port, _, _task), asyncio.timeout(60):
        answer = await talk(port, b"PUT /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"connection: close" in answer.lower()
        assert answer.count(b"HTTP/1.1 ") == 1, "what comes of the body is not read as a request"


class Straight(Transport):
    """A transport with a protocol, whose client sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self.usual = self.protocol = asyncio.StreamReaderProtocol(reader)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        assert self.is_paused, "protocols are changed while nothing is read"
        self.protocol = protocol

    def receive(self, data: bytes) -> bytes:
        """What of the data can be read now is; the rest is returned."""
        while data and not self.is_paused:
            if isinstance(self.protocol, asyncio.BufferedProtocol):
                room = memoryview(self.protocol.get_buffer(-1))
                count = min(len(room), len(data))
                room[:count] = data[:count]
                self.protocol.buffer_updated(count)
            else:
                count = len(data)
                self.protocol._stream_reader.feed_data(data)  # type: ignore[attr-defined]  # asyncio hides it
            data = data[count:]
        return data


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(1, 9), st.integers(0, 5), st.lists(st.booleans()))
async def test_bodies_are_read_into_memory_and_in_pieces_in_turns(
    data: bytes, cut: int, size: int, behind: int, turns: list[bool]
) -> None:
    begun, rest = data[:cut], data[cut:]
    if not rest:
        return
    reader = asyncio.StreamReader()
    transport = Straight(reader)
    body = ArrivingBody(reader, transport, begun, len(rest))
    stream = rest + b"n" * behind

    async def send() -> None:
        left = stream
        while left:
            left = transport.receive(left[:3]) + left[3:]
            await asyncio.sleep(0)

    sending = asyncio.create_task(send())
    read = b""
    while body.is_unread:
        if turns and turns.pop():
            read += await body.next()
        else:
            memory = bytearray(size)
            count = await body.read_into(memoryview(memory), 20)
            assert count == min(size, len(data) - len(read))
            read += memory[:count]
    await sending
    assert read == data
    assert bytes(reader._buffer) == b"n" * behind  # type: ignore[attr-defined]
    assert transport.protocol is transport.usual
    assert not transport.is_paused


async def test_a_client_who_is_gone_or_silent_ends_the_reading_into_memory() -> None:
    reader = asyncio.StreamReader()
    transport = Straight(reader)
    body = ArrivingBody(reader, transport, b"ab", 5)
    memory = bytearray(7)
    with pytest.raises(TimeoutError):
        await body.read_into(memoryview(memory), 0.01)
    assert transport.is_paused, "nothing is read when nobody has given memory"
    waiting = asyncio.create_task(body.read_into(memoryview(memory), 20))
    await asyncio.sleep(0)
    transport.receive(b"c")
    body.end()
    assert await waiting == 1
    body.let_go()
    assert transport.protocol is transport.usual
