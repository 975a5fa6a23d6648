"""How content is sent: which part of it, under which headers, and for how many readers at once.

Only HTTP is decided here (RFC 9110); what may be read, the services decide.
spec: client-server-api#content-repository
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

import structlog

from homeserver.core.errors import LimitExceeded
from homeserver.ports.blobs import BlobStoreFailed, OpenBlob
from homeserver.services.media.library import Incoming
from homeserver.services.media.names import is_inline
from homeserver.web.request import Request
from homeserver.web.response import FileBody, Response

Headers = list[tuple[str, str]]

# spec: client-server-api#content-repository
_POLICY = (
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; "
    "object-src 'self';"
)
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?"[^"]*"|\*')
_ASCII_NAME = re.compile(r"[^ !#$&+.0-9A-Z^_`a-z{}~()\[\]@=,;'-]", re.ASCII)
_EXPOSED = "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Last-Modified"
_DAY_S = 24 * 3600
_RETRY_MS = 1_000

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent."""

    type: str
    name: str | None
    tag: str
    """Differs when the bytes do."""
    modified_ms: int
    is_public: bool = False
    """Whether it is given to everybody, caches on the way included."""
    always_inline: bool = False
    """For thumbnails, which this server makes itself."""


class Readers:
    """Bounds how many answers run at once, in all and for one reader."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._running: Counter[str] = Counter()
        self._all = 0

    def enter(self, key: str) -> Place:
        """A place for one answer. Raises LimitExceeded."""
        if self._all >= self._most or self._running[key] >= self._most_of_one:
            raise LimitExceeded(_RETRY_MS, "Too many downloads are running")
        self._all += 1
        self._running[key] += 1
        return Place(self, key)

    def leave(self, key: str) -> None:
        """A place is free again."""
        self._all -= 1
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]


class Place:
    """One answer that is running. It ends once, and at the latest when nobody refers to it."""

    __slots__ = ("_key", "_readers")

    def __init__(self, readers: Readers, key: str) -> None:
        self._readers: Readers | None = readers
        self._key = key

    def end(self) -> None:
        """The answer has ended."""
        readers, self._readers = self._readers, None
        if readers is not None:
            readers.leave(self._key)

    def __del__(self) -> None:
        self.end()


class Body(AsyncIterator[bytes]):
    """The bytes of an answer. Closes what it reads from, also if nobody ever asks for the first."""

    def __init__(self, source: OpenBlob | Incoming, pieces: AsyncIterator[bytes], place: Place) -> None:
        """`pieces` are read from `source`."""
        self._source = source
        self._pieces = pieces
        self._place = place

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except BlobStoreFailed as error:
            _log.warning("media_cut_off", error=str(error))
            raise

    async def aclose(self) -> None:
        """End it, wherever it is."""
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()
        await self._source.close()
        self._place.end()


class BlobBody(Body, FileBody):
    """A part of a blob."""

    def __init__(self, blob: OpenBlob, start: int, length: int, place: Place) -> None:
        """`length` bytes from `start` on."""
        super().__init__(blob, blob.read(start, length), place)
        self._blob = blob
        self._part = start, length

    @property
    def descriptor(self) -> int | None:
        return self._blob.descriptor

    async def spans(self) -> AsyncIterator[tuple[int, int]]:
        try:
            async for span in self._blob.spans(*self._part):
                yield span
        except BlobStoreFailed as error:
            _log.warning("media_cut_off", error=str(error))
            raise


async def deliver(request: Request, content: Content, blob: OpenBlob, place: Place, *, by_cookie: bool) -> Response:
    """The answer to a GET or HEAD: all of the content, the part asked for, or only that nothing has changed."""
    size = blob.size
    headers = _headers(content, by_cookie=by_cookie)
    if _is_known(request, content):
        await _drop(blob, place)
        return Response(304, tuple(headers))
    part = _part(request, content, size)
    if part is None:
        await _drop(blob, place)
        headers += [("Content-Range", f"bytes */{size}"), ("Content-Length", "0")]
        return Response(416, tuple(headers))
    start, length, is_part = part
    headers += [("Content-Type", content.type), ("Content-Length", str(length))]
    headers.append(("Content-Disposition", disposition(content)))
    if is_part:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{size}"))
    if request.method == "HEAD":
        await _drop(blob, place)
        return Response(206 if is_part else 200, tuple(headers))
    return Response(206 if is_part else 200, tuple(headers), BlobBody(blob, start, length, place))


def passed_on(content: Content, incoming: Incoming, place: Place, *, by_cookie: bool) -> Response:
    """The answer to a GET for content that is still coming: all of it, as it comes. Parts can be asked for later."""
    left_out = ("Accept-Ranges", "ETag", "Last-Modified")
    headers = [header for header in _headers(content, by_cookie=by_cookie) if header[0] not in left_out]
    headers += [("Content-Type", content.type), ("Content-Disposition", disposition(content))]
    if incoming.size is not None:
        headers.append(("Content-Length", str(incoming.size)))
    return Response(200, tuple(headers), Body(incoming, incoming.read(), place))


def redirect(url: str) -> Response:
    """Where the content is to be had for some minutes.  spec: proposals/3860-media-download-redirect"""
    return Response(
        307, (("Location", url), ("Cache-Control", "private, max-age=60"), ("Referrer-Policy", "no-referrer"))
    )


def disposition(content: Content) -> str:
    """The Content-Disposition: the type first, then the name in both forms.  RFC 6266, RFC 8187"""
    kind = "inline" if content.always_inline or is_inline(content.type) else "attachment"
    if not content.name:
        return kind
    plain = _ASCII_NAME.sub("_", content.name)
    value = f'{kind}; filename="{plain}"'
    if plain != content.name:
        value += f"; filename*=UTF-8''{quote(content.name, safe='')}"
    return value


def _headers(content: Content, *, by_cookie: bool) -> Headers:
    sharing = "public" if content.is_public else "private"
    return [
        ("Accept-Ranges", "bytes"),
        ("ETag", f'"{content.tag}"'),
        ("Last-Modified", _http_date(content.modified_ms)),
        ("Cache-Control", f"{sharing}, max-age={_DAY_S}, immutable"),
        ("Content-Security-Policy", _POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        # A cookie is sent for whoever embeds the picture, so nobody else may.
        ("Cross-Origin-Resource-Policy", "same-origin" if by_cookie else "cross-origin"),
        ("Access-Control-Expose-Headers", _EXPOSED),
    ]


def _http_date(milliseconds: int) -> str:
    return formatdate(milliseconds // 1000, usegmt=True)


def _is_known(request: Request, content: Content) -> bool:
    """Whether the client has it already.  RFC 9110, 13.2.2"""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        known = {tag.removeprefix("W/") for tag in _TAG.findall(tags)}
        return "*" in known or f'"{content.tag}"' in known
    since = _date(request.headers.get("if-modified-since"))
    return since is not None and content.modified_ms // 1000 <= since


def _part(request: Request, content: Content, size: int) -> tuple[int, int, bool] | None:
    """Start, length and whether it is a part; None if nothing of the range exists.

    Several ranges, and what is no range, get everything, as RFC 9110, 14.2, allows.
    """
    whole = (0, size, False)
    wanted = request.headers.get("range")
    found = None if wanted is None else _RANGE.fullmatch(wanted)
    if found is None or not _range_holds(request, content):
        return whole
    first, last = found[1], found[2]
    if first:
        start = int(first)
        end = min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return whole  # not a range
        return None if start >= size else (start, end - start + 1, True)
    if not last:
        return whole
    length = min(int(last), size)
    return None if length == 0 else (size - length, length, True)


def _range_holds(request: Request, content: Content) -> bool:
    """Whether the client's other parts are of the same content.  RFC 9110, 13.1.5"""
    condition = request.headers.get("if-range")
    if condition is None:
        return True
    if condition.startswith('"'):
        return condition == f'"{content.tag}"'
    date = _date(condition)
    return date is not None and date == content.modified_ms // 1000


def _date(text: str | None) -> float | None:
    try:
        return None if text is None else parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


async def _drop(blob: OpenBlob, place: Place) -> None:
    await blob.close()
    place.end()
