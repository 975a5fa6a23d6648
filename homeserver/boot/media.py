"""Constructs the content repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from homeserver.boot import parts
from homeserver.boot.accounts import Foundations
from homeserver.boot.atrest import at_rest_keys
from homeserver.boot.outbound import LazyOutbound
from homeserver.boot.support import SupportParts
from homeserver.config.load import legacy_before_ms
from homeserver.config.model import Config
from homeserver.ports.blobs import BlobCache, BlobStore, StoreRule
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.media.control import MediaControl, Retention
from homeserver.services.media.counts import MediaCounts
from homeserver.services.media.library import BlobStores, Library, LibrarySettings
from homeserver.services.media.previews import Previews, PreviewSettings
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import Uploads, UploadSettings
from media_repo.blobs.encrypted import AtRestKey, EncryptedCache, EncryptedStore
from media_repo.blobs.files import FileThreads
from media_repo.blobs.local import LocalStore
from media_repo.blobs.spool import FolderSpool
from media_repo.delivery import Readers
from media_repo.deps import MediaServices
from media_repo.thumbnails.pool import PoolSettings, ThumbnailPool

LOCAL, GCS = "local", "gcs"
_PILLOW_NAMES = {"heic": "HEIF"}


@dataclass(frozen=True, slots=True)
class MediaParts:
    """The content repository, served or not."""

    library: Library
    uploads: Uploads
    thumbnails: Thumbnails
    control: MediaControl
    spool: FolderSpool
    pool: ThumbnailPool
    threads: FileThreads
    previews: Previews | None

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


def build_media(base: Foundations, outbound: LazyOutbound, measures: CollectorRegistry | None = None) -> MediaParts:
    """The content repository's services. They are measured in `measures`."""
    config, media = base.config, base.config.media
    folder = media_folder(config)
    threads = FileThreads()
    spool = FolderSpool(folder / "incoming", threads)
    library = Library(
        base.store,
        _stores(config, folder, threads, spool),
        base.clock,
        base.entropy,
        LibrarySettings(config.server.name, max_wait_ms=media.wait_seconds * 1000),
    )
    if measures is not None:
        measures.register(MediaMetrics(library.counts))
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
            strip_metadata=media.strip_metadata,
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
            formats=tuple(_PILLOW_NAMES.get(name, name.upper()) for name in media.thumbnail_formats),
        )
    )
    thumbnails = Thumbnails(
        library,
        _thumbnail_cache(config, folder, threads, spool),
        spool,
        pool,
        base.clock,
        keep_days=media.thumbnail_days,
        max_source_bytes=media.thumbnail_source_bytes,
    )
    retention = Retention(media.keep_local_days, media.keep_remote_days, media.keep_preview_days)
    control = MediaControl(base.store, library, thumbnails, spool, base.clock, retention)
    previews = None
    if config.previews.enabled:
        settings = _preview_settings(config)
        previews = Previews(base.store, outbound.get, uploads, spool, pool, base.clock, settings)
    return MediaParts(library, uploads, thumbnails, control, spool, pool, threads, previews)


class MediaMetrics(Collector):
    """What happened to media since the start."""

    def __init__(self, counts: MediaCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """See the library."""
        for name in (field.name for field in fields(MediaCounts)):
            about = f"Media: {name.replace(chr(95), chr(32))} since the start"
            yield CounterMetricFamily(f"hromada_media_{name}", about, value=getattr(self._counts, name))


def _preview_settings(config: Config) -> PreviewSettings:
    previews = config.previews
    return PreviewSettings(
        seconds=float(previews.seconds),
        page_bytes=previews.page_bytes,
        image_bytes=previews.image_bytes,
        at_once=previews.at_once,
        keep_hours=previews.keep_hours,
        deny_hosts=previews.deny_hosts,
        language=previews.language,
    )


def serve_media(built: MediaParts, config: Config, sessions: Sessions, support: SupportParts) -> MediaServices:
    """What the role's handlers get. What killed processes have left is cleared away."""
    built.spool.sweep()
    _drop_old_thumbnails(config)
    media = config.media
    return MediaServices(
        library=built.library,
        uploads=built.uploads,
        thumbnails=built.thumbnails,
        previews=built.previews,
        readers=Readers(media.downloads, media.downloads_per_user),
        cookies=sessions,
        visitor_files=support.files,
        legacy_before_ms=legacy_before_ms(media.legacy_before) if media.allow_legacy else 0,
        links=media.gcs_signed_urls,
        is_secure=parts.public_base_url(config).startswith("https://"),
    )


def _stores(config: Config, folder: Path, threads: FileThreads, spool: FolderSpool) -> BlobStores:
    media, keys = config.media, [AtRestKey(*pair) for pair in at_rest_keys(config)]
    stores: dict[str, BlobStore] = {LOCAL: LocalStore(LOCAL, folder / "content", threads)}
    for key in keys:
        name = f"{LOCAL}:{key.kid}"
        inner: BlobStore = LocalStore(name, folder / f"content-{key.kid}", threads)
        stores[name] = EncryptedStore(inner, key, spool, threads)
    if media.gcs_bucket:
        stores[GCS] = _bucket(config, GCS, "")
        for key in keys:
            name = f"{GCS}:{key.kid}"
            stores[name] = EncryptedStore(_bucket(config, name, f"{key.kid}/"), key, spool, threads)
    current = {place: f"{place}:{keys[0].kid}" for place in (LOCAL, GCS)} if config.at_rest.enabled else {}
    default = media.default_store or (GCS if media.gcs_bucket else LOCAL)
    return BlobStores(stores, [StoreRule.parse(text) for text in media.store_rules], default, current)


def _bucket(config: Config, name: str, below: str) -> BlobStore:
    # Google's library takes a second and much memory to load.
    gcs = import_module("media_repo.blobs.gcs")
    media = config.media
    key_file = media.gcs_credentials_file
    settings = gcs.GcsSettings(
        media.gcs_bucket,
        media.gcs_prefix + below,
        parts.data_path(config, key_file) if key_file else None,
        media.gcs_endpoint or None,
        media.gcs_threads,
        float(media.gcs_timeout_seconds),
        float(media.gcs_retry_seconds),
    )
    store: BlobStore = gcs.GcsStore(name, settings)
    return store


def _thumbnail_cache(config: Config, folder: Path, threads: FileThreads, spool: FolderSpool) -> BlobCache:
    if not config.at_rest.enabled:
        return LocalStore("thumbnails", folder / "thumbnails", threads, digits=2)
    key = AtRestKey(*at_rest_keys(config)[0])
    inner = LocalStore("thumbnails", folder / f"thumbnails-{key.kid}", threads, digits=2)
    return EncryptedCache(inner, key, spool, threads)


def _drop_old_thumbnails(config: Config) -> None:
    """What was cached under another key, or under none, is nothing but a risk."""
    kept = f"thumbnails-{at_rest_keys(config)[0][0]}" if config.at_rest.enabled else "thumbnails"
    for folder in media_folder(config).glob("thumbnails*"):
        if folder.name != kept:
            shutil.rmtree(folder, ignore_errors=True)
