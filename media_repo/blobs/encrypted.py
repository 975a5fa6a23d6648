"""Blobs encrypted at rest, in any store: AES-256-GCM in pieces of 64 KiB, so that a part can be read alone.

Every blob has a key of its own, derived from the store's key and a random salt. A piece's nonce is its number, and
whether it is the last; the header is authenticated with each piece. So pieces cannot be changed, left out, repeated,
put into another order or another blob without a reader noticing. One object is for one key: another key, and no
encryption, are other stores, and changing keys is moving content between stores.
"""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from homeserver.ports.blobs import BlobCache, BlobStat, BlobStore, BlobStoreFailed, OpenBlob, Spool, SpoolFull
from media_repo.blobs.files import FileThreads

PIECE = 64 * 1024
TAG = 16
_HEADER = struct.Struct(">8s16sQ")
_MAGIC = b"HROMADA1"
_INFO = b"hromada media at rest 1"
_AT_ONCE = 16
"""Pieces encrypted in one visit to a thread."""


@dataclass(frozen=True, slots=True)
class AtRestKey:
    """A key of 32 bytes, and the id that stores are named by."""

    kid: str
    key: bytes


class EncryptedStore(BlobStore):
    """Content in another store, which sees ciphertext only."""

    def __init__(self, inner: BlobStore, key: AtRestKey, spool: Spool, threads: FileThreads) -> None:
        self.name = inner.name
        self._inner = inner
        self._key = key
        self._spool = spool
        self._threads = threads

    async def put(self, key: str, source: Path, *, may_move: bool = False) -> bool:
        size = (await self._threads.run(source.stat)).st_size
        found = await self._inner.stat(key)
        if found is not None and found.stored_size == stored_size(size):
            return False
        try:
            async with self._spool.file() as sealed:
                async for piece in self._sealed(source, size):
                    await sealed.write(piece)
                await sealed.finish()
                return await self._inner.put(key, sealed.path, may_move=True)
        except SpoolFull as error:
            raise BlobStoreFailed(str(error)) from error

    async def open(self, key: str) -> OpenEncrypted:
        inner = await self._inner.open(key)
        try:
            header = b"".join([piece async for piece in inner.read(0, _HEADER.size)])
            magic, salt, size = _HEADER.unpack(header)
            if magic != _MAGIC or inner.size != stored_size(size):
                raise BlobStoreFailed(f"{self.name} has no whole encrypted content under {key}")
        except BaseException:
            await inner.close()
            raise
        return OpenEncrypted(inner, header, _cipher(self._key, salt), size)

    async def stat(self, key: str) -> BlobStat | None:
        return await self._inner.stat(key)

    async def delete(self, key: str) -> bool:
        return await self._inner.delete(key)

    async def link(self, key: str, content_type: str, disposition: str) -> str | None:
        # What the store itself would give is of no use to anybody.
        return None

    def list(self) -> AsyncIterator[BlobStat]:
        return self._inner.list()

    async def close(self) -> None:
        await self._inner.close()

    async def _sealed(self, source: Path, size: int) -> AsyncIterator[bytes]:
        salt = os.urandom(16)
        header = _HEADER.pack(_MAGIC, salt, size)
        cipher = _cipher(self._key, salt)
        last = piece_count(size) - 1
        yield header

        def seal(first: int) -> bytes:
            with source.open("rb") as file:
                file.seek(first * PIECE)
                sealed = []
                for number in range(first, min(first + _AT_ONCE, last + 1)):
                    data = file.read(PIECE)
                    if len(data) != min(PIECE, size - number * PIECE):
                        raise BlobStoreFailed(f"{source.name} changed while it was stored")
                    sealed.append(cipher.encrypt(_nonce(number, number == last), data, header))
                return b"".join(sealed)

        for first in range(0, last + 1, _AT_ONCE):
            yield await self._threads.run(lambda first=first: seal(first))  # type: ignore[misc]


class EncryptedCache(EncryptedStore, BlobCache):
    """A cache in another one, which sees ciphertext only."""

    def __init__(self, inner: BlobCache, key: AtRestKey, spool: Spool, threads: FileThreads) -> None:
        super().__init__(inner, key, spool, threads)
        self._cache = inner

    async def beginning(self, prefix: str) -> list[str]:
        return await self._cache.beginning(prefix)


class OpenEncrypted(OpenBlob):
    """An encrypted blob that is read in the clear."""

    def __init__(self, inner: OpenBlob, header: bytes, cipher: AESGCM, size: int) -> None:
        self.size = size
        self._inner = inner
        self._header = header
        self._cipher = cipher

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        # Nothing of a piece is given before all of it has proved genuine.
        if length <= 0:
            return
        first, final = start // PIECE, (start + length - 1) // PIECE
        last = piece_count(self.size) - 1
        begin = len(self._header) + first * (PIECE + TAG)
        end = min(self._inner.size, len(self._header) + (final + 1) * (PIECE + TAG))
        waiting, number = bytearray(), first
        async for data in self._inner.read(begin, end - begin):
            waiting += data
            while number <= final and len(waiting) >= (sealed := self._sealed_size(number)):
                plain = self._opened(bytes(waiting[:sealed]), number, is_last=number == last)
                del waiting[:sealed]
                cut = slice(max(0, start - number * PIECE), start + length - number * PIECE)
                number += 1
                yield plain[cut]

    async def close(self) -> None:
        await self._inner.close()

    def _sealed_size(self, number: int) -> int:
        return min(PIECE, self.size - number * PIECE) + TAG

    def _opened(self, sealed: bytes, number: int, *, is_last: bool) -> bytes:
        try:
            return self._cipher.decrypt(_nonce(number, is_last), sealed, self._header)
        except InvalidTag:
            raise BlobStoreFailed("encrypted content was changed, or is of another key") from None


def piece_count(size: int) -> int:
    """How many pieces content of a size has; nothing has one, which is empty."""
    return max(1, -(-size // PIECE))


def stored_size(size: int) -> int:
    """How many bytes content of a size takes in the store."""
    return _HEADER.size + size + piece_count(size) * TAG


def _cipher(key: AtRestKey, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, _INFO).derive(key.key))


def _nonce(number: int, is_last: bool) -> bytes:
    return struct.pack(">3xQB", number, is_last)
