"""Constructs the content repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from homeserver.boot import parts
from homeserver.boot.accounts import Foundations
from homeserver.config.load import legacy_before_ms
from homeserver.config.model import Config
from homeserver.ports.blobs import BlobStore
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.media.library import BlobStores, Library, LibrarySettings, StoreRule
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import Uploads, UploadSettings
from media_repo.blobs.files import FileThreads
from media_repo.blobs.local import LocalStore
from media_repo.blobs.spool import FolderSpool
from media_repo.delivery import Readers
from media_repo.deps import MediaServices
from media_repo.thumbnails.pool import PoolSettings, ThumbnailPool

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class MediaParts:
    """The content repository, served or not."""

    library: Library
    uploads: Uploads
    thumbnails: Thumbnails
    spool: FolderSpool
    pool: ThumbnailPool
    threads: FileThreads

    async def close(self) -> None:
        """Write what is to be written, and end the workers."""
        await self.library.flush()
        await self.pool.close()
        await self.library.stores.close()
        self.spool.close()
        self.threads.close()


def media_folder(config: Config) -> Path:
    """Where the local store, thumbnails and arriving content are."""
    return parts.data_path(config, config.media.folder).resolve()


def build_media(base: Foundations) -> MediaParts:
    """The content repository's services."""
    config, media = base.config, base.config.media
    folder = media_folder(config)
    threads = FileThreads()
    spool = FolderSpool(folder / "incoming", threads)
    library = Library(
        base.store,
        BlobStores(_stores(folder, threads), _rules(), LOCAL),
        base.clock,
        base.entropy,
        LibrarySettings(config.server.name, max_wait_ms=media.wait_seconds * 1000),
    )
    uploads = Uploads(
        base.store,
        library,
        spool,
        base.clock,
        UploadSettings(
            max_bytes=media.max_upload_bytes,
            quota_bytes=media.quota_bytes,
            seconds=media.upload_seconds,
            at_once=media.uploads_per_user,
            pending=media.pending_uploads,
            pending_hours=media.pending_hours,
        ),
    )
    pool = ThumbnailPool(
        PoolSettings(
            workers=media.thumbnail_workers,
            waiting=media.thumbnail_queue,
            seconds=media.thumbnail_seconds,
            memory=media.thumbnail_memory_bytes,
            pixels=media.thumbnail_pixels,
            frames=media.thumbnail_frames,
            formats=tuple(name.upper() for name in media.thumbnail_formats),
        )
    )
    thumbnails = Thumbnails(
        library,
        LocalStore("thumbnails", folder / "thumbnails", threads),
        spool,
        pool,
        base.clock,
        keep_days=media.thumbnail_days,
        max_source_bytes=media.thumbnail_source_bytes,
    )
    return MediaParts(library, uploads, thumbnails, spool, pool, threads)


def serve_media(built: MediaParts, config: Config, sessions: Sessions) -> MediaServices:
    """What the role's handlers get. What killed processes have left is cleared away."""
    built.spool.sweep()
    media = config.media
    return MediaServices(
        library=built.library,
        uploads=built.uploads,
        thumbnails=built.thumbnails,
        readers=Readers(media.downloads, media.downloads_per_user),
        cookies=sessions,
        legacy_before_ms=legacy_before_ms(media.legacy_before) if media.allow_legacy else 0,
        is_secure=parts.public_base_url(config).startswith("https://"),
    )


def _stores(folder: Path, threads: FileThreads) -> dict[str, BlobStore]:
    return {LOCAL: LocalStore(LOCAL, folder / "content", threads)}


def _rules() -> list[StoreRule]:
    return []
