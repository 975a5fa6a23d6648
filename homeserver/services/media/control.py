"""What operators do with media: see how much there is, delete, quarantine, protect, move, check, and let it age.

Everything works in steps, so that it can be interrupted at any time and never holds the database for long. The command
line calls these, and the admin API.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from homeserver.core.ids import parse_media
from homeserver.ports.blobs import BlobMissing, BlobStoreFailed, Spool, SpoolFull
from homeserver.ports.clock import Clock
from homeserver.ports.media import (
    Blob,
    Kind,
    Media,
    NotAPicture,
    PictureFacts,
    Selection,
    ThumbnailerBusy,
    Usage,
    VideoFacts,
)
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.media.library import Library, not_found
from homeserver.services.media.thumbnails import Thumbnails

_DIGEST = re.compile("[0-9a-f]{64}")
_STEP = 100
_RENEW_EVERY_S = 300.0
_ORPHAN_AGE_MS = 24 * 3600 * 1000
_DAY_MS = 24 * 3600 * 1000

Progress = Callable[[int, int], None]
"""Told after each step how many items and bytes are done."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """After how many days without being read media goes; 0 is never."""

    local_days: int = 0
    remote_days: int = 0
    preview_days: int = 30


@dataclass(frozen=True, slots=True)
class Gone:
    """What was deleted."""

    media: int = 0
    blobs: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that `check` found."""

    kind: str
    """`lost`: a row without content; `length`, `content`: other content than was stored; `orphan`: content without a
    row; `unknown store`: a store that is not configured."""
    store: str
    key: str
    detail: str = ""


def nothing(_items: int, _size: int) -> None:
    """No progress is shown."""


class MediaControl:
    """The operators' side of media."""

    def __init__(  # the world it works in
        self,
        store: Store,
        library: Library,
        thumbnails: Thumbnails,
        spool: Spool,
        clock: Clock,
        retention: Retention,
    ) -> None:
        self._store = store
        self._library = library
        self._thumbnails = thumbnails
        self._spool = spool
        self._clock = clock
        self._retention = retention

    # --- how much there is ---

    async def totals(self) -> list[tuple[str, Usage]]:
        """What there is of each kind: upload, preview, remote."""
        async with self._store.read_committed() as tx:
            return await tx.media.totals()

    async def usage(self, user_id: str) -> Usage:
        """What one user has uploaded."""
        async with self._store.read_committed() as tx:
            return await tx.media.usage(user_id)

    async def usage_by_user(self) -> AsyncIterator[tuple[str, Usage]]:
        """What users have uploaded, in the order of their ids."""
        last = ""
        while True:
            async with self._store.read_committed() as tx:
                page = await tx.media.usage_by_user(last, _STEP)
            for found in page:
                yield found
            if len(page) < _STEP:
                return
            last = page[-1][0]

    async def select(self, selection: Selection) -> AsyncIterator[Media]:
        """All media of a selection."""
        after = ("", "")
        while True:
            async with self._store.read_committed() as tx:
                page = await tx.media.select(selection, after, _STEP)
            for media in page:
                yield media
            if len(page) < _STEP:
                return
            after = (page[-1].origin, page[-1].media_id)

    async def describe(self, server_name: str, media_id: str) -> tuple[Media, PictureFacts | VideoFacts | None]:
        """A media id, and what its picture or video is; None for anything else. Raises as `delete`, UNKNOWN (503)."""
        media = await self.existing(server_name, media_id)
        try:
            return media, await self._thumbnails.describe(media)
        except (NotAPicture, ThumbnailerBusy):
            return media, None

    # --- deleting ---

    async def delete(self, server_name: str, media_id: str) -> Gone:
        """Delete one media id, protected or not. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        media = await self.existing(server_name, media_id)
        return await self._delete([media])

    async def delete_selected(self, selection: Selection, *, spare_used: bool, progress: Progress = nothing) -> Gone:
        """Delete what is selected; with `spare_used`, not what profiles, rooms and packs show."""
        used: set[str] = set()
        if spare_used:
            async with self._store.read() as tx:
                used = await tx.media.referenced()
        gone, size, batch = Gone(), 0, list[Media]()
        async for media in self.select(selection):
            if f"mxc://{media.origin}/{media.media_id}" in used:
                continue
            batch.append(media)
            if len(batch) == _STEP:
                gone, size = await self._delete_batch(batch, gone, size, progress)
                batch = []
        gone, _ = await self._delete_batch(batch, gone, size, progress)
        return gone

    async def _delete_batch(self, batch: list[Media], gone: Gone, size: int, progress: Progress) -> tuple[Gone, int]:
        more = await self._delete(batch)
        gone = Gone(gone.media + more.media, gone.blobs + more.blobs)
        size += sum(media.size or 0 for media in batch)
        progress(gone.media, size)
        return gone, size

    async def _delete(self, batch: list[Media]) -> Gone:
        blobs = await self._library.delete([(media.origin, media.media_id) for media in batch])
        for digest in {media.digest for media in batch if media.digest is not None}:
            async with self._store.read_committed() as tx:
                is_kept = await tx.media.blob(digest) is not None
            if not is_kept:
                await self._forget_thumbnails(digest)
        return Gone(len(batch), blobs)

    async def _forget_thumbnails(self, digest: bytes) -> None:
        try:
            await self._thumbnails.forget(digest)
        except BlobStoreFailed as error:  # they have a time after which they go
            _log.warning("thumbnails_not_removed", error=str(error))

    async def age(self) -> Gone:
        """Delete what nobody has read for its time. What is protected or in use stays."""
        now_ms, gone = self._clock.now_ms(), Gone()
        await self._library.flush()  # what was read in the last minute is not old
        times: tuple[tuple[Kind, int], ...] = (
            ("upload", self._retention.local_days),
            ("remote", self._retention.remote_days),
            ("preview", self._retention.preview_days),
        )
        for kind, days in times:
            if days:
                selection = Selection((kind,), accessed_before_ms=now_ms - days * _DAY_MS)
                more = await self.delete_selected(selection, spare_used=kind != "preview")
                gone = Gone(gone.media + more.media, gone.blobs + more.blobs)
        return gone

    async def chore(self) -> int:
        """One round of what is to be done now and then; returns 0, since it does everything at once."""
        await self.age()
        async with self._store.read_committed() as tx:
            condemned = await tx.media.condemned(self._clock.now_ms(), 10 * _STEP)
        for blob in condemned:  # from before a crash
            await self._library.remove(blob)
        async with self._store.write() as tx:
            await tx.media.forget_previews(self._clock.now_ms(), 10 * _STEP)
        return 0

    # --- quarantine and protection ---

    async def quarantine(self, server_name: str, media_id: str, by: str) -> int:
        """Let nobody have this content any more, by any of its ids; how many ids that is.

        Protected media stays. Raises MatrixError: INVALID_PARAM, NOT_FOUND.
        """
        media = await self.existing(server_name, media_id)
        async with self._store.write() as tx:
            count = await tx.media.set_quarantine(media.origin, media.media_id, by)
        if count and media.digest is not None:
            await self._forget_thumbnails(media.digest)
        return count

    async def quarantine_user(self, user_id: str, by: str) -> int:
        """Quarantine everything a user has uploaded; how many media ids that is."""
        count = 0
        async for media in self.select(Selection(("upload",), user_id=user_id)):
            if media.quarantined_by is None:
                count += await self.quarantine(media.origin, media.media_id, by)
        return count

    async def release(self, server_name: str, media_id: str) -> int:
        """Lift a quarantine, of all ids with this content. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        media = await self.existing(server_name, media_id)
        async with self._store.write() as tx:
            return await tx.media.set_quarantine(media.origin, media.media_id, None)

    async def protect(self, server_name: str, media_id: str, protected: bool) -> None:
        """Keep media from quarantine and from ageing, or lift that. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        media = await self.existing(server_name, media_id)
        async with self._store.write() as tx:
            await tx.media.set_protected(media.origin, media.media_id, protected)

    async def existing(self, server_name: str, media_id: str) -> Media:
        """One media id, whatever its state. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        origin, media_id = parse_media(server_name, media_id)
        async with self._store.read_committed() as tx:
            media = await tx.media.get(origin, media_id)
        if media is None:
            raise not_found()
        return media

    # --- stores ---

    async def move(self, from_store: str, to_store: str, progress: Progress = nothing) -> int:
        """Move all content from one store to another; how many blobs were moved. May be repeated after an error.

        First the copy, then the row, then the old one goes: readers find it at every moment.
        Raises BlobStoreFailed.
        """
        moved, size, last = 0, 0, b""
        while True:
            async with self._store.read_committed() as tx:
                page = await tx.media.blobs(from_store, last, _STEP)
            for blob in page:
                moved += await self._move(blob, to_store)
                size += blob.size
                progress(moved, size)
            if len(page) < _STEP:
                return moved
            last = page[-1].digest

    async def _move(self, blob: Blob, to_store: str) -> bool:
        source, target = self._library.stores.named(blob.store), self._library.stores.named(to_store)
        key = blob.digest.hex()
        async with self._library.alone_with(blob.digest):
            try:
                opened = await source.open(key)
            except BlobMissing:
                _log.error("media_content_lost", digest=key, store=blob.store)
                return False
            try:
                async with self._spool.file() as copy:
                    async for piece in opened.read(0, opened.size):
                        await copy.write(piece)
                    if await copy.finish() != blob.digest:
                        raise BlobStoreFailed(f"{blob.store} has other content under {key} than was stored")
                    await target.put(key, copy.path, may_move=True)
            finally:
                await opened.close()
            async with self._store.write() as tx:
                if not await tx.media.move_blob(blob.digest, to_store):
                    await target.delete(key)  # deleted meanwhile
                    return False
            await source.delete(key)
        return True

    async def renew(self, progress: Progress = nothing) -> int:
        """Move what lies under an old key, or under none, to where new content goes; how many blobs that is."""
        moved = 0
        for source, target in self._library.stores.outdated():
            moved += await self.move(source, target, progress)
        return moved

    async def run(self) -> None:
        """`renew` now and then, until cancelled: what uploads wrote in between is found too."""
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            try:
                moved = await self.renew()
            except (BlobStoreFailed, SpoolFull, StoreUnavailable) as error:
                _log.warning("media_renewal_postponed", error=str(error))
                continue
            if moved:
                _log.info("media_renewed", blobs=moved)

    async def check(self, *, read_all: bool, repair: bool, progress: Progress = nothing) -> AsyncIterator[Fault]:
        """Compare rows and stores, both ways. `read_all` also reads all content and compares its SHA-256.

        `repair` deletes content without a row that is older than a day: an upload writes its row last.
        """
        items, size = 0, 0
        async for blob in self._all_blobs():
            fault = await self._examined(blob, read_all=read_all)
            if fault is not None:
                yield fault
            items, size = items + 1, size + blob.size
            progress(items, size)
        for name in self._library.stores.names:
            async for fault in self._orphans(name, repair=repair):
                yield fault

    async def _all_blobs(self, store: str | None = None) -> AsyncIterator[Blob]:
        last = b""
        while True:
            async with self._store.read_committed() as tx:
                page = await tx.media.blobs(store, last, _STEP)
            for blob in page:
                yield blob
            if len(page) < _STEP:
                return
            last = page[-1].digest

    async def _examined(self, blob: Blob, *, read_all: bool) -> Fault | None:
        key = blob.digest.hex()
        try:
            store = self._library.stores.named(blob.store)
        except BlobStoreFailed as error:
            return Fault("unknown store", blob.store, key, str(error))
        try:
            opened = await store.open(key)
        except BlobMissing:
            return Fault("lost", blob.store, key)
        try:
            if opened.size != blob.size:
                return Fault("length", blob.store, key, f"{opened.size} bytes instead of {blob.size}")
            if read_all:
                async with self._spool.file() as copy:
                    async for piece in opened.read(0, opened.size):
                        await copy.write(piece)
                    if await copy.finish() != blob.digest:
                        return Fault("content", blob.store, key, "its SHA-256 differs")
        except BlobStoreFailed as error:
            return Fault("content", blob.store, key, str(error))
        finally:
            await opened.close()
        return None

    async def content_of(self, store: str) -> Usage:
        """How many blobs a store has by the database, and their size."""
        count, size = 0, 0
        async for blob in self._all_blobs(store):
            count, size = count + 1, size + blob.size
        return Usage(count, size)

    async def _orphans(self, name: str, *, repair: bool) -> AsyncIterator[Fault]:
        store = self._library.stores.named(name)
        before_ms = self._clock.now_ms() - _ORPHAN_AGE_MS
        async for found in store.list():
            if found.modified_ms >= before_ms:
                continue
            digest = bytes.fromhex(found.key) if _DIGEST.fullmatch(found.key) else b""
            async with self._library.alone_with(digest):
                async with self._store.read_committed() as tx:
                    blob = await tx.media.blob(digest)
                if blob is not None and blob.store == name:
                    continue
                if repair:
                    await store.delete(found.key)
            yield Fault("orphan", name, found.key, "deleted" if repair else "")
