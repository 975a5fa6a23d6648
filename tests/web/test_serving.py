"""The command `hromada run` and real connections: the ready line, first run, raw HTTP, stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from homeserver.boot import Server
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.serve import hypercorn_config, listen, serve, url_of
from homeserver.system import SystemClock
from homeserver.web.app import Application, WebSettings
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import RateLimiter
from homeserver.web.response import Response
from homeserver.web.route import Auth, Route


async def command(*arguments: str) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HROMADA_")}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "homeserver", *arguments, stdout=pipe, stderr=pipe, env=environment
    )


async def run(*arguments: str) -> tuple[int | None, str, str]:
    process = await command(*arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def talk(port: int, data: bytes) -> bytes:
    """Send raw bytes and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


async def test_run_serves_and_stops(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = await command("run", "--data-dir", str(data), "--server-name", "hs.test", "--listen", "127.0.0.1:0")
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 90)).decode()
        assert line.startswith("ready http://127.0.0.1:"), line
        port = int(line.rpartition(":")[2])
        answer = await talk(port, get("/_matrix/client/versions"))
        assert b'"v1.1"' in answer
        assert b"server:" not in answer.lower()
        assert b"M_UNRECOGNIZED" in await talk(port, get("/_matrix/client/v3/nothing%2Fhere"))
        assert b"hromada_http_request_seconds" in await talk(port, get("/metrics"))
        assert b"https://hs.test" in await talk(port, get("/.well-known/matrix/client"))
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
    assert process.returncode == 0, err
    for name in ("hromada.toml", "signing.key", "jwt.keys"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600


async def test_wrong_configuration_ends_with_status_2_and_names(tmp_path: Path) -> None:
    folder = str(tmp_path)
    status, out, err = await run("run", "--data-dir", folder, "--registration", "maybe", "--log-level", "loud")
    assert (status, out) == (2, "")
    assert "registration.mode" in err
    assert "logging.level" in err
    assert (await run("init", "--data-dir", folder))[0] == 0
    (tmp_path / "signing.key").chmod(0o644)
    status, _, err = await run("user", "list", "--data-dir", folder)
    assert status == 2
    assert "server.signing_key_file" in err


async def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    await run("init", "--data-dir", str(tmp_path), "--server-name", "one.test")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"hromada.toml", "signing.key", "jwt.keys"}
    assert (await run("init", "--data-dir", str(tmp_path)))[0] == 0
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


class NoTokens:
    async def authenticate(
        self, token: str, *, masquerade_user: str | None = None, masquerade_device: str | None = None
    ) -> Requester:
        raise MatrixError(ErrCode.UNKNOWN_TOKEN, "Unknown token")


class Held:
    def __init__(self) -> None:
        self.wait = asyncio.Event()
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.closed = asyncio.Event()


async def hold(api: Held) -> dict[str, str]:
    api.entered.set()
    try:
        await api.wait.wait()
    except asyncio.CancelledError:
        api.cancelled.set()
        raise
    return {"held": "answered"}


async def pieces(api: Held) -> Response:
    async def make() -> AsyncIterator[bytes]:
        try:
            for number in range(3):
                yield b"piece %d " % number
            await api.wait.wait()
            yield b"end"
        finally:
            api.closed.set()

    return Response(200, (("Content-Type", "text/plain"),), make())


async def give_up(api: Held) -> None:
    raise asyncio.CancelledError


async def end(api: Held) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def end_late(api: Held) -> None:
    api.entered.set()
    await api.wait.wait()
    await asyncio.sleep(0.2)  # until the server has said that it stops
    await end(api)


async def split(api: Held) -> Response:
    return Response(200, (("Content-Disposition", "inline\r\nSet-Cookie: a=b"),), b"")


async def take(api: Held, *, body: dict[str, str]) -> None: ...


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[int, Held, asyncio.Task[None]]]:
    held = Held()
    routes = [
        Route[Held]("GET", "/hold", hold, auth=Auth.NONE, held=True),
        Route[Held]("POST", "/take", take, auth=Auth.NONE),
        Route[Held]("GET", "/pieces", pieces, auth=Auth.NONE),
        Route[Held]("GET", "/give-up", give_up, auth=Auth.NONE),
        Route[Held]("GET", "/end", end, auth=Auth.NONE),
        Route[Held]("GET", "/end-late", end_late, auth=Auth.NONE, held=True),
        Route[Held]("GET", "/split", split, auth=Auth.NONE),
    ]
    clock = SystemClock()
    app = Application(
        [Mount(held, routes)],
        settings=WebSettings(),
        authenticator=NoTokens(),
        limits=RateLimiter({}, clock),
        metrics=Metrics(),
        clock=clock,
    )

    async def close() -> None: ...

    listener = listen("127.0.0.1:0")
    port = int(url_of(listener).rpartition(":")[2])
    ready = asyncio.Event()
    server = Server(app, workers=(), release=held.wait.set, close=close)
    task = asyncio.create_task(serve(server, listener, lambda url: ready.set()))
    await ready.wait()
    try:
        yield port, held, task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await task


async def test_stopping_answers_held_requests() -> None:
    async with serving() as (port, held, task):
        request = asyncio.create_task(talk(port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"))
        await held.entered.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await request).endswith(b'{"held":"answered"}')
        await task


async def test_a_request_cancelled_while_stopping_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Python 3.11 asks the task of a connection for its exception even if it was cancelled, which raises."""
    async with serving() as (port, held, task):
        request = asyncio.create_task(talk(port, b"GET /end-late HTTP/1.1\r\nHost: x\r\n\r\n"))
        await held.entered.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await request == b""
        await task
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 5000000\r\n\r\n" + b" " * 5_000_000, b"413"),
        (b"Content-Length: 5000000\r\n\r\n", b"413"),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65536 + b"\r\n0\r\n\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 40 + b"0\r\n\r\n", b"413"),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"X: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_raw_requests(head: bytes, status: bytes) -> None:
    async with serving() as (port, _, _task):
        request = b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head
        try:
            answer = await talk(port, request)
        except ConnectionError:
            # The server closed on a body it will not read, and the kernel took the answer with it. It let go at once,
            # which is what this is about; small bodies show the answer.
            assert len(request) > 1_000_000
            return
        assert answer.startswith(b"HTTP/1.1 " + status)


TAKE = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
HOLD = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_an_answer_is_one_piece_and_answers_keep_their_order() -> None:
    async with serving() as (port, held, _task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(TAKE)
            assert (await reader.read(65_536)).endswith(b"\r\n\r\n{}")
        writer.write(TAKE + HOLD + TAKE)
        await held.entered.wait()
        held.wait.set()
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 3 or not answers.endswith(b"{}"):
            answers += await asyncio.wait_for(reader.read(65_536), 60)
        assert [part.rpartition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200")[1:]] == [
            b"{}",
            b'{"held":"answered"}',
            b"{}",
        ]
        writer.close()


# The same request: short, and the long way past h11.
WAYS = pytest.mark.parametrize("more", [b"", b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], ids=["plain", "by h11"])


def asking(path: str, more: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path.encode(), more)


@WAYS
async def test_whoever_hangs_up_is_not_waited_for(more: bytes) -> None:
    async with serving() as (port, held, _task):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("/hold", more))
        await held.entered.wait()
        writer.close()
        await asyncio.wait_for(held.cancelled.wait(), 60)


@WAYS
async def test_what_is_streamed_comes_as_it_is_made(more: bytes) -> None:
    async with serving() as (port, held, _task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("/pieces", more))
        assert b"transfer-encoding: chunked" in (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readuntil(b"piece 2 ")
        held.wait.set()
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"\r\n3\r\nend\r\n0\r\n\r\n")
        await asyncio.wait_for(held.closed.wait(), 60)
        writer.close()


@WAYS
@pytest.mark.parametrize("path", ["/give-up", "/end", "/split"])
async def test_an_application_that_fails_has_an_answer_all_the_same(more: bytes, path: str) -> None:
    async with serving() as (port, _, _task):
        answer = await talk(port, asking(path, more))
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"connection: close" in answer.lower()
        assert b"cookie" not in answer.lower()


@WAYS
async def test_a_connection_ends_after_many_requests(more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    config = hypercorn_config

    def impatient(*arguments: Any) -> Any:
        made = config(*arguments)
        made.keep_alive_max_requests = 3
        return made

    monkeypatch.setattr("homeserver.serve.hypercorn_config", impatient)
    async with serving() as (port, held, _task):
        held.wait.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(3):
            writer.write(asking("/hold", more))
            answer = await reader.readuntil(b'{"held":"answered"}')
            assert (b"connection: close" in answer.lower()) == (number == 2)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()


KEPT_S = 0.8
"""Connections are kept for so long when nothing comes."""


async def _used_for_long(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """A connection that lasts longer than idle ones, by requests on it; None if this machine was late with one."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    before = loop.time()
    for _ in range(4):
        await asyncio.sleep(KEPT_S / 2.5)
        answer = b""
        with suppress(ConnectionError):
            writer.write(TAKE)
            answer = await reader.read(65_536)
        if loop.time() - before > KEPT_S * 0.9:
            writer.close()
            return None
        assert answer.endswith(b"{}")
        before = loop.time()
    return reader, writer


async def test_idle_connections_end_and_those_with_a_request_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.serve._KEEP_ALIVE_SECONDS", KEPT_S)
    async with serving() as (port, held, _task):
        silent, _silent_writer = await asyncio.open_connection("127.0.0.1", port)
        while (used := await _used_for_long(port)) is None:
            pass
        reader, writer = used
        writer.write(HOLD)
        await held.entered.wait()
        assert await asyncio.wait_for(silent.read(), 60) == b""
        await asyncio.sleep(1.5 * KEPT_S)
        held.wait.set()
        assert (await asyncio.wait_for(reader.read(), 60)).endswith(b'{"held":"answered"}')
        writer.close()
        _silent_writer.close()


async def test_stopping_ends_idle_connections() -> None:
    async with serving() as (port, _, task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(TAKE)
        assert (await reader.read(65_536)).endswith(b"{}")
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        await task
        writer.close()
