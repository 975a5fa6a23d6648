"""Finding media and its content: which media id is which blob, and which store has it.

Media ids are looked up by their origin and id together, quarantined ones are not found by anybody, and the times of
access are written now and then, not with each reading.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import parse_media
from homeserver.ports.blobs import BlobMissing, BlobStore, BlobStoreFailed, OpenBlob, StoreRule
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.media import Blob, Media
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.media.counts import MediaCounts
from homeserver.services.media.names import essence

_LOOK_AGAIN_S = 1.0
_WRITE_TIMES_EVERY_S = 60.0
_TIMES_STEP = 500
_MOST_TIMES = 100_000
_ACCESS_STEP_MS = 60 * 60 * 1000


class Incoming(Protocol):
    """Content of another server that is still being stored."""

    @property
    def content_type(self) -> str: ...
    @property
    def upload_name(self) -> str | None: ...
    @property
    def size(self) -> int | None:
        """As it was announced."""
        ...

    def read(self) -> AsyncIterator[bytes]:
        """All of it, from the beginning, at its pace. Raises BlobStoreFailed if it cannot be had, or must not."""
        ...

    async def close(self) -> None:
        """Read no more. The content is stored all the same."""
        ...


class RemoteFetcher(Protocol):
    """Fetches media of other servers. Both raise MatrixError; `timeout_ms` is for content that is not there yet."""

    async def fetch(self, origin: str, media_id: str, timeout_ms: int) -> Media:
        """The media, stored."""
        ...

    async def follow(self, origin: str, media_id: str, timeout_ms: int) -> Media | Incoming:
        """The media, or its content while it comes."""
        ...


_log = structlog.get_logger(__name__)


class BlobStores:
    """The stores of the configuration, by name, and which of them takes what."""

    def __init__(
        self,
        stores: Mapping[str, BlobStore],
        rules: Sequence[StoreRule],
        default: str,
        current: Mapping[str, str] | None = None,
    ) -> None:
        """`default` takes what no rule is about.

        A place may have several stores, one for each key it was ever encrypted with: `local`, `local:k1`, `local:k2`.
        `current` says which of them is written to, where that is not the one with the plain name.
        """
        self._stores = dict(stores)
        self._current = dict(current or {})
        self._rules = tuple(rules)
        self._default = default

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all stores."""
        return tuple(self._stores)

    @property
    def only(self) -> BlobStore | None:
        """The one that has everything, if there is but one."""
        return next(iter(self._stores.values())) if len(self._stores) == 1 else None

    def for_content(self, content_type: str, size: int) -> BlobStore:
        """Where new content goes."""
        kind = essence(content_type)
        name = next((rule.store for rule in self._rules if rule.fits(kind, size)), self._default)
        return self._stores[self._current.get(name, name)]

    def outdated(self) -> list[tuple[str, str]]:
        """Stores that are not written to any more, and where their content belongs."""
        found = []
        for name in self._stores:
            place = name.partition(":")[0]
            current = self._current.get(place, place)
            if name != current:
                found.append((name, current))
        return found

    def named(self, name: str) -> BlobStore:
        """A store. Raises BlobStoreFailed for one that is not configured (any more)."""
        store = self._stores.get(name)
        if store is None:
            raise BlobStoreFailed(f"no store is called {name}; there are {', '.join(self._stores)}")
        return store

    async def close(self) -> None:
        """Let go of all of them."""
        for store in self._stores.values():
            await store.close()


@dataclass(frozen=True, slots=True)
class LibrarySettings:
    """Bounds of looking things up."""

    server_name: str
    max_wait_ms: int = 60_000
    """Longest wait for content that has not been uploaded yet."""
    waiting: int = 1_000
    """How many readers may wait."""


class Library:
    """Media ids and their content."""

    def __init__(  # the world it works in
        self, store: Store, stores: BlobStores, clock: Clock, entropy: Entropy, settings: LibrarySettings
    ) -> None:
        self.stores = stores
        self.counts = MediaCounts()
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._settings = settings
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._arrivals: defaultdict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)
        self._waiting = 0
        self._read: dict[tuple[str, str], None] = {}
        self._released = False
        self._fetcher: RemoteFetcher | None = None

    def fetch_with(self, fetcher: RemoteFetcher) -> None:
        """From now on, ask other servers for media that is not here."""
        self._fetcher = fetcher

    @property
    def server_name(self) -> str:
        """The origin of media of this server."""
        return self._settings.server_name

    def new_id(self) -> str:
        """A media id that nobody can guess."""
        return self._entropy.token(18)

    @asynccontextmanager
    async def alone_with(self, digest: bytes) -> AsyncIterator[None]:
        """Whoever adds or removes content does it alone for this content."""
        lock = self._locks.get(digest)
        if lock is None:
            lock = self._locks[digest] = asyncio.Lock()
        async with lock:
            yield

    # --- reading ---

    async def find(self, server_name: str, media_id: str, timeout_ms: int, *, allow_remote: bool = True) -> Media:
        """The media of an mxc URI; waits up to `timeout_ms` for content that is still to be uploaded.

        What another server has is fetched, unless `allow_remote` forbids it.

        Raises MatrixError: INVALID_PARAM for what can be no URI, NOT_FOUND (also for quarantined media),
        NOT_YET_UPLOADED.
        """
        origin, media_id = parse_media(server_name, media_id)
        found = await self._get(origin, media_id)
        if found is None and self._fetcher is not None and allow_remote and origin != self.server_name:
            found = await self._fetcher.fetch(origin, media_id, timeout_ms)
        return await self._readable(found, timeout_ms)

    async def follow(
        self, server_name: str, media_id: str, timeout_ms: int, *, allow_remote: bool = True
    ) -> Media | Incoming:
        """As `find`; but the content of another server is given while it comes, without waiting for its end."""
        origin, media_id = parse_media(server_name, media_id)
        found = await self._get(origin, media_id)
        if found is None and self._fetcher is not None and allow_remote and origin != self.server_name:
            following = await self._fetcher.follow(origin, media_id, timeout_ms)
            if not isinstance(following, Media):
                return following
            found = following
        return await self._readable(found, timeout_ms)

    async def _readable(self, found: Media | None, timeout_ms: int) -> Media:
        if found is None:
            raise not_found()
        if found.digest is None:
            found = await self._arrival(found, timeout_ms)
        if found.quarantined_by is not None:
            raise not_found()
        self._note_reading(found)
        return found

    async def open(self, media: Media) -> OpenBlob:
        """The content of media that `find` gave. Raises MatrixError: NOT_FOUND if it is lost, UNKNOWN (503)."""
        assert media.digest is not None  # noqa: S101 - `find` waits for it
        async with self._store.read_committed() as tx:
            blob = await tx.media.blob(media.digest)
        if blob is None:
            raise not_found()  # deleted since
        return await self.open_blob(blob)

    async def link(self, media: Media, disposition: str) -> str | None:
        """A URL of the store itself for this content, good for some minutes; None if the store has none to give."""
        async with self._store.read_committed() as tx:
            blob = await tx.media.blob(media.digest or b"")
        if blob is None:
            return None
        try:
            return await self.stores.named(blob.store).link(blob.digest.hex(), media.content_type, disposition)
        except BlobStoreFailed as error:
            _log.warning("media_link_failed", error=str(error))
            return None

    async def open_blob(self, blob: Blob) -> OpenBlob:
        """The content of a blob. Raises as `open`."""
        try:
            return await self.stores.named(blob.store).open(blob.digest.hex())
        except BlobMissing:
            self.counts.lost += 1
            _log.error("media_content_lost", digest=blob.digest.hex(), store=blob.store)
            raise not_found("The content of this media is lost") from None
        except BlobStoreFailed as error:
            raise self.store_failed(error) from error

    def store_failed(self, error: Exception) -> MatrixError:
        """The answer when a store of media fails, which is counted."""
        self.counts.store_failures += 1
        return store_failed(error)

    async def _get(self, origin: str, media_id: str) -> Media | None:
        async with self._store.read_committed() as tx:
            found = await tx.media.get(origin, media_id)
        if found is not None and found.digest is None and (found.expires_ms or 0) <= self._clock.now_ms():
            return None
        return found

    async def _arrival(self, media: Media, timeout_ms: int) -> Media:
        """The media when its content has come."""
        key = (media.origin, media.media_id)
        wait_s = max(0, min(timeout_ms, self._settings.max_wait_ms)) / 1000
        deadline = self._clock.monotonic() + wait_s
        if self._waiting >= self._settings.waiting:
            raise not_yet_uploaded()
        arrived = self._arrivals[key]
        self._waiting += 1
        try:
            while not self._released and (left := deadline - self._clock.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(left, _LOOK_AGAIN_S)):  # it may come through another process
                        await arrived.wait()
                except TimeoutError:
                    pass
                found = await self._get(*key)
                if found is None:
                    raise not_found()
                if found.digest is not None:
                    return found
        finally:
            self._waiting -= 1
            if self._arrivals.get(key) is arrived and not arrived.is_set():
                del self._arrivals[key]
        raise not_yet_uploaded()

    def arrived(self, media: Media) -> None:
        """Content was uploaded: wake who waits for it."""
        event = self._arrivals.pop((media.origin, media.media_id), None)
        if event is not None:
            event.set()

    def release(self) -> None:
        """Let nobody wait any more."""
        self._released = True
        for event in self._arrivals.values():
            event.set()

    # --- times of access ---

    def _note_reading(self, media: Media) -> None:
        if self._clock.now_ms() - media.accessed_ms >= _ACCESS_STEP_MS and len(self._read) < _MOST_TIMES:
            self._read[media.origin, media.media_id] = None

    async def run(self) -> None:
        """Write down now and then what was read, until cancelled."""
        while True:
            await asyncio.sleep(_WRITE_TIMES_EVERY_S)
            try:
                await self.flush()
            except StoreUnavailable as error:
                _log.warning("media_access_times_postponed", error=str(error))

    async def flush(self) -> None:
        """Write down what was read since the last time."""
        read, self._read = list(self._read), {}
        for first in range(0, len(read), _TIMES_STEP):
            async with self._store.write() as tx:
                await tx.media.touch(read[first : first + _TIMES_STEP], self._clock.now_ms())

    # --- removing ---

    async def delete(self, ids: Sequence[tuple[str, str]]) -> int:
        """Delete media ids, and content that nothing refers to any more; returns how many blobs are gone.

        First the rows, which condemn the content, then the content: after a crash in between, `sweep` goes on.
        """
        async with self._store.write() as tx:
            condemned = await tx.media.delete(ids, self._clock.now_ms())
        removed = 0
        for blob in condemned:
            removed += await self.remove(blob)
        return removed

    async def remove(self, blob: Blob) -> bool:
        """Remove condemned content; whether it was still condemned, and is gone."""
        async with self.alone_with(blob.digest):
            async with self._store.write() as tx:
                if not await tx.media.drop_blob(blob.digest):
                    return False
            try:
                await self.stores.named(blob.store).delete(blob.digest.hex())
            except BlobStoreFailed as error:
                # The sweep for orphans finds it: nothing refers to it, and nothing is lost by its being there.
                _log.warning("media_content_not_removed", digest=blob.digest.hex(), error=str(error))
        return True


def not_found(message: str = "There is no such media") -> MatrixError:
    """The answer for media that is not there, or not for anybody."""
    return MatrixError(ErrCode.NOT_FOUND, message)


def not_yet_uploaded() -> MatrixError:
    """The answer for content that has not come in time.  spec: proposals/2246-asynchronous-uploads"""
    return MatrixError(ErrCode.NOT_YET_UPLOADED, "Media has not been uploaded yet")


def store_failed(error: Exception) -> MatrixError:
    """The answer when a store of media fails; what it said is for the log."""
    _log.warning("media_store_failed", error=str(error))
    return MatrixError(ErrCode.UNKNOWN, "The store of media is not available", status=503, retry_after_ms=5_000)
