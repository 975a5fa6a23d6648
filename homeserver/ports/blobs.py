"""Where the content of media is kept: stores of blobs, and the folder where what arrives is collected.

A blob is immutable and named by a key (the SHA-256 of its content in hex, or a name of that kind).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ReadInto = Callable[[memoryview], Awaitable[int]]
"""Reads content into memory until that is full, or the content ends; returns how many bytes."""


class BlobMissing(Exception):
    """The store has nothing under this key."""


class BlobStoreFailed(Exception):
    """The store did not answer, refused, or gave something else than what was kept: answer 503, try again later."""


class SpoolFull(Exception):
    """There is no room on the disk for what arrives."""


@dataclass(frozen=True, slots=True)
class BlobStat:
    """A blob of a store: its key, the bytes it takes there, and when it was written (Unix milliseconds)."""

    key: str
    stored_size: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class StoreRule:
    """Content of this type (whole, or a beginning and `*`) and size goes to this store."""

    type: str
    store: str
    at_least: int = 0
    less_than: int | None = None

    @classmethod
    def parse(cls, text: str) -> StoreRule:
        """Read `image/* local`, `* >=1048576 gcs` or `video/mp4 <1000 local`. Raises ValueError."""
        found = re.fullmatch(r"([a-z0-9.+-]+/[a-z0-9.+-]+|[a-z0-9./+-]*\*)(?: (>=|<)([0-9]{1,15}))? ([a-z0-9]+)", text)
        if found is None:
            raise ValueError("expected TYPE [>=BYTES|<BYTES] STORE, such as: image/* <1048576 local")
        bound = int(found[3] or 0)
        if found[2] == "<":
            return cls(found[1], found[4], less_than=bound)
        return cls(found[1], found[4], at_least=bound)

    def fits(self, type_: str, size: int) -> bool:
        """Whether the rule is about content of this type, without parameters and in lower case."""
        is_typed = type_.startswith(self.type[:-1]) if self.type.endswith("*") else type_ == self.type
        return is_typed and size >= self.at_least and (self.less_than is None or size < self.less_than)


class OpenBlob(Protocol):
    """A blob that can be read until it is closed."""

    size: int
    """The length of the content in bytes."""
    path: Path | None = None
    """A file with exactly this content, for programs that read files; None if there is none."""
    descriptor: int | None = None
    """The open file in which the content lies as it is, until it is closed; None if there is none."""

    async def spans(self, start: int, length: int) -> AsyncIterator[tuple[int, int]]:
        """As `read`, but only where the bytes are in the file (offset and length), in memory by then."""
        nowhere: tuple[tuple[int, int], ...] = ()
        for span in nowhere:
            yield span

    def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes from `start` on, in pieces. Raises BlobStoreFailed if not all of them come."""
        ...

    async def close(self) -> None:
        """Let go of it. Closing twice does nothing."""
        ...


class BlobStore(Protocol):
    """One place of blobs. Every method may raise BlobStoreFailed."""

    name: str
    """What the database calls the store."""

    async def put(self, key: str, source: Path, *, may_move: bool = False) -> bool:
        """Keep the content of the durable file `source`; it is durable here when this returns.

        A blob that is there already, with this length, is left as it is: equal keys mean equal content. False then.
        Only with `may_move`, and if True is returned, `source` may be gone from where it was.
        """
        ...

    async def open(self, key: str) -> OpenBlob:
        """Open a blob. Raises BlobMissing."""
        ...

    async def stat(self, key: str) -> BlobStat | None:
        """What is known of a blob; None if it is not there."""
        ...

    async def delete(self, key: str) -> bool:
        """Delete a blob; whether there was one."""
        ...

    async def link(self, key: str, content_type: str, disposition: str) -> str | None:
        """A URL that gives the blob under these headers to whoever has it, for some minutes; None if there is none."""
        ...

    def list(self) -> AsyncIterator[BlobStat]:
        """All blobs, in no order; what comes or goes meanwhile may be among them or not."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


class BlobCache(BlobStore, Protocol):
    """A store that may be emptied at any time; its keys tell what they were made of by how they begin."""

    async def beginning(self, prefix: str) -> list[str]:
        """The keys that begin like this (at least eight characters), sorted."""
        ...


class SpoolFile(Protocol):
    """A file that grows by what arrives. It is gone when its context ends."""

    path: Path
    """Where it is."""
    size: int
    """Bytes written so far."""

    async def write(self, piece: bytes) -> None:
        """Append. Raises SpoolFull."""
        ...

    async def fill(self, read_into: ReadInto, length: int) -> None:
        """Append `length` bytes that are read straight into memory, a large piece at a time. Raises SpoolFull."""
        ...

    async def flush(self) -> None:
        """Let readers see what was written. Raises SpoolFull."""
        ...

    def open(self) -> OpenBlob:
        """Read what was flushed, also after the file is gone; more of it may come."""
        ...

    async def finish(self) -> bytes:
        """Everything has come: make it durable. Returns the SHA-256 of the content. Raises SpoolFull."""
        ...


class Spool(Protocol):
    """The folder for what arrives."""

    def file(self) -> AbstractAsyncContextManager[SpoolFile]:
        """A new empty file. Raises SpoolFull."""
        ...
