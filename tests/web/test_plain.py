"""Plain requests: what is read the short way is what h11 reads, and an answer is what its client will read.

docs/adr/0006-plain-requests.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homeserver.web.plain import MAX_HEAD, Exchange, Fields, PlainRequest, UnfitAnswer, read

WHOLE = b"PUT /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def read_by_h11(data: bytes) -> tuple[str, bytes, Fields, bytes] | None:
    """What h11 makes of it: one whole request with nothing behind it, or None."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        request = connection.next_event()
        if not isinstance(request, h11.Request) or request.http_version != b"1.1":
            return None
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.EndOfMessage) or connection.trailing_data[0]:
        return None
    return request.method.decode(), request.target, [(bytes(n), bytes(v)) for n, v in request.headers], body


NAMES = [
    b"Host",
    b"X-A",
    b"Content-Length",
    b"connection",
    b"Transfer-Encoding",
    b"Expect",
    b"Accept",
    b"bad name",
    b"",
]
VALUES = [
    b"x",
    b"2",
    b"0",
    b"02",
    b"+2",
    b"2, 2",
    b"chunked",
    b"keep-alive",
    b"close",
    b"",
    b" a b ",
    b"\t",
    b"a\0",
    b"\xff",
]
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n ", b" \r\n", b"\r"]
LINES = [
    b"GET / HTTP/1.1", b"PUT /a%20b?c HTTP/1.1", b"POST  / HTTP/1.1", b"GET / HTTP/1.0", b"HEAD / HTTP/1.1",
    b"get / HTTP/1.1", b"GET http://x/ HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET / HTTP/2.0",
]  # fmt: skip
field = st.tuples(st.sampled_from(NAMES), st.sampled_from([b":", b": ", b" :", b":\t"]), st.sampled_from(VALUES))
ended_field = st.tuples(field.map(b"".join), st.sampled_from(ENDS)).map(b"".join)
head = st.tuples(
    st.sampled_from(LINES), st.sampled_from(ENDS), st.lists(ended_field, max_size=5).map(b"".join), st.just(b"\r\n")
).map(b"".join)


@given(
    st.one_of(
        st.tuples(head, st.sampled_from([b"", b"{}", b"{}x", b"0\r\n\r\n"])).map(b"".join),
        st.tuples(st.integers(0, len(WHOLE)), st.binary(max_size=3), st.integers(0, 3)).map(
            lambda cut: WHOLE[: cut[0]] + cut[1] + WHOLE[cut[0] + cut[2] :]
        ),
    )
)
@example(WHOLE)
def test_what_is_read_is_what_h11_reads(data: bytes) -> None:
    request = read(data)
    if request is not None:
        assert (request.method, request.target, request.fields, request.body) == read_by_h11(data)


@pytest.mark.parametrize(
    "data",
    [
        WHOLE,
        b"GET /_matrix/client/v3/sync?since=s1 HTTP/1.1\r\nhost: x\r\nAuthorization:  Bearer a \r\nEmpty:\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_ordinary_requests_are_plain(data: bytes) -> None:
    assert read(data) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:-1],
        WHOLE + b"G",
        WHOLE + WHOLE,
        WHOLE.replace(b"\r\n", b"\n"),
        WHOLE.replace(b"Host: x\r\n", b""),
        WHOLE.replace(b"Host: x", b"Host: x\r\nHost: x"),
        WHOLE.replace(b"Length: 2", b"Length: 2\r\nContent-Length: 2"),
        WHOLE.replace(b"Length: 2", b"Length: +2"),
        WHOLE.replace(b"Length: 2", b"Length: 0x2"),
        WHOLE.replace(b"Length: 2", b"Length: 2\r\nTransfer-Encoding: chunked"),
        WHOLE.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"),
        WHOLE.replace(b"Host: x", b"Host: x\r\nUpgrade: h2c"),
        WHOLE.replace(b"Host: x", b"Host: x\r\nConnection: close"),
        WHOLE.replace(b"Host: x", b"Host: x\r\n folded"),
        WHOLE.replace(b"Host: x", b"Host: x\r\nX : y"),
        WHOLE.replace(b"Host: x", b"Host: x\r\nX: " + b"y" * MAX_HEAD),
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE.replace(b"PUT", b"HEAD"),
        WHOLE.replace(b"/a", b"http://x/a"),
    ],
)
def test_anything_else_is_not(data: bytes) -> None:
    assert read(data) is None


class Answer:
    """An exchange whose answer is kept and read back by h11."""

    def __init__(self, method: str = "GET") -> None:
        self.pieces: list[bytes] = []
        self.writes = 0
        self.exchange = Exchange(
            PlainRequest(method, b"/", [(b"host", b"x")], b""), self._write, lambda: [(b"date", b"d")]
        )

    async def _write(self, pieces: tuple[bytes, ...]) -> None:
        self.writes += 1
        self.pieces += pieces

    async def start(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        await self.exchange.send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def body(self, data: bytes, more: bool = False) -> None:
        await self.exchange.send({"type": "http.response.body", "body": data, "more_body": more})

    def read(self) -> tuple[int, dict[bytes, bytes], bytes]:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(b"".join(self.pieces))
        response = connection.next_event()
        assert isinstance(response, h11.Response)
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        assert connection.trailing_data[0] == b""
        return response.status_code, {bytes(n): bytes(v) for n, v in response.headers}, body


async def test_an_answer_is_one_piece() -> None:
    answer = Answer()
    await answer.start(200, (b"content-type", b"application/json"))
    assert not answer.exchange.started
    await answer.body(b"{}")
    assert answer.exchange.complete
    assert not answer.exchange.closes
    status, headers, body = answer.read()
    assert (status, body, answer.writes) == (200, b"{}", 1)
    assert headers == {b"content-type": b"application/json", b"date": b"d", b"content-length": b"2"}


async def test_an_answer_of_unknown_length_comes_in_chunks() -> None:
    answer = Answer()
    await answer.start(200)
    for piece in (b"a" * 20, b"", b"b"):
        await answer.body(piece, more=True)
    assert not answer.exchange.complete
    await answer.body(b"c")
    assert answer.read()[2] == b"a" * 20 + b"bc"
    assert answer.exchange.complete


async def test_an_answer_of_known_length_comes_in_pieces() -> None:
    answer = Answer()
    await answer.start(200, (b"content-length", b"4"), (b"connection", b"close"))
    await answer.body(b"ab", more=True)
    await answer.body(b"cd", more=True)
    await answer.body(b"")
    assert answer.read()[2] == b"abcd"
    assert answer.exchange.closes


async def test_some_answers_have_no_body() -> None:
    answer = Answer("OPTIONS")
    await answer.start(204)
    await answer.body(b"")
    status, headers, body = answer.read()
    assert (status, body) == (204, b"")
    assert headers.keys() == {b"date"}


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x", b"a\r\nset-cookie: b")],
        [(b"x\r\ny", b"a")],
        [(b"x", b"a\nb")],
        [(b"x", b"a\0b")],
        [(b"x y", b"a")],
        [(b"content-length", b"1")],
        [(b"content-length", b"3")],
    ],
)
async def test_an_answer_that_would_be_misread_is_not_sent(headers: Fields) -> None:
    answer = Answer()
    await answer.start(200, *headers)
    with pytest.raises(UnfitAnswer):
        await answer.body(b"{}")
    assert answer.pieces == []
    assert not answer.exchange.complete
    await answer.exchange.fail()
    assert answer.read()[0] == 500
    assert answer.exchange.closes


async def test_what_is_out_of_place_is_refused() -> None:
    answer = Answer()
    with pytest.raises(UnfitAnswer):
        await answer.body(b"{}")
    await answer.start(200)
    with pytest.raises(UnfitAnswer):
        await answer.start(200)
    await answer.body(b"")
    with pytest.raises(UnfitAnswer):
        await answer.body(b"")


async def attended(leave: Callable[[Any, asyncio.Task[Any]], None], work: Callable[[], Any]) -> Any:
    """What comes of waiting for `work`, if `leave` is called meanwhile; and that the task can still wait."""
    caller = Answer().exchange.caller
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, leave, caller, task)
    try:
        result = await caller.attend(work())
    finally:
        await asyncio.sleep(0)
    assert task.cancelling() == 0
    return result, caller.is_gone()


async def test_work_ends_when_its_caller_leaves() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("work")

    assert await attended(lambda caller, _: caller.leave(), work) == (None, True)
    assert ended == ["work"]


async def test_a_caller_may_leave_twice() -> None:
    def leave(caller: Any, _: asyncio.Task[Any]) -> None:
        caller.leave()
        caller.leave()

    assert await attended(leave, lambda: asyncio.sleep(60)) == (None, True)


async def test_work_that_does_not_end_keeps_its_result() -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "stubborn"
        return "never"

    assert await attended(lambda caller, _: caller.leave(), work) == ("stubborn", True)

    async def quick() -> str:
        return "quick"

    assert await attended(lambda caller, _: None, quick) == ("quick", False)


@pytest.mark.parametrize("both", [False, True])
async def test_a_task_that_is_to_end_ends(both: bool) -> None:
    def leave(caller: Any, task: asyncio.Task[Any]) -> None:
        task.cancel()
        if both:
            caller.leave()

    waiting = asyncio.create_task(attended(leave, lambda: asyncio.sleep(60)))
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_nobody_waits_for_a_caller_who_has_left() -> None:
    exchange = Answer().exchange
    assert (await exchange.receive())["type"] == "http.request"
    waiting = asyncio.create_task(exchange.receive())
    await asyncio.sleep(0)
    exchange.caller.leave()
    assert (await waiting)["type"] == "http.disconnect"
    assert (await exchange.receive())["type"] == "http.disconnect"
    assert await exchange.caller.attend(asyncio.sleep(60, "woken")) is None
