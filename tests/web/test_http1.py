"""The listener speaks HTTP/1.1 and nothing else, and lets go of callers that are dead, whatever they sent before."""

from __future__ import annotations

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
