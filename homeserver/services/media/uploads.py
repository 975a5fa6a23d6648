"""Taking content in: at once, or for a media id that was made before.

What arrives is collected in a file; only when all of it is there and durable in a store, its row is written, in one
transaction with the quota. So an id that was given out is whole, whatever happens, and what is not whole has no id.
spec: client-server-api#content-repository
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from homeserver import faults
from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.core.ids import parse_media
from homeserver.ports.blobs import BlobStore, BlobStoreFailed, ReadInto, Spool, SpoolFile, SpoolFull
from homeserver.ports.clock import Clock
from homeserver.ports.media import Blob, Kind, Media
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store, Transaction
from homeserver.services.media.library import Library, not_found
from homeserver.services.media.metadata import MOST_BYTES, without_metadata
from homeserver.services.media.names import content_type, file_name

_HOUR_MS = 3600 * 1000
_RETRY_MS = 2_000
_FORGET_STEP = 1_000
_REMEMBERED_S = 60.0
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """Bounds of uploads. Sizes in bytes; 0 is no quota."""

    max_bytes: int = 50 * 1024 * 1024
    quota_bytes: int = 0
    seconds: int = 3600
    """All of an upload must arrive within this."""
    at_once: int = 8
    """Uploads of one user that may run."""
    pending: int = 5
    """Media ids of one user that may wait for content."""
    pending_hours: int = 24
    strip_metadata: bool = False
    """Keep pictures without their metadata."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """Content on its way in."""

    pieces: AsyncIterator[bytes]
    announced: int | None
    """How long it says it is; what comes is what counts."""
    content_type: str | None
    name: str | None
    read_into: ReadInto | None = None
    """Gives the same as `pieces`, in its place; only if the length is announced and certain."""


class Uploads:
    """Takes content in."""

    def __init__(self, store: Store, library: Library, spool: Spool, clock: Clock, settings: UploadSettings) -> None:
        self.settings = settings
        self._store = store
        self._library = library
        self._spool = spool
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._stripping = asyncio.Lock()
        self._used: dict[str, tuple[int, float]] = {}

    async def create(self, who: Requester) -> Media:
        """A media id whose content comes later. Raises MatrixError: USER_SUSPENDED, FORBIDDEN, LIMIT_EXCEEDED.

        spec: client-server-api#post_matrixmediav1create
        """
        _require_active(who)
        now_ms = self._clock.now_ms()
        media = self._new("upload", who.user_id, now_ms)
        media = replace(media, expires_ms=now_ms + self.settings.pending_hours * _HOUR_MS)
        async with self._store.write() as tx:
            await tx.users.lock(who.user_id)
            if await tx.media.pending(who.user_id, now_ms) >= self.settings.pending:
                raise LimitExceeded(60_000, f"You have {self.settings.pending} uploads to finish first")
            await self._refuse_beyond_quota(tx, who.user_id, 1)
            await tx.media.add(media)
        return media

    async def upload(self, who: Requester, arriving: Arriving) -> Media:
        """Content with a new media id. Raises MatrixError: USER_SUSPENDED, FORBIDDEN beyond the quota, INVALID_PARAM
        for nothing at all, LIMIT_EXCEEDED, UNKNOWN (408, 503).  spec: client-server-api#post_matrixmediav3upload
        """
        _require_active(who)
        with self._slot(who.user_id):
            left = await self._room_left(who.user_id, arriving.announced)
            async with self._spooled(arriving, left) as (file, digest):
                media = self._described(self._new("upload", who.user_id, self._clock.now_ms()), arriving, file, digest)
                await self._keep(media, file, is_new=True)
        return media

    async def upload_to(self, who: Requester, server_name: str, media_id: str, arriving: Arriving) -> None:
        """Content for a media id of `create`. Raises as `upload`, and NOT_FOUND, CANNOT_OVERWRITE_MEDIA.

        spec: client-server-api#put_matrixmediav3uploadservernamemediaid
        """
        _require_active(who)
        origin, media_id = parse_media(server_name, media_id)
        async with self._store.read_committed() as tx:
            pending = await tx.media.get(origin, media_id)
        if pending is None or origin != self._library.server_name:
            raise not_found()
        if pending.user_id != who.user_id:
            raise MatrixError(ErrCode.FORBIDDEN, "Somebody else made this media id")
        if pending.digest is not None:
            raise _has_content()
        if (pending.expires_ms or 0) <= self._clock.now_ms():
            raise not_found("This media id has expired")
        with self._slot(who.user_id):
            left = await self._room_left(who.user_id, arriving.announced)
            async with self._spooled(arriving, left) as (file, digest):
                media = self._described(pending, arriving, file, digest)
                await self._keep(media, file, is_new=False)
        self._library.arrived(media)

    async def keep(self, kind: Kind, file: SpoolFile, digest: bytes, type_: str | None, name: str | None) -> Media:
        """Keep a file that the server itself has fetched, under a new media id. Raises MatrixError UNKNOWN (503)."""
        media = replace(
            self._new(kind, None, self._clock.now_ms()),
            content_type=content_type(type_),
            upload_name=file_name(name),
            size=file.size,
            digest=digest,
        )
        return await self._keep(media, file, is_new=True)

    async def keep_remote(
        self, origin: str, media_id: str, file: SpoolFile, digest: bytes, type_: str | None, name: str | None
    ) -> Media:
        """Keep a copy of another server's media. Raises MatrixError UNKNOWN (503), UniqueViolation."""
        media = replace(
            self._new("remote", None, self._clock.now_ms()),
            origin=origin,
            media_id=media_id,
            content_type=content_type(type_),
            upload_name=file_name(name),
            size=file.size,
            digest=digest,
        )
        return await self._keep(media, file, is_new=True)

    async def forget_expired(self) -> int:
        """Forget media ids whose content did not come; returns how many, a thousand at most."""
        async with self._store.write() as tx:
            return await tx.media.forget_expired(self._clock.now_ms(), _FORGET_STEP)

    # --- inside ---

    def _new(self, kind: Kind, user_id: str | None, now_ms: int) -> Media:
        return Media(
            origin=self._library.server_name,
            media_id=self._library.new_id(),
            kind=kind,
            user_id=user_id,
            content_type="",
            upload_name=None,
            size=None,
            digest=None,
            created_ms=now_ms,
            accessed_ms=now_ms,
            expires_ms=None,
        )

    def _described(self, media: Media, arriving: Arriving, file: SpoolFile, digest: bytes) -> Media:
        return replace(
            media,
            content_type=content_type(arriving.content_type),
            upload_name=file_name(arriving.name),
            size=file.size,
            digest=digest,
            accessed_ms=self._clock.now_ms(),
            expires_ms=None,
        )

    @contextmanager
    def _slot(self, user_id: str) -> Iterator[None]:
        if self._running[user_id] >= self.settings.at_once:
            raise LimitExceeded(_RETRY_MS, f"You have {self.settings.at_once} uploads running already")
        self._running[user_id] += 1
        try:
            yield
        finally:
            self._running[user_id] -= 1
            if not self._running[user_id]:
                del self._running[user_id]

    async def _room_left(self, user_id: str, announced: int | None) -> int | None:
        """How many bytes the user may still upload; None for any number. Raises MatrixError FORBIDDEN, TOO_LARGE."""
        if (announced or 0) > self.settings.max_bytes:
            raise MatrixError(ErrCode.TOO_LARGE, f"Uploads have at most {self.settings.max_bytes} bytes")
        if not self.settings.quota_bytes:
            return None
        used, then = self._used.get(user_id, (0, -_REMEMBERED_S))
        left = self.settings.quota_bytes - used
        # What others upload for the user meanwhile is seen when the row is written: that alone decides.
        if self._clock.monotonic() - then < _REMEMBERED_S and left >= max(1, announced or 0):
            return left
        async with self._store.read_committed() as tx:
            used = (await tx.media.usage(user_id)).size
        left = self.settings.quota_bytes - used
        if left < max(1, announced or 0):
            raise self._beyond_quota()
        return left

    async def _refuse_beyond_quota(self, tx: Transaction, user_id: str, size: int) -> None:
        quota = self.settings.quota_bytes
        if quota and (await tx.media.usage(user_id)).size + size > quota:
            raise self._beyond_quota()

    def _beyond_quota(self) -> MatrixError:
        return MatrixError(ErrCode.FORBIDDEN, f"You may keep {self.settings.quota_bytes:,} bytes of uploads")

    @asynccontextmanager
    async def _spooled(self, arriving: Arriving, left: int | None) -> AsyncIterator[tuple[SpoolFile, bytes]]:
        """What arrives, as a file and its SHA-256. Raises as `upload`."""
        try:
            async with self._spool.file() as file:
                digest = await self._collect(file, arriving, left)
                lean = await self._lean(file) if self.settings.strip_metadata else None
                if lean is None:
                    yield file, digest
                    return
                async with self._spool.file() as other:
                    await other.write(lean)
                    yield other, await other.finish()
        except SpoolFull as error:
            raise self._library.store_failed(error) from error

    async def _lean(self, file: SpoolFile) -> bytes | None:
        """The picture without its metadata, if it is one and has any. One at a time: it is in memory meanwhile."""
        if file.size > MOST_BYTES:
            return None
        async with self._stripping:
            return await asyncio.to_thread(lambda: without_metadata(file.path.read_bytes()))

    async def _collect(self, file: SpoolFile, arriving: Arriving, left: int | None) -> bytes:
        try:
            async with asyncio.timeout(self.settings.seconds):
                if arriving.read_into is not None and arriving.announced:
                    await file.fill(arriving.read_into, arriving.announced)  # `_room_left` has seen the length
                else:
                    async for piece in arriving.pieces:
                        await file.write(piece)
                        if left is not None and file.size > left:
                            raise self._beyond_quota()
        except TimeoutError:
            raise MatrixError(ErrCode.UNKNOWN, "The upload took too long", status=408) from None
        if file.size == 0:
            raise MatrixError(ErrCode.INVALID_PARAM, "There is nothing in the body")
        digest = await file.finish()
        if faults.plan is not None:
            await faults.plan.reach("media.received")
        return digest

    async def _keep(self, media: Media, file: SpoolFile, *, is_new: bool) -> Media:
        """Store the content, then the row, which it returns. Raises MatrixError."""
        digest = media.digest
        assert digest is not None  # noqa: S101 - both callers have just computed it
        async with self._library.alone_with(digest):
            blob, store, is_new_there = await self._store_content(media, digest, file)
            if faults.plan is not None:
                await faults.plan.reach("media.stored")
            try:
                kept, row = await self._record(media, blob, is_new=is_new)
            except (MatrixError, BlobStoreFailed) as error:
                if is_new_there:
                    await self._take_back(digest, store)
                if isinstance(error, MatrixError):
                    raise
                raise self._library.store_failed(error) from error
            if not is_new_there and kept.store == blob.store:
                await self._confirm(row, store, file, is_new=is_new)
            if kept.store != blob.store:  # another process was first, and chose another store
                await store.delete(digest.hex())
        self._library.counts.uploads += 1
        self._library.counts.uploaded_bytes += file.size
        return row

    async def _record(self, media: Media, blob: Blob, *, is_new: bool) -> tuple[Blob, Media]:
        async with self._store.write() as tx:
            # Alone for the user, or two uploads at once would each find room for one.
            quota = self.settings.quota_bytes if media.user_id is not None else 0
            if is_new:
                kept = await tx.media.keep(media, blob, quota)
                used = kept.used
            else:
                kept = await tx.media.keep_blob(blob, media.user_id if quota else None)
                used = kept.used + blob.size
            if quota and media.user_id is not None:
                if used > quota:
                    raise self._beyond_quota()
                self._remember(media.user_id, used)
            self._library.stores.named(kept.blob.store)  # or its content could not be read
            row = replace(media, quarantined_by=kept.quarantined_by)
            if not is_new and not await tx.media.complete(row):
                raise _has_content()
        return kept.blob, row

    async def _confirm(self, row: Media, store: BlobStore, file: SpoolFile, *, is_new: bool) -> None:
        """Put the content of a row again: another process may have deleted it before the row was there.

        If that fails, nobody is told the new id, so its row goes; an id that was given out before keeps what was there.
        """
        assert row.digest is not None  # noqa: S101 - it has content
        try:
            await store.put(row.digest.hex(), file.path)
        except BlobStoreFailed as error:
            if is_new:
                async with self._store.write() as tx:
                    await tx.media.delete([(row.origin, row.media_id)], self._clock.now_ms())
            raise self._library.store_failed(error) from error

    def _remember(self, user_id: str, used: int) -> None:
        if len(self._used) >= _MOST_REMEMBERED:
            self._used.clear()
        self._used[user_id] = used, self._clock.monotonic()

    async def _take_back(self, digest: bytes, store: BlobStore) -> None:
        """It was refused in the last moment: nothing was written, and nothing refers to it but what did before."""
        async with self._store.read_committed() as tx:
            known = await tx.media.blob(digest)
        if known is None or known.store != store.name:
            await store.delete(digest.hex())

    async def _store_content(self, media: Media, digest: bytes, file: SpoolFile) -> tuple[Blob, BlobStore, bool]:
        """Put the content into its store; also whether it was not there before, whatever rows say: that heals."""
        stores = self._library.stores
        try:
            store = stores.only
            if store is None:
                async with self._store.read_committed() as tx:
                    known = await tx.media.blob(digest)
                store = stores.named(known.store) if known else stores.for_content(media.content_type, file.size)
            is_new = await store.put(digest.hex(), file.path, may_move=True)
        except BlobStoreFailed as error:
            raise self._library.store_failed(error) from error
        return Blob(digest, store.name, file.size, self._clock.now_ms()), store, is_new


def _require_active(who: Requester) -> None:
    if who.suspended:
        raise MatrixError(ErrCode.USER_SUSPENDED, "This account is suspended")


def _has_content() -> MatrixError:
    return MatrixError(ErrCode.CANNOT_OVERWRITE_MEDIA, "This media has been uploaded already")
