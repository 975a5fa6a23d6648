"""Blobs as objects of a Google Cloud Storage bucket.

The client library blocks, so it works in a bounded pool of threads, each with a client and connections of its own.
Whatever can be repeated is, with growing pauses and for a bounded time: objects are written once (on the condition
that there is none yet) and never changed, so a repetition can do no harm.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import google.auth
import google_crc32c
import requests
from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account

from homeserver.ports.blobs import BlobMissing, BlobStat, BlobStore, BlobStoreFailed, OpenBlob

T = TypeVar("T")

_LEAST_PIECE = 256 * 1024
_MOST_PIECE = 2 * 1024 * 1024
_UPLOAD_CHUNK = 8 * 1024 * 1024
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_FAULTS = (GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, requests.RequestException, OSError)


@dataclass(frozen=True, slots=True)
class GcsSettings:
    """Where the bucket is, and how long to try."""

    bucket: str
    prefix: str = ""
    credentials_file: Path | None = None
    """A service account's key; None: what the machine or the environment offers."""
    endpoint: str | None = None
    """Another address of the service. With it, and without a key, nobody is logged in (emulators)."""
    threads: int = 16
    timeout_s: float = 20.0
    """Longest silence of the service in one request."""
    retry_s: float = 30.0
    """How long a request is repeated."""
    link_seconds: int = 300
    """How long a signed URL is good."""


class GcsStore(BlobStore):
    """A bucket."""

    def __init__(self, name: str, settings: GcsSettings) -> None:
        self.name = name
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="media-gcs")
        self._local = threading.local()
        self._sessions: list[AuthorizedSession] = []
        self._retry = DEFAULT_RETRY.with_timeout(settings.retry_s)

    async def put(self, key: str, source: Path, *, may_move: bool = False) -> bool:
        # Larger files go in pieces that can be repeated one by one.

        def keep() -> bool:
            size = source.stat().st_size
            blob = self._blob(key, chunk_size=_UPLOAD_CHUNK)
            with suppress(NotFound):
                if self._loaded(key).size == size:
                    return False
                blob.delete(**self._patience())  # not what this server writes under such a name
            try:
                blob.upload_from_filename(
                    str(source),
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    checksum="crc32c",
                    **self._patience(),
                )
            except PreconditionFailed:  # somebody else was first; or we were, and the answer was lost
                blob.reload(**self._patience())
                if blob.size != size:
                    raise
                return False
            return True

        return await self._do(key, keep)

    async def open(self, key: str) -> OpenObject:
        blob = await self._do(key, lambda: self._loaded(key))
        return OpenObject(self, key, int(blob.size or 0), int(blob.generation or 0), blob.crc32c)

    async def stat(self, key: str) -> BlobStat | None:
        try:
            return _stat(key, await self._do(key, lambda: self._loaded(key)))
        except BlobMissing:
            return None

    async def delete(self, key: str) -> bool:
        try:
            await self._do(key, lambda: self._blob(key).delete(**self._patience()))
        except BlobMissing:
            return False
        return True

    async def list(self) -> AsyncIterator[BlobStat]:
        def pages() -> Iterator[Any]:
            client = self._client()
            return iter(
                client.list_blobs(
                    self._settings.bucket,
                    prefix=self._settings.prefix or None,
                    **self._patience(),
                ).pages
            )

        listing = await self._do("", pages)
        while True:
            page = await self._do("", lambda: next(listing, None))
            if page is None:
                return
            for blob in page:
                yield _stat(blob.name.rpartition("/")[2], blob)

    async def link(self, key: str, content_type: str, disposition: str) -> str | None:
        """A URL that gives the content to whoever has it, for some minutes; None without a key to sign with."""

        def sign() -> str | None:
            blob = self._blob(key)
            try:
                url: str = blob.generate_signed_url(
                    version="v4",
                    expiration=timedelta(seconds=self._settings.link_seconds),
                    response_type=content_type,
                    response_disposition=disposition,
                    api_access_endpoint=self._settings.endpoint,
                )
            except (AttributeError, TypeError):  # credentials without a private key
                return None
            return url

        return await self._do(key, sign)

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for session in self._sessions:
            session.close()

    async def fetch(self, key: str, generation: int, start: int, length: int) -> bytes:
        """One piece of an object of which nothing has changed. Raises BlobMissing, BlobStoreFailed."""

        def read() -> bytes:
            data: bytes = self._blob(key, generation=generation).download_as_bytes(
                start=start, end=start + length - 1, raw_download=True, checksum=None, **self._patience()
            )
            return data

        data = await self._do(key, read)
        if len(data) != length:
            raise BlobStoreFailed(f"{key}: {len(data)} bytes instead of {length}")
        return data

    # --- in the threads ---

    async def _do(self, key: str, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.shield(loop.run_in_executor(self._pool, work))
        except NotFound:
            raise BlobMissing(key) from None
        except _FAULTS as error:
            raise BlobStoreFailed(f"bucket {self._settings.bucket}: {error}") from error

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            credentials = self._credentials()
            session = AuthorizedSession(credentials)
            options = {"api_endpoint": self._settings.endpoint} if self._settings.endpoint else None
            client = storage.Client(
                project="_",  # only buckets that exist are used, by their name
                credentials=credentials,
                client_options=options,
                _http=session,
            )
            self._local.client = client
            self._sessions.append(session)
        return client

    def _credentials(self) -> Credentials:
        file = self._settings.credentials_file
        if file is not None:
            made: Credentials = service_account.Credentials.from_service_account_file(str(file), scopes=[_SCOPE])
            return made
        if self._settings.endpoint is not None:
            return AnonymousCredentials()
        return google.auth.default(scopes=[_SCOPE])[0]

    def _blob(self, key: str, **more: Any) -> Any:
        bucket = self._client().bucket(self._settings.bucket)
        return bucket.blob(f"{self._settings.prefix}{key[:2]}/{key}", **more)

    def _loaded(self, key: str) -> Any:
        blob = self._blob(key)
        blob.reload(**self._patience())
        return blob

    def _patience(self) -> dict[str, Any]:
        return {"timeout": self._settings.timeout_s, "retry": self._retry}


class OpenObject(OpenBlob):
    """An object of a bucket."""

    def __init__(self, store: GcsStore, key: str, size: int, generation: int, crc32c: str | None) -> None:
        self.size = size
        self._store = store
        self._key = key
        self._generation = generation
        self._crc32c = crc32c

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        # A reader who is faster than the bucket gets larger pieces, one who is slower costs little.
        at, end, size = start, start + length, _LEAST_PIECE
        checksum = google_crc32c.Checksum() if (start, length) == (0, self.size) else None
        while at < end:
            began = time.monotonic()
            try:
                piece = await self._store.fetch(self._key, self._generation, at, min(size, end - at))
            except BlobMissing as error:
                raise BlobStoreFailed(f"{self._key} is gone while it is read") from error
            took = time.monotonic() - began
            at += len(piece)
            if checksum is not None:
                checksum.update(piece)
                if at == end and self._crc32c and checksum.digest() != _decoded(self._crc32c):
                    raise BlobStoreFailed(f"{self._key} is not what was stored: its CRC32C differs")
            given = time.monotonic()
            yield piece
            is_fast = time.monotonic() - given < took
            size = min(size * 2, _MOST_PIECE) if is_fast else _LEAST_PIECE

    async def close(self) -> None:
        return


def _stat(key: str, blob: Any) -> BlobStat:
    written = blob.time_created or blob.updated
    return BlobStat(key, int(blob.size or 0), int(written.timestamp() * 1000) if written is not None else 0)


def _decoded(crc32c: str) -> bytes:
    return base64.b64decode(crc32c)
