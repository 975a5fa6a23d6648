"""The workers that make smaller pictures: few, started when needed, ended when idle or when they misbehave."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from homeserver.ports.media import (
    NotAPicture,
    Picture,
    PictureFacts,
    Thumbnailer,
    ThumbnailerBusy,
    ThumbnailSpec,
    TooManyPixels,
    VideoFacts,
)
from media_repo.thumbnails import video

_WORKER = Path(__file__).with_name("worker.py")
_IDLE_S = 60.0
_MOST_ORDERS = 500  # a worker's memory only grows
_MOST_BYTES = 32 * 1024 * 1024

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What the workers may cost."""

    workers: int = 2
    waiting: int = 100
    """Orders that may wait for a worker."""
    seconds: int = 10
    """CPU time of one order, and twice as much by the clock."""
    memory: int = 512 * 1024 * 1024
    pixels: int = 32_000_000
    frames: int = 200
    formats: Sequence[str] = ("PNG", "JPEG", "GIF", "WEBP")


class _Died(Exception):
    """The worker ended over an order, or was ended."""

    def __init__(self, reason: str, *, over_the_picture: bool) -> None:
        super().__init__(reason)
        self.over_the_picture = over_the_picture


class ThumbnailPool(Thumbnailer):
    """Implements `ports.media.Thumbnailer`."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._idle: list[_Worker] = []
        self._turn = asyncio.Semaphore(settings.workers)
        self._waiting = 0
        self._closed = False
        self._programs: tuple[str, str] | None = None
        if "VIDEO" in settings.formats:
            found = [shutil.which(name) for name in ("ffmpeg", "ffprobe")]
            self._programs = (found[0], found[1]) if found[0] and found[1] else None
            if self._programs is None:
                _log.warning("no_ffmpeg", reason="media.thumbnail_formats has video, and there is no ffmpeg")

    async def look(self, source: Path) -> PictureFacts:
        answer, _ = await self._order({"path": str(source), "look": True})
        return PictureFacts(answer["type"], answer["width"], answer["height"])

    async def make(self, source: Path, content_type: str, spec: ThumbnailSpec) -> Picture | None:
        order = {
            "path": str(source),
            "width": spec.width,
            "height": spec.height,
            "crop": spec.method == "crop",
            "animated": spec.animated,
        }
        answer, data = await self._order(order)
        return None if answer.get("original") else Picture(answer["type"], data)

    async def _order(self, order: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The answer to an order. One whose worker was killed by something else is given once more."""
        async with self._place():
            for attempt in (1, 2):
                try:
                    return await self._give(order)
                except _Died as death:
                    _log.warning("thumbnail_worker_died", reason=str(death), attempt=attempt)
                    if death.over_the_picture:
                        raise NotAPicture("takes too long or too much memory") from None
            raise ThumbnailerBusy("The worker died twice")

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """The turn of one order. Raises ThumbnailerBusy."""
        if self._waiting >= self._settings.waiting or self._closed:
            raise ThumbnailerBusy("Too many pictures are waiting")
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1

    # --- videos ---

    @property
    def reads_videos(self) -> bool:
        return self._programs is not None

    async def watch(self, source: Path) -> VideoFacts:
        async with self._place():
            return await self._watch(source)

    async def poster(self, source: Path) -> Picture:
        """A second after the beginning, where many videos are still black, or in the middle."""
        async with self._place():
            facts = await self._watch(source)
            if facts.width * facts.height > self._settings.pixels:
                raise TooManyPixels("is too large")
            at_s = min(1.0, (facts.duration_ms or 0) / 2000)
            program = self._found()[0]
            data = await self._ffmpeg(video.frame(program, source, at_s))
            if not data:  # nothing comes behind that moment
                data = await self._ffmpeg(video.frame(program, source, 0.0))
            if not data:
                raise NotAPicture("has no frame")
        return Picture("image/png", data)

    async def _watch(self, source: Path) -> VideoFacts:
        told = json.loads(await self._ffmpeg(video.probe(self._found()[1], source)) or b"{}")
        stream = next(iter(told.get("streams") or ()), None)
        if not stream or not stream.get("width") or not stream.get("height"):
            raise NotAPicture("has no video")
        sides = int(stream["width"]), int(stream["height"])
        turns = [side.get("rotation", 0) for side in stream.get("side_data_list") or ()]
        turned = turns or [(stream.get("tags") or {}).get("rotate", 0)]
        if int(float(turned[0])) % 180:
            sides = sides[1], sides[0]
        seconds = stream.get("duration") or (told.get("format") or {}).get("duration")
        return VideoFacts(*sides, None if seconds is None else round(float(seconds) * 1000))

    def _found(self) -> tuple[str, str]:
        if self._programs is None:
            raise NotAPicture("is a video")
        return self._programs

    async def _ffmpeg(self, command: list[str]) -> bytes:
        """What a program of ffmpeg writes. Raises NotAPicture, whatever it dislikes."""
        settings = self._settings
        process = await asyncio.create_subprocess_exec(
            *video.confined({"memory": settings.memory, "seconds": settings.seconds}, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - narrows the type
        data = bytearray()
        try:
            async with asyncio.timeout(settings.seconds * 2.0 + 1.0):
                while piece := await process.stdout.read(1 << 16):
                    data += piece
                    if len(data) > _MOST_BYTES:
                        raise NotAPicture("is too large")
                status = await process.wait()
        except TimeoutError:
            raise NotAPicture("takes too long") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())
        if status:
            raise NotAPicture(f"cannot be read (ffmpeg ended with status {status})")
        return bytes(data)

    async def close(self) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        for worker in idle:
            await worker.end()

    async def _give(self, order: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        worker = self._idle.pop() if self._idle else await self._start()
        worker.stay()
        try:
            answer, data = await worker.do(order, self._settings.seconds * 2.0 + 1.0)
        except BaseException:
            await worker.end()
            raise
        if worker.orders >= _MOST_ORDERS or self._closed:
            await worker.end()
        else:
            self._idle.append(worker)
            worker.leave_after(_IDLE_S, self._forget)
        refused = answer.get("refused")
        if refused == "too large":
            raise TooManyPixels("is too large")
        if refused is not None:
            raise NotAPicture(refused)
        return answer, data

    def _forget(self, worker: _Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)

    async def _start(self) -> _Worker:
        settings = self._settings
        limits = {
            "memory": settings.memory,
            "seconds": settings.seconds,
            "pixels": settings.pixels,
            "frames": settings.frames,
            "formats": [name for name in settings.formats if name != "VIDEO"],
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(_WORKER), json.dumps(limits)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        return _Worker(process)


class _Worker:
    def __init__(self, process: Process) -> None:
        self.orders = 0
        self._process = process
        self._timer: asyncio.TimerHandle | None = None

    async def do(self, order: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        """The answer to an order. Raises _Died."""
        self.orders += 1
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101 - narrows the type
        try:
            async with asyncio.timeout(seconds):
                stdin.write(json.dumps(order).encode() + b"\n")
                await stdin.drain()
                line = await stdout.readline()
                if not line:
                    raise ConnectionResetError
                answer: dict[str, Any] = json.loads(line)
                length = answer["length"]
                if length > _MOST_BYTES:
                    raise _Died("its answer is too long", over_the_picture=True)
                return answer, await stdout.readexactly(length)
        except TimeoutError:
            raise _Died("it took too long", over_the_picture=True) from None
        except (ConnectionError, asyncio.IncompleteReadError):
            status = await self._process.wait()
            raise _Died(f"exit status {status}", over_the_picture=status == -signal.SIGXCPU) from None

    def leave_after(self, seconds: float, forget: Callable[[_Worker], None]) -> None:
        """End by and by, if there is nothing to do."""

        def leave() -> None:
            forget(self)
            if self._process.stdin is not None:
                self._process.stdin.close()  # it ends when its input does

        self._timer = asyncio.get_running_loop().call_later(seconds, leave)

    def stay(self) -> None:
        """There is something to do."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def end(self) -> None:
        """Kill it, whatever it does."""
        self.stay()
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.shield(self._process.wait())
