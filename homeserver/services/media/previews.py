"""Previews of web pages: fetched once for all who ask, kept for some hours, the picture as media of this server.

Pages and pictures are hostile until proven otherwise: requests go through the checked client, everything is bounded in
bytes and time, pages are read in a thread and pictures in a worker process.
spec: client-server-api#get_matrixclientv1mediapreview_url
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.blobs import Spool, SpoolFull
from homeserver.ports.clock import Clock
from homeserver.ports.media import Media, NotAPicture, PictureFacts, Thumbnailer, ThumbnailerBusy
from homeserver.ports.outbound import OutboundAnswer, OutboundError, OutboundRequest, OutboundSource
from homeserver.ports.store import Store
from homeserver.services.media.names import essence
from homeserver.services.media.page import MAX_DESCRIPTION, MAX_TITLE, Page, clean, decoded, read_page
from homeserver.services.media.uploads import Uploads

_HTML = frozenset(("text/html", "application/xhtml+xml"))
_LONGEST_URL = 4_096
_LONGEST_LANGUAGE = 100
_REFUSED_S = 300.0
_ANY_NUMBER = 1 << 62  # of bytes: all readers here stop by themselves, and the beginning of a large page is enough
_SHARE_OF_EXTRAS = 0.75  # of the time for a preview: until then its picture and its oEmbed are waited for
_MOST_REFUSED = 10_000
_LANGUAGE = re.compile(r"[A-Za-z0-9*;=,. -]*", re.ASCII)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PreviewSettings:
    """Bounds of previews."""

    seconds: float = 30.0
    """For a page, its oEmbed and its picture together."""
    page_bytes: int = 2 * 1024 * 1024
    image_bytes: int = 10 * 1024 * 1024
    at_once: int = 8
    waiting: int = 200
    keep_hours: int = 24
    deny_hosts: Sequence[str] = ()
    """Patterns of host names that are not asked."""
    language: str = "en"
    """For those who say none."""


class Previews:
    """Fetches and keeps previews."""

    def __init__(
        self,
        store: Store,
        outbound: OutboundSource,
        uploads: Uploads,
        spool: Spool,
        thumbnailer: Thumbnailer,
        clock: Clock,
        settings: PreviewSettings,
    ) -> None:
        """`outbound` gives the client, which is made when somebody first needs it."""
        self._store = store
        self._outbound = outbound
        self._uploads = uploads
        self._spool = spool
        self._thumbnailer = thumbnailer
        self._clock = clock
        self._settings = settings
        self._turn = asyncio.Semaphore(settings.at_once)
        self._running: dict[bytes, asyncio.Task[bytes]] = {}
        self._refused: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    async def preview(self, url: str, language: str | None) -> bytes:
        """The preview of a page, as JSON. `language` is the client's Accept-Language.

        Raises MatrixError: INVALID_PARAM for what is no web address, FORBIDDEN for a host that is not asked,
        UNKNOWN (502) if there is no answer, or none that may be had, LIMIT_EXCEEDED.
        """
        address = self._address(url)
        language = language if language and _LANGUAGE.fullmatch(language) else self._settings.language
        language = language[:_LONGEST_LANGUAGE]
        digest = sha256(f"{language}\n{address}".encode()).digest()
        async with self._store.read_committed() as tx:
            kept = await tx.media.preview(digest, self._clock.now_ms())
        if kept is not None:
            return kept
        self._recall_refusal(digest)
        task = self._running.get(digest)
        if task is None:
            if len(self._running) >= self._settings.waiting:
                raise MatrixError(ErrCode.LIMIT_EXCEEDED, "Too many previews are being made", retry_after_ms=5_000)
            task = self._running[digest] = asyncio.create_task(self._make(digest, address, language))
            task.add_done_callback(lambda done: self._done(digest, done))
        return await asyncio.shield(task)

    def _address(self, url: str) -> str:
        """The address to ask, without its fragment. Raises MatrixError."""
        try:
            parts = urlsplit(url.strip())
            host = (parts.hostname or "").encode("idna").decode()
            is_web = parts.scheme.lower() in ("http", "https") and bool(host) and parts.port != 0
        except ValueError:
            is_web, host = False, ""
        if not is_web or len(url) > _LONGEST_URL:
            raise MatrixError(ErrCode.INVALID_PARAM, "url must be an http or https address")
        if any(fnmatchcase(host.lower(), pattern.lower()) for pattern in self._settings.deny_hosts):
            raise MatrixError(ErrCode.FORBIDDEN, "Previews of this host are not made")
        return quote(parts._replace(fragment="").geturl(), safe="%/:?#[]@!$&'()*+,;=-._~")

    # --- running ---

    def _done(self, digest: bytes, task: asyncio.Task[bytes]) -> None:
        self._running.pop(digest, None)
        if not task.cancelled() and isinstance(error := task.exception(), MatrixError):
            self._refused[digest] = (self._clock.monotonic() + _REFUSED_S, error.message)
            while len(self._refused) > _MOST_REFUSED:
                self._refused.popitem(last=False)

    def _recall_refusal(self, digest: bytes) -> None:
        """What could not be had a moment ago is not asked for again."""
        until, message = self._refused.get(digest, (0.0, ""))
        if until > self._clock.monotonic():
            raise MatrixError(ErrCode.UNKNOWN, message, status=502)
        self._refused.pop(digest, None)

    async def _make(self, digest: bytes, address: str, language: str) -> bytes:
        async with self._turn:
            try:
                async with asyncio.timeout(self._settings.seconds):
                    found = await self._fetch(address, language)
            except (OutboundError, TimeoutError) as error:
                # Also for addresses that are not asked: what names mean inside is nobody's business outside.
                _log.info("preview_failed", host=urlsplit(address).hostname, error=type(error).__name__)
                raise MatrixError(ErrCode.UNKNOWN, "The page could not be fetched", status=502) from None
        body = orjson.dumps(found)
        now_ms = self._clock.now_ms()
        async with self._store.write() as tx:
            await tx.media.put_preview(digest, now_ms, now_ms + self._settings.keep_hours * 3_600_000, body)
        return body

    async def _fetch(self, address: str, language: str) -> dict[str, Any]:
        # What is only nice to have ends early enough for the rest to be an answer.
        until = asyncio.get_running_loop().time() + self._settings.seconds * _SHARE_OF_EXTRAS
        request = self._request(address, language, "text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.5")
        async with (await self._outbound()).request(request) as answer:
            if answer.status != 200:
                raise OutboundError(f"status {answer.status}")
            type_ = essence(answer.headers.get("Content-Type", ""))
            if type_.startswith("image/"):
                picture = await self._keep_picture(answer)
                return {} if picture is None else {**_shown(picture), "og:url": answer.url}
            if type_ not in _HTML and type_:
                return {}
            data = await _beginning(answer, self._settings.page_bytes)
            where, header = answer.url, answer.headers.get("Content-Type")
        # A page may take long to read: not in the event loop.
        page = await asyncio.to_thread(lambda: read_page(decoded(data, header), where))
        if page.oembed is not None and not page.has_own_title:
            await self._ask_oembed(page, page.oembed, language, until)
        found = _as_open_graph(page)
        if page.image is not None:
            found |= await self._picture(page.image, language, until)
        return found

    def _request(self, url: str, language: str, accept: str) -> OutboundRequest:
        return OutboundRequest(
            url,
            headers={"Accept": accept, "Accept-Language": language},
            max_bytes=_ANY_NUMBER,
            seconds=self._settings.seconds,
        )

    async def _ask_oembed(self, page: Page, address: str, language: str, until: float) -> None:
        """What the page's oEmbed adds. A failure costs only what it would have added."""
        request = self._request(address, language, "application/json")
        try:
            async with asyncio.timeout_at(until), (await self._outbound()).request(request) as answer:
                if answer.status != 200 or "json" not in answer.headers.get("Content-Type", ""):
                    return
                told = orjson.loads(await _beginning(answer, 256 * 1024))
        except (OutboundError, TimeoutError, orjson.JSONDecodeError):
            return
        if not isinstance(told, dict):
            return

        def text(name: str) -> str | None:
            value = told.get(name)
            return value if isinstance(value, str) else None

        page.title = clean(text("title"), MAX_TITLE) or page.title
        page.site = page.site or clean(text("provider_name"), MAX_TITLE)
        author = clean(text("author_name"), MAX_DESCRIPTION)
        page.description = page.description or (f"by {author}" if author else None)
        image = text("thumbnail_url")
        if page.image is None and image is not None and urlsplit(image).scheme in ("http", "https"):
            page.image = image

    async def _picture(self, address: str, language: str, until: float) -> dict[str, Any]:
        """The page's picture. Whatever is wrong with it, the text stands without it."""
        request = self._request(address, language, "image/*")
        try:
            async with asyncio.timeout_at(until), (await self._outbound()).request(request) as answer:
                if answer.status != 200:
                    return {}
                picture = await self._keep_picture(answer)
        except (OutboundError, TimeoutError, MatrixError) as error:
            _log.info("preview_picture_failed", host=urlsplit(address).hostname, error=type(error).__name__)
            return {}
        return {} if picture is None else _shown(picture)

    async def _keep_picture(self, answer: OutboundAnswer) -> tuple[Media, PictureFacts] | None:
        """Keep a picture as media; None if it is none."""
        announced = answer.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > self._settings.image_bytes:
            return None
        try:
            async with self._spool.file() as file:
                async for piece in answer.pieces():
                    await file.write(piece)
                    if file.size > self._settings.image_bytes:
                        return None
                if file.size == 0:
                    return None
                digest = await file.finish()
                facts = await self._thumbnailer.look(file.path)
                return await self._uploads.keep("preview", file, digest, facts.content_type, None), facts
        except (NotAPicture, ThumbnailerBusy, SpoolFull):
            return None


async def _beginning(answer: OutboundAnswer, most: int) -> bytes:
    """The first of a body; what is behind it is not waited for."""
    data = bytearray()
    async for piece in answer.pieces():
        data += piece
        if len(data) >= most:
            break
    return bytes(data[:most])


def _as_open_graph(page: Page) -> dict[str, Any]:
    found = {
        "og:title": page.title,
        "og:description": page.description,
        "og:site_name": page.site,
        "og:type": page.kind,
        "og:url": page.url,
    }
    return {name: value for name, value in found.items() if value is not None}


def _shown(picture: tuple[Media, PictureFacts]) -> dict[str, Any]:
    media, facts = picture
    return {
        "og:image": f"mxc://{media.origin}/{media.media_id}",
        "og:image:type": facts.content_type,
        "og:image:width": facts.width,
        "og:image:height": facts.height,
        "matrix:image:size": media.size,
    }
