"""The listener speaks HTTP/1.1 and nothing else, and lets go of callers that are dead, whatever they sent before."""

from __future__ import annotations

import asyncio

import pytest

from tests.web.test_serving import serving, talk

SETTINGS = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def test_no_request_becomes_http2() -> None:
    async with serving() as (port, _, _task):
        answer = await talk(port, b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + SETTINGS + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"upgrade" not in answer.lower()


@pytest.mark.parametrize("request_", [PREFACE, b"GET /nothing HTTP/2.0\r\nHost: x\r\n\r\n"])
async def test_prior_knowledge_of_http2_is_refused(request_: bytes) -> None:
    async with serving() as (port, _, _task):
        answer = await talk(port, request_)
        assert answer.startswith(b"HTTP/1.1 505 ")
        assert answer.count(b"HTTP/") == 1


HOLD = b"GET /hold HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("special", [b"", b"Connection: close\r\n", b"TE: trailers\r\n"])
@pytest.mark.parametrize(
    "junk", [b"", b"x", b"x" * 1_000, b"x" * 500_000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000]
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_dead_poll_is_let_go_of_whatever_was_sent_behind_it(special: bytes, junk: bytes, at_once: bool) -> None:
    async with serving() as (port, held, _task), asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HOLD + special + b"\r\n" + (junk if at_once else b""))
        await held.entered.wait()
        if not at_once:
            writer.write(junk)
        writer.close()
        await held.cancelled.wait()


@pytest.mark.parametrize("size", [200_000, 900_000])
async def test_a_large_body_is_still_slowed_down_and_taken(size: int) -> None:
    async with serving() as (port, _, _task):
        body = b'{"a":"' + b"x" * size + b'"}'
        head = b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert (await talk(port, head + body)).startswith(b"HTTP/1.1 200 ")
