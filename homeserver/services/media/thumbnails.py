"""Smaller pictures of media: made once, whoever asks how often, and kept for a while.

They are kept by the content they were made of, so equal pictures share them, and in a store of their own, which is a
cache: it may be emptied at any time. Sizes are few, or strangers could fill the disk with them.
spec: client-server-api#thumbnails
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.blobs import BlobCache, BlobMissing, BlobStoreFailed, OpenBlob, Spool, SpoolFull
from homeserver.ports.clock import Clock
from homeserver.ports.media import (
    Media,
    NotAPicture,
    Picture,
    PictureFacts,
    Thumbnailer,
    ThumbnailerBusy,
    ThumbnailSpec,
    TooManyPixels,
    VideoFacts,
)
from homeserver.services.media.library import Library
from homeserver.services.media.names import essence

# spec: client-server-api#thumbnails; the largest are for screens that did not exist when that was written
_SCALED = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600), (1600, 1200))
_CROPPED = (32, 48, 64, 96, 128, 192, 256, 320, 480, 640, 800)
_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}
_TYPES = {suffix: type_ for type_, suffix in _SUFFIXES.items()}
_ORIGINAL = "same"
"""A cached answer: the original may stand for its thumbnail."""
_DAY_MS = 24 * 3600 * 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is sent for a thumbnail: a smaller picture, or the original."""

    content_type: str
    blob: OpenBlob
    tag: str
    """Differs when the bytes do."""


class Thumbnails:
    """Makes and keeps smaller pictures."""

    def __init__(  # the world it works in
        self,
        library: Library,
        cache: BlobCache,
        spool: Spool,
        thumbnailer: Thumbnailer,
        clock: Clock,
        *,
        keep_days: int,
        max_source_bytes: int,
    ) -> None:
        """`cache` is for thumbnails alone."""
        self._library = library
        self._cache = cache
        self._spool = spool
        self._thumbnailer = thumbnailer
        self._clock = clock
        self._keep_days = keep_days
        self._max_source_bytes = max_source_bytes
        self._making: dict[str, asyncio.Task[str]] = {}

    async def show(self, media: Media, wanted: ThumbnailSpec) -> Shown:
        """A picture of `media` at least as large as `wanted`, where the original is.

        Raises MatrixError: INVALID_PARAM for sizes below one, UNKNOWN for what is no picture, TOO_LARGE,
        NOT_FOUND, UNKNOWN (503).
        """
        if wanted.width < 1 or wanted.height < 1:
            raise MatrixError(ErrCode.INVALID_PARAM, "Width and height must be 1 or more")
        spec = _fitted(wanted)
        stem = f"{media.digest.hex() if media.digest else ''}-{spec.width}x{spec.height}-{spec.method}"
        stem += "-a" if spec.animated else ""
        suffix = await self._suffix(stem)
        if suffix is None:
            suffix = await self._made(media, spec, stem)
        try:
            if suffix == _ORIGINAL:
                return Shown(media.content_type, await self._library.open(media), f"{stem[:64]}")
            return Shown(_TYPES[suffix], await self._cache.open(f"{stem}.{suffix}"), stem)
        except BlobMissing:
            raise MatrixError(ErrCode.UNKNOWN, "The thumbnail is gone again", status=503, retry_after_ms=1000) from None
        except BlobStoreFailed as error:
            raise self._library.store_failed(error) from error

    async def forget(self, digest: bytes) -> None:
        """Remove all thumbnails of some content."""
        for key in await self._cache.beginning(digest.hex()):
            await self._cache.delete(key)

    async def expire(self) -> int:
        """Remove thumbnails made longer ago than they are kept; returns how many."""
        removed = 0
        before_ms = self._clock.now_ms() - self._keep_days * _DAY_MS
        async for found in self._cache.list():
            if found.modified_ms < before_ms:
                removed += await self._cache.delete(found.key)
        return removed

    # --- inside ---

    async def _suffix(self, stem: str) -> str | None:
        try:
            kept = await self._cache.beginning(f"{stem}.")
        except BlobStoreFailed as error:
            raise self._library.store_failed(error) from error
        return kept[0].rpartition(".")[2] if kept else None

    async def _made(self, media: Media, spec: ThumbnailSpec, stem: str) -> str:
        """Make it, or wait for somebody who does; the suffix it is kept under. Nobody's leaving stops the others."""
        task = self._making.get(stem)
        if task is None:
            task = self._making[stem] = asyncio.create_task(self._make(media, spec, stem))
            task.add_done_callback(lambda done: self._done(stem, done))
        return await asyncio.shield(task)

    def _done(self, stem: str, task: asyncio.Task[str]) -> None:
        self._making.pop(stem, None)
        if not task.cancelled():
            task.exception()  # those who wait have got it, if anybody still does

    async def _make(self, media: Media, spec: ThumbnailSpec, stem: str) -> str:
        if (media.size or 0) > self._max_source_bytes and not self._is_video(media):  # of those little is read
            raise MatrixError(ErrCode.TOO_LARGE, "Content is too large to thumbnail")
        try:
            async with self._source(media) as path, self._still(media, path) as still:
                picture = await self._thumbnailer.make(still, media.content_type, spec)
                if picture is None and still is not path:  # a video's own frame, as small as it was wanted
                    picture = Picture("image/png", await asyncio.to_thread(still.read_bytes))
            suffix = _ORIGINAL if picture is None else _SUFFIXES[picture.content_type]
            await self._keep(f"{stem}.{suffix}", picture)
        except TooManyPixels:
            self._library.counts.thumbnails_refused += 1
            raise MatrixError(ErrCode.TOO_LARGE, "Content is too large to thumbnail") from None
        except NotAPicture as reason:
            self._library.counts.thumbnails_refused += 1
            raise MatrixError(ErrCode.UNKNOWN, f"Cannot generate thumbnails for this content: it {reason}") from None
        except ThumbnailerBusy as error:
            self._library.counts.thumbnails_busy += 1
            _log.warning("thumbnails_busy", reason=str(error))
            raise MatrixError(
                ErrCode.UNKNOWN, "Too many thumbnails are being made", status=503, retry_after_ms=2000
            ) from None
        except (SpoolFull, BlobStoreFailed) as error:
            raise self._library.store_failed(error) from error
        self._library.counts.thumbnails += 1
        return suffix

    @asynccontextmanager
    async def _still(self, media: Media, path: Path) -> AsyncIterator[Path]:
        """The picture to make smaller: the file itself, or one out of it if it is a video."""
        if not self._is_video(media):
            yield path
            return
        poster = await self._thumbnailer.poster(path)
        async with self._spool.file() as file:
            await file.write(poster.data)
            await file.finish()
            yield file.path

    def _is_video(self, media: Media) -> bool:
        return self._thumbnailer.reads_videos and essence(media.content_type).startswith("video/")

    async def describe(self, media: Media) -> PictureFacts | VideoFacts:
        """What a picture or a video is. Raises NotAPicture, ThumbnailerBusy, MatrixError: NOT_FOUND, UNKNOWN (503)."""
        async with self._source(media) as path:
            if self._is_video(media):
                return await self._thumbnailer.watch(path)
            return await self._thumbnailer.look(path)

    @asynccontextmanager
    async def _source(self, media: Media) -> AsyncIterator[Path]:
        """The content as a file: itself where it is one, else a copy that goes when the block ends."""
        blob = await self._library.open(media)
        try:
            if blob.path is not None:
                yield blob.path
                return
            async with self._spool.file() as copy:
                async for piece in blob.read(0, blob.size):
                    await copy.write(piece)
                await copy.finish()
                yield copy.path
        finally:
            await blob.close()

    async def _keep(self, key: str, picture: Picture | None) -> None:
        async with self._spool.file() as file:
            if picture is not None:
                await file.write(picture.data)
            await file.finish()
            await self._cache.put(key, file.path, may_move=True)


def _fitted(wanted: ThumbnailSpec) -> ThumbnailSpec:
    """The size that is made for a wish: the smallest of ours that is no smaller, or our largest."""
    if wanted.method == "crop":
        width, height = (
            next((s for s in _CROPPED if s >= side), _CROPPED[-1]) for side in (wanted.width, wanted.height)
        )
    else:
        fitting = ((w, h) for w, h in _SCALED if w >= wanted.width and h >= wanted.height)
        width, height = next(fitting, _SCALED[-1])
    return replace(wanted, width=width, height=height)
