"""The built front end: what there is, and each file in the encoding that the browser likes best.

`make web` builds embed/web into embed/web/dist: files whose names hold a hash of their content, each compressed
beforehand, and a manifest that lists them. A file is served only if the manifest lists it; no path of a request ever
reaches the file system.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.response import Response

DIST = Path(__file__).parent / "web" / "dist"

_PIECE = 64 * 1024
_WHOLE = 256 * 1024
_HASHED = re.compile(r"\.[0-9A-Z]{8}\.\w+\Z")
_WEIGHT = re.compile(r"\s*;\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*\Z")
# Preferred first: the smallest.
_ENCODINGS = {"br": "br", "zstd": "zst", "gzip": "gz"}


class Asset(msgspec.Struct, frozen=True):
    """One file of the build."""

    type: str
    """Its media type."""
    size: int
    """Bytes, uncompressed."""
    encodings: tuple[str, ...] = ()
    """Suffixes of the compressed copies beside it: `br`, `gz`, `zst`."""


class Manifest(msgspec.Struct, frozen=True):
    """What build.mjs wrote."""

    build: str
    entries: dict[str, str]
    """What pages ask for (`boot`, `style`) → the file's name."""
    preload: tuple[str, ...]
    assets: dict[str, Asset]


class Assets:
    """The files of one build, or none."""

    def __init__(self, folder: Path = DIST) -> None:
        """Read the manifest. A missing one means that the front end was not built; a broken one raises
        msgspec.DecodeError."""
        self._folder = folder
        self._read_at: float | None = None
        self._manifest: Manifest | None = None
        self._load()

    def _load(self) -> None:
        path = self._folder / "manifest.json"
        try:
            changed = path.stat().st_mtime
            if changed != self._read_at:
                self._manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
                self._read_at = changed
        except FileNotFoundError:
            return  # none yet, or a new build is just taking the old one's place

    @property
    def manifest(self) -> Manifest | None:
        """The build; read anew when it has changed on disk, so that `make web-dev` needs no restart."""
        self._load()
        return self._manifest

    def respond(self, name: str, headers: Mapping[str, str]) -> Response:
        """The file `name` of the build, for a request with these headers.

        Raises MatrixError NOT_FOUND.
        """
        manifest = self._manifest if self._manifest and name in self._manifest.assets else self.manifest
        asset = manifest.assets.get(name) if manifest else None
        if asset is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such file")
        encoding = _negotiate(headers.get("accept-encoding", ""), asset.encodings)
        hashed = bool(_HASHED.search(name))
        build = manifest.build if manifest else ""
        tag = f'"{name if hashed else f"{build}.{name}"}{"." + encoding if encoding else ""}"'
        sent = [
            ("Content-Type", asset.type),
            ("ETag", tag),
            ("Cache-Control", "public, max-age=31536000, immutable" if hashed else "public, max-age=3600"),
            ("Vary", "Accept-Encoding"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        if tag in [known.strip().removeprefix("W/") for known in headers.get("if-none-match", "").split(",")]:
            return Response(304, tuple(sent))
        path = self._folder / "assets" / (f"{name}.{_ENCODINGS[encoding]}" if encoding else name)
        try:
            size = path.stat().st_size
            body = path.read_bytes() if size <= _WHOLE else _pieces(path)
        except FileNotFoundError:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such file any more") from None
        if encoding:
            sent.append(("Content-Encoding", encoding))
        if not isinstance(body, bytes):
            sent.append(("Content-Length", str(size)))
        return Response(200, tuple(sent), body)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece


def _negotiate(accepted: str, available: Sequence[str]) -> str | None:
    """The best of our encodings that the client accepts; None is the plain file.  RFC 9110, section 12.5.3"""
    weights: dict[str, float] = {}
    for item in accepted.split(",")[:16]:
        name, _, rest = item.strip().partition(";")
        weight = _WEIGHT.match(";" + rest) if rest else None
        weights[name.strip().lower()] = float(weight[1]) if weight else 1.0
    return next(
        (
            name
            for name, suffix in _ENCODINGS.items()
            if suffix in available and weights.get(name, weights.get("*", 0.0)) > 0
        ),
        None,
    )
