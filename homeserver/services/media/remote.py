"""Media of other servers: fetched once for all who wait, bounded, stored before anybody gets the end of it.

Who asks is `ports.media.RemoteMedia`; here is what holds whoever that is.
spec: client-server-api#content-repo-security-considerations
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.ports.blobs import BlobStoreFailed, OpenBlob, Spool, SpoolFile, SpoolFull
from homeserver.ports.media import Media, RemoteContent, RemoteMedia
from homeserver.ports.outbound import OutboundError
from homeserver.ports.store import Store, UniqueViolation
from homeserver.services.media.library import Incoming, not_found, store_failed
from homeserver.services.media.names import content_type, file_name
from homeserver.services.media.uploads import Uploads

_Key = tuple[str, str]
_HELD_BACK = 64 * 1024
"""Of content that is still coming: nobody has all of it before its digest is known, and it is stored."""


class _Fetch:
    """One fetch, and what is known of its content so far."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Media] | None = None
        self.content: RemoteContent | None = None
        """Known when the first of it has come."""
        self.file: SpoolFile | None = None
        self.size = 0
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self) -> None:
        """Wait until something changes."""
        await self._changed.wait()


class _Follower:
    """Implements `library.Incoming`. The end is held back until all of it is stored, and may be given."""

    def __init__(self, fetch: _Fetch, content: RemoteContent, blob: OpenBlob) -> None:
        self.content_type = content_type(content.content_type)
        self.upload_name = file_name(content.upload_name)
        self.size = content.length
        self._fetch = fetch
        self._blob = blob

    async def read(self) -> AsyncIterator[bytes]:
        """See the protocol."""
        at = 0
        while True:
            stored = self._is_stored()
            end = self._fetch.size if stored else self._fetch.size - _HELD_BACK
            if at < end:
                async for piece in self._blob.read(at, end - at):
                    at += len(piece)
                    yield piece
            elif stored:
                return
            else:
                await self._fetch.change()

    async def close(self) -> None:
        """See the protocol."""
        await self._blob.close()

    def _is_stored(self) -> bool:
        """Raises BlobStoreFailed."""
        task = self._fetch.task
        if task is None or not task.done():
            return False
        if task.cancelled() or task.exception() is not None or task.result().quarantined_by is not None:
            raise BlobStoreFailed("media of another server cannot be given to its end")
        return True


class RemoteFetches:
    """Implements `library.RemoteFetcher`."""

    def __init__(
        self,
        store: Store,
        uploads: Uploads,
        spool: Spool,
        remote: RemoteMedia,
        *,
        max_bytes: int,
        at_once: int = 20,
        waiting: int = 500,
        seconds: float = 120.0,
    ) -> None:
        """`at_once` fetches run; `waiting` more may wait for their turn."""
        self._store = store
        self._uploads = uploads
        self._spool = spool
        self._remote = remote
        self._max_bytes = max_bytes
        self._turn = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._seconds = seconds
        self._running: dict[_Key, _Fetch] = {}

    async def fetch(self, origin: str, media_id: str, timeout_ms: int) -> Media:
        """The media, stored. A reader who leaves stops the fetch for nobody else.

        Raises MatrixError: NOT_FOUND, NOT_YET_UPLOADED, TOO_LARGE (502), UNKNOWN (502, 503, 504), LIMIT_EXCEEDED.
        """
        _, task = self._started(origin, media_id, timeout_ms)
        return await asyncio.shield(task)

    async def follow(self, origin: str, media_id: str, timeout_ms: int) -> Media | Incoming:
        """The media if it is stored by then, else what comes of it. Raises as `fetch`."""
        fetch, task = self._started(origin, media_id, timeout_ms)
        while not task.done() and fetch.content is None:
            await fetch.change()
        if task.done() or fetch.content is None or fetch.file is None:
            return await asyncio.shield(task)
        return _Follower(fetch, fetch.content, fetch.file.open())

    def _started(self, origin: str, media_id: str, timeout_ms: int) -> tuple[_Fetch, asyncio.Task[Media]]:
        key = (origin, media_id)
        fetch = self._running.get(key)
        if fetch is None:
            if len(self._running) >= self._most:
                raise LimitExceeded(2_000, "Too much media is being fetched")
            fetch = self._running[key] = _Fetch()
            fetch.task = asyncio.create_task(self._run(fetch, origin, media_id, timeout_ms))
            fetch.task.add_done_callback(lambda done: self._done(key, done))
        assert fetch.task is not None  # noqa: S101 - it is set with its fetch
        return fetch, fetch.task

    def _done(self, key: _Key, task: asyncio.Task[Media]) -> None:
        fetch = self._running.pop(key, None)
        if fetch is not None:
            fetch.tell()
        if not task.cancelled():
            task.exception()  # those who wait have got it, if anybody still does

    async def _run(self, fetch: _Fetch, origin: str, media_id: str, timeout_ms: int) -> Media:
        try:
            async with self._turn, asyncio.timeout(self._seconds):
                return await self._store_it(fetch, origin, media_id, timeout_ms)
        except TimeoutError:
            raise MatrixError(ErrCode.UNKNOWN, "The other server took too long", status=504) from None
        except OutboundError as error:
            raise MatrixError(ErrCode.UNKNOWN, "The other server did not give all of it", status=502) from error
        except SpoolFull as error:
            raise store_failed(error) from error

    async def _store_it(self, fetch: _Fetch, origin: str, media_id: str, timeout_ms: int) -> Media:
        async with self._remote.fetch(origin, media_id, timeout_ms) as content, self._spool.file() as file:
            if (content.length or 0) > self._max_bytes:
                raise _too_large()
            fetch.file = file
            async for piece in content.pieces:
                await file.write(piece)
                if file.size > self._max_bytes:
                    raise _too_large()
                await file.flush()
                fetch.size = file.size
                if fetch.size:
                    fetch.content = content
                    fetch.tell()
            if file.size == 0:
                raise not_found("The other server gave nothing")
            fetch.file = None  # its readers have it open
            digest = await file.finish()
            try:
                return await self._uploads.keep_remote(
                    origin, media_id, file, digest, content.content_type, content.upload_name
                )
            except UniqueViolation:  # another process was first
                async with self._store.read_committed() as tx:
                    found = await tx.media.get(origin, media_id)
                if found is None:
                    raise not_found() from None
                return found


def _too_large() -> MatrixError:
    return MatrixError(ErrCode.TOO_LARGE, "Content is too large to be fetched", status=502)
