"""Media of other servers: fetched once for all who wait, bounded, stored before anybody gets it.

Who asks is `ports.media.RemoteMedia`; here is what holds whoever that is.
spec: client-server-api#content-repo-security-considerations
"""

from __future__ import annotations

import asyncio

from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.ports.blobs import Spool, SpoolFull
from homeserver.ports.media import Media, RemoteMedia
from homeserver.ports.outbound import OutboundError
from homeserver.ports.store import Store, UniqueViolation
from homeserver.services.media.library import not_found, store_failed
from homeserver.services.media.uploads import Uploads

_Key = tuple[str, str]


class RemoteFetches:
    """Fetches media of other servers. `fetch` is what `Library.fetch_with` wants."""

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
        self._running: dict[_Key, asyncio.Task[Media]] = {}

    async def fetch(self, origin: str, media_id: str, timeout_ms: int) -> Media:
        """The media, stored. A reader who leaves stops the fetch for nobody else.

        Raises MatrixError: NOT_FOUND, NOT_YET_UPLOADED, TOO_LARGE (502), UNKNOWN (502, 503, 504), LIMIT_EXCEEDED.
        """
        key = (origin, media_id)
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= self._most:
                raise LimitExceeded(2_000, "Too much media is being fetched")
            task = self._running[key] = asyncio.create_task(self._run(origin, media_id, timeout_ms))
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: _Key, task: asyncio.Task[Media]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who wait have got it, if anybody still does

    async def _run(self, origin: str, media_id: str, timeout_ms: int) -> Media:
        try:
            async with self._turn, asyncio.timeout(self._seconds):
                return await self._store_it(origin, media_id, timeout_ms)
        except TimeoutError:
            raise MatrixError(ErrCode.UNKNOWN, "The other server took too long", status=504) from None
        except OutboundError as error:
            raise MatrixError(ErrCode.UNKNOWN, "The other server did not give all of it", status=502) from error
        except SpoolFull as error:
            raise store_failed(error) from error

    async def _store_it(self, origin: str, media_id: str, timeout_ms: int) -> Media:
        async with self._remote.fetch(origin, media_id, timeout_ms) as content, self._spool.file() as file:
            async for piece in content.pieces:
                await file.write(piece)
                if file.size > self._max_bytes:
                    raise MatrixError(ErrCode.TOO_LARGE, "Content is too large to be fetched", status=502)
            if file.size == 0:
                raise not_found("The other server gave nothing")
            digest = await file.finish()
            try:
                return await self._uploads.keep_remote(
                    origin, media_id, file, digest, content.content_type, content.upload_name
                )
            except UniqueViolation:  # another process was first
                async with self._store.glance() as tx:
                    found = await tx.media.get(origin, media_id)
                if found is None:
                    raise not_found() from None
                return found
