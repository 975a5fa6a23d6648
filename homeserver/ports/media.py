"""Media as the database knows it, and who makes smaller pictures of it.  spec: client-server-api#content-repository"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["upload", "preview", "remote"]
Method = Literal["crop", "scale"]


@dataclass(frozen=True, slots=True)
class Media:
    """One media id. Times are Unix milliseconds."""

    origin: str
    media_id: str
    kind: Kind
    user_id: str | None
    content_type: str
    upload_name: str | None
    size: int | None
    """Length of the content in bytes; None until it has been uploaded."""
    digest: bytes | None
    """SHA-256 of the content; None until it has been uploaded."""
    created_ms: int
    accessed_ms: int
    """Of an upload, when somebody last read it; rounded, and behind by minutes."""
    expires_ms: int | None
    """While nothing has been uploaded: when the id is forgotten."""
    quarantined_by: str | None = None
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored content."""

    digest: bytes
    store: str
    size: int
    created_ms: int
    condemned_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of something there is. `size` is in bytes, every media id counted."""

    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which media; None and an empty string do not restrict."""

    kinds: tuple[Kind, ...]
    user_id: str | None = None
    accessed_before_ms: int | None = None
    """Neither read nor uploaded since."""
    created_before_ms: int | None = None
    larger_than: int = 0
    origin: str | None = None
    with_protected: bool = False


@dataclass(frozen=True, slots=True)
class KeptBlob:
    """What there is of content that was about to be kept."""

    blob: Blob
    quarantined_by: str | None
    """Who put this content into quarantine."""
    used: int
    """Bytes of what the user had uploaded before; 0 without a user."""


class MediaRepo(Protocol):
    """Media ids, blobs and URL previews."""

    async def add(self, media: Media) -> None:
        """Insert a media id. Raises UniqueViolation, which may come only out of the end of the transaction."""
        ...

    async def get(self, origin: str, media_id: str) -> Media | None:
        """A media id, whatever its state."""
        ...

    async def complete(self, media: Media) -> bool:
        """Give a pending media id its content (type, name, size, digest, quarantine). False if it is not pending."""
        ...

    async def pending(self, user_id: str, now_ms: int) -> int:
        """How many of the user's media ids wait for their content."""
        ...

    async def usage(self, user_id: str) -> Usage:
        """What a user has uploaded."""
        ...

    async def usage_by_user(self, after: str, limit: int) -> list[tuple[str, Usage]]:
        """What users have uploaded, in the order of their ids."""
        ...

    async def totals(self) -> list[tuple[str, Usage]]:
        """What there is of each kind."""
        ...

    async def touch(self, ids: Sequence[tuple[str, str]], now_ms: int) -> None:
        """These (origin, media id) were read."""
        ...

    async def select(self, selection: Selection, after: tuple[str, str], limit: int) -> list[Media]:
        """Complete media of a selection, in the order of (origin, media id)."""
        ...

    async def set_quarantine(self, origin: str, media_id: str, by: str | None) -> int:
        """Quarantine (or release, with None) a media id and all others with the same content.

        Protected ones stay as they are when quarantining. Returns how many media ids are affected.
        """
        ...

    async def set_protected(self, origin: str, media_id: str, protected: bool) -> bool:
        """Protect a media id, or lift that; False if there is none."""
        ...

    async def delete(self, ids: Sequence[tuple[str, str]], now_ms: int) -> list[Blob]:
        """Delete media ids; returns the blobs that nothing refers to any more, which are condemned."""
        ...

    async def forget_expired(self, now_ms: int, limit: int) -> int:
        """Forget pending media ids whose time has passed; returns how many."""
        ...

    async def referenced(self) -> set[str]:
        """The mxc URIs that age does not end: of profiles, of rooms' avatars, packs and pinned events, of own packs."""
        ...

    # --- blobs ---

    async def blob(self, digest: bytes) -> Blob | None:
        """A blob by its digest."""
        ...

    async def keep_blob(self, blob: Blob, user_id: str | None = None) -> KeptBlob:
        """Insert a blob, or take it back from being condemned; returns what there is, and locks it.

        With a user, no other transaction that does so for the same user goes on before this one has ended.
        """
        ...

    async def keep(self, media: Media, blob: Blob, quota: int) -> KeptBlob:
        """`add` and `keep_blob`, the last that a transaction does; media of quarantined content is so as well.

        But if the blob is in another store than it says, or the uploads of the user have more bytes by now than a quota
        that is not 0 allows, the transaction goes on, and can be undone.
        """
        ...

    async def condemned(self, before_ms: int, limit: int) -> list[Blob]:
        """Blobs condemned before a time."""
        ...

    async def drop_blob(self, digest: bytes) -> bool:
        """Forget a blob that is still condemned; False if it is not (any more)."""
        ...

    async def blobs(self, store: str | None, after: bytes, limit: int) -> list[Blob]:
        """Blobs (of one store, or of all), in the order of their digests."""
        ...

    async def move_blob(self, digest: bytes, store: str) -> bool:
        """The blob is in another store from now on; False if there is no such blob."""
        ...

    # --- previews ---

    async def preview(self, digest: bytes, now_ms: int) -> bytes | None:
        """A stored URL preview that has not expired."""
        ...

    async def put_preview(self, digest: bytes, fetched_ms: int, expires_ms: int, body: bytes) -> None:
        """Store a URL preview."""
        ...

    async def forget_previews(self, now_ms: int, limit: int) -> int:
        """Forget expired previews; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteContent:
    """Content of another server on its way here."""

    content_type: str | None
    upload_name: str | None
    pieces: AsyncIterator[bytes]
    length: int | None = None
    """As it was announced."""


class RemoteMedia(Protocol):
    """Asks other servers for their media. Federation implements it."""

    def fetch(self, origin: str, media_id: str, timeout_ms: int) -> AbstractAsyncContextManager[RemoteContent]:
        """Ask the origin. The connection ends with the block.

        Raises MatrixError: NOT_FOUND, NOT_YET_UPLOADED, UNKNOWN (502) if the server cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class ThumbnailSpec:
    """The smaller picture that is wanted. Sizes in pixels."""

    width: int
    height: int
    method: Method
    animated: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was made."""

    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture is: its type by its bytes, and its size in pixels, upright."""

    content_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is: its size in pixels, upright, and its length if the file says it."""

    width: int
    height: int
    duration_ms: int | None


class NotAPicture(Exception):
    """The content cannot be made smaller: another format, damaged, or too much work."""


class TooManyPixels(NotAPicture):
    """The picture is larger than what is worked on."""


class ThumbnailerBusy(Exception):
    """Too many pictures wait already, or the worker died of something else than the picture: try again later."""


class Thumbnailer(Protocol):
    """Makes smaller pictures, away from this process."""

    async def make(self, source: Path, content_type: str, spec: ThumbnailSpec) -> Picture | None:
        """The smaller picture; None if the original is no larger than what is wanted, and fit to be shown itself.

        Raises NotAPicture, TooManyPixels, ThumbnailerBusy.
        """
        ...

    async def look(self, source: Path) -> PictureFacts:
        """What a picture is, after all of it has been decoded. Raises as `make`."""
        ...

    @property
    def reads_videos(self) -> bool:
        """Whether `watch` and `poster` are there for videos."""
        ...

    async def watch(self, source: Path) -> VideoFacts:
        """What a video is. Raises as `make`."""
        ...

    async def poster(self, source: Path) -> Picture:
        """A picture out of a video, from its beginning. Raises as `make`."""
        ...

    async def close(self) -> None:
        """End the workers."""
        ...
