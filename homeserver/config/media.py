"""The settings of media: stores, limits, retention, encryption at rest, previews of pages."""

from __future__ import annotations

from typing import Annotated, Literal

from homeserver.config.base import Section
from homeserver.config.base import doc as _doc


class Media(Section, frozen=True, kw_only=True):
    """Images, videos and files (docs/operating/media.md)."""

    folder: Annotated[str, _doc("Folder of uploads and thumbnails, in the data folder or absolute.")] = "media"
    store_rules: Annotated[
        tuple[str, ...],
        _doc("Where new content goes: `TYPE [>=BYTES|<BYTES] STORE`, the first that fits; stores are `local`, `gcs`."),
    ] = ()
    default_store: Annotated[
        Literal["", "local", "gcs"], _doc("Where the rest goes. Empty: the bucket, if there is one.")
    ] = ""
    gcs_bucket: Annotated[str, _doc("Bucket of Google Cloud Storage. Empty: none.")] = ""
    gcs_prefix: Annotated[str, _doc("Beginning of the names of objects, such as `media/`.")] = ""
    gcs_credentials_file: Annotated[
        str, _doc("Key file of a service account. Empty: what the machine or the environment offers.")
    ] = ""
    gcs_endpoint: Annotated[str, _doc("Another address of the service, for emulators. Empty: Google's.")] = ""
    gcs_threads: Annotated[int, _doc("Requests to the bucket at a time.", ge=1, le=256)] = 16
    gcs_timeout_seconds: Annotated[int, _doc("Longest silence of the bucket.", ge=1, le=600)] = 20
    gcs_retry_seconds: Annotated[int, _doc("How long a request to the bucket is repeated.", ge=1, le=600)] = 30
    gcs_signed_urls: Annotated[
        bool, _doc("Send clients to the bucket for downloads, with URLs that are good for some minutes.")
    ] = False
    max_upload_bytes: Annotated[int, _doc("Largest upload.", ge=1_024, le=1_099_511_627_776)] = 52_428_800
    quota_bytes: Annotated[
        int, _doc("What one user may keep of uploads; 0: any amount.", ge=0, le=1_125_899_906_842_624)
    ] = 10_737_418_240
    upload_seconds: Annotated[int, _doc("All of an upload must arrive within this.", ge=10, le=86_400)] = 3_600
    uploads_per_user: Annotated[int, _doc("Uploads of one user that run at a time.", ge=1, le=1_000)] = 8
    downloads: Annotated[int, _doc("Downloads that run at a time; more get 429.", ge=10, le=100_000)] = 2_000
    downloads_per_user: Annotated[int, _doc("Downloads of one user that run at a time.", ge=1, le=10_000)] = 100
    pending_uploads: Annotated[int, _doc("Media ids of one user that wait for their content.", ge=1, le=1_000)] = 5
    pending_hours: Annotated[int, _doc("Then media ids without content are forgotten.", ge=1, le=720)] = 24
    wait_seconds: Annotated[
        int, _doc("Longest wait of a download for content that is still to come.", ge=0, le=300)
    ] = 60
    keep_local_days: Annotated[
        int, _doc("Uploads nobody has read for so long are deleted, unless in use; 0: never.", ge=0, le=36_500)
    ] = 0
    keep_remote_days: Annotated[
        int, _doc("Media of other servers nobody has read for so long is deleted; 0: never.", ge=0, le=36_500)
    ] = 90
    keep_preview_days: Annotated[
        int, _doc("Pictures of URL previews nobody has seen for so long are deleted; 0: never.", ge=0, le=36_500)
    ] = 30
    strip_metadata: Annotated[
        bool,
        _doc(
            "Take location, times, devices and texts out of JPEG, PNG, WebP, GIF, AVIF and HEIC pictures "
            "and MP4, MOV, WebM and Matroska videos as they are uploaded."
        ),
    ] = False
    allow_legacy: Annotated[
        bool, _doc("Serve media from before `legacy_before` without a token, by the paths of old clients.")
    ] = False
    legacy_before: Annotated[
        str, _doc("`YYYY-MM-DD`: when the old paths were frozen. With `allow_legacy`; empty: nothing is from before.")
    ] = ""
    thumbnail_pixels: Annotated[
        int, _doc("Most pixels of a picture that is made smaller.", ge=1_000_000, le=1_000_000_000)
    ] = 32_000_000
    thumbnail_source_bytes: Annotated[
        int, _doc("Largest file that is made smaller.", ge=1_048_576, le=10_737_418_240)
    ] = 104_857_600
    thumbnail_formats: Annotated[
        tuple[str, ...],
        _doc(
            "What is made smaller: any of `png`, `jpeg`, `gif`, `webp`, `avif`; `heic` (install `hromada[heic]`); "
            "`video` (a picture out of it; install ffmpeg)."
        ),
    ] = ("png", "jpeg", "gif", "webp")
    thumbnail_frames: Annotated[int, _doc("Animations of more frames get a still thumbnail.", ge=1, le=10_000)] = 200
    thumbnail_workers: Annotated[int, _doc("Processes that make thumbnails.", ge=1, le=64)] = 2
    thumbnail_queue: Annotated[int, _doc("Thumbnails that wait to be made; more get 503.", ge=1, le=10_000)] = 100
    thumbnail_seconds: Annotated[int, _doc("CPU time of one thumbnail.", ge=1, le=300)] = 10
    thumbnail_memory_bytes: Annotated[int, _doc("Memory of one such process.", ge=134_217_728, le=17_179_869_184)] = (
        536_870_912
    )
    thumbnail_days: Annotated[int, _doc("Then thumbnails are made anew.", ge=1, le=3_650)] = 90


class AtRest(Section, frozen=True, kw_only=True):
    """Encryption at rest of media and of what people write: who takes the disk, the bucket or the database sees
    ciphertext (docs/operating/media.md)."""

    enabled: Annotated[bool, _doc("Encrypt new content, and by and by what is there. Off again: decrypt it.")] = False
    key_file: Annotated[str, _doc("File with the keys; made with a new one if there is none.")] = "at-rest.keys"
    keys: Annotated[
        str, _doc("The keys themselves instead, current one first: `ID:BASE64 ID:BASE64 …`. Best as a variable.")
    ] = ""


class Previews(Section, frozen=True, kw_only=True):
    """Previews of web pages: the server fetches what people link to, so it is off unless you want that."""

    enabled: Annotated[bool, _doc("Whether previews are made.")] = False
    deny_hosts: Annotated[tuple[str, ...], _doc("Patterns of hosts that are not asked, such as `*.example.org`.")] = ()
    language: Annotated[str, _doc("Asked for where the client says none.")] = "en"
    seconds: Annotated[int, _doc("Page and picture must come within this.", ge=1, le=120)] = 30
    page_bytes: Annotated[int, _doc("How much of a page is read.", ge=65_536, le=33_554_432)] = 2_097_152
    image_bytes: Annotated[int, _doc("Largest picture.", ge=65_536, le=104_857_600)] = 10_485_760
    at_once: Annotated[int, _doc("Pages fetched at a time.", ge=1, le=100)] = 8
    keep_hours: Annotated[int, _doc("Then a page is fetched again.", ge=1, le=720)] = 24
