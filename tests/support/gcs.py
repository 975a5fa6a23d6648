"""A bucket for tests: the emulator as a throwaway process, and a way to it that answers with faults when told to."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support.ports import free_port

BUCKET = "hromada-test"
START_TIMEOUT_S = 120.0
_MOST = 64 * 1024 * 1024


class Emulator:
    """One process with one bucket, on loopback, with its objects in a temporary folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hromada-gcs-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "gcp_storage_emulator", "--data-dir", str(self.folder), "start"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--default-bucket", BUCKET, "--quiet"]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.url, timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None, "the storage emulator does not start"
                time.sleep(0.05)
        raise AssertionError("the storage emulator does not answer")

    def stop(self) -> None:
        """End the process; the objects stay."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def destroy(self) -> None:
        """End it and delete everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder.parent / f"{self.folder.name}.log").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def gcs_emulator() -> Iterator[Emulator]:
    """One emulator for this worker process."""
    emulator = Emulator()
    yield emulator
    emulator.destroy()


@dataclass
class Faults:
    """What happens to the next requests; `seen` are methods and paths that came."""

    statuses: list[int] = field(default_factory=list)
    """Answers given instead of the emulator's, one after the other; 0 lets one through."""
    always: int | None = None
    lose_answers: int = 0
    """So many requests are done, and their answers replaced by 503."""
    cut_after: int | None = None
    """Answers longer than this end there, in the middle."""
    spoil: bool = False
    """One bit of each long answer is another."""
    seen: list[tuple[str, str]] = field(default_factory=list)


@asynccontextmanager
async def faulty(target: str) -> AsyncIterator[tuple[str, Faults]]:
    """An HTTP proxy to the emulator: its address, and the faults to set."""
    faults = Faults()

    async def answer(request: web.Request) -> web.StreamResponse:
        faults.seen.append((request.method, request.path))
        body = await request.read()
        status = faults.always if faults.always is not None else (faults.statuses.pop(0) if faults.statuses else 0)
        if status:
            return web.Response(status=status, text="a fault")
        hop = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in hop}
        async with session.request(
            request.method,
            f"{target}{request.raw_path}",
            data=io.BytesIO(body) if body else b"",
            headers=headers,
            allow_redirects=False,
        ) as found:
            data = await found.read()
            kept = {
                name: value for name, value in found.headers.items() if name.lower() not in (*hop, "content-encoding")
            }
            if "Location" in kept:
                kept["Location"] = kept["Location"].replace(target, f"http://{request.host}")
            if faults.lose_answers:
                faults.lose_answers -= 1
                return web.Response(status=503, text="the answer was lost")
            if faults.spoil and len(data) > 100_000:
                data = data[:500] + bytes([data[500] ^ 1]) + data[501:]
            if faults.cut_after is not None and len(data) > faults.cut_after:
                response = web.StreamResponse(status=found.status, headers={**kept, "Content-Length": str(len(data))})
                await response.prepare(request)
                await response.write(data[: faults.cut_after])
                assert request.transport is not None
                request.transport.abort()
                return response
            return web.Response(status=found.status, body=data, headers=kept)

    application = web.Application(client_max_size=_MOST)
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", faults
        finally:
            await runner.cleanup()
