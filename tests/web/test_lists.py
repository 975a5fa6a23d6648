"""Long lists: whole or streamed, they say the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import orjson
import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web import answers, response
from homeserver.web.answers import in_one_piece
from homeserver.web.response import JSON_TYPE, Response, json_list


@pytest.mark.parametrize("count", [0, 1, 3, 40])
async def test_long_lists_are_streamed_and_say_the_same(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(response, "WHOLE_BYTES", 50)
    closed: list[bool] = []

    async def pages() -> AsyncGenerator[list[bytes], None]:
        try:
            for number in range(count):
                yield [] if number % 3 == 2 else [b'"number %d"' % number, b"2"]
        finally:
            closed.append(True)

    whole = [value for n in range(count) if n % 3 != 2 for value in (f"number {n}", 2)]
    answer = await json_list(b'{"chunk":[', pages(), b"]}")
    assert isinstance(answer, Response) is (count == 40)
    if isinstance(answer, Response):
        answer = await in_one_piece(answer)
    assert orjson.loads(answer.data) == {"chunk": whole}
    assert closed == [True]


async def test_a_frame_holds_no_endless_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_MAX_FRAME_JSON", 100)
    closed: list[bool] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"1,"
        finally:
            closed.append(True)

    with pytest.raises(MatrixError) as refused:
        await in_one_piece(Response(headers=(JSON_TYPE,), body=endless()))
    assert refused.value.code == ErrCode.TOO_LARGE
    assert closed == [True]
    with pytest.raises(MatrixError):
        await in_one_piece(Response(headers=(("Content-Type", "text/plain"),), body=b"no JSON"))
