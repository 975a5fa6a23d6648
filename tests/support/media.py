"""Uploads, downloads and the real files of `tests/vectors/media`."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.client import Client, Reply, part

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
UPLOAD = "/_matrix/media/v3/upload"
DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"


@dataclass(frozen=True)
class MediaFile:
    """One row of the manifest."""

    name: str
    declared_mime: str
    upload_name: str
    mime: str
    expected: Mapping[str, Any]

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        return (VECTORS / "media" / self.name).read_bytes()

    @property
    def path(self) -> Path:
        """Where it is."""
        return VECTORS / "media" / self.name


@cache
def media_files() -> list[MediaFile]:
    """All files of the manifest."""
    rows = json.loads((VECTORS / "media" / "manifest.json").read_text())["files"]
    return [MediaFile(r["name"], r["declared_mime"], r["upload_name"], r["mime"], r["expected"]) for r in rows]


def media_file(name: str) -> MediaFile:
    """One file of the manifest."""
    return next(file for file in media_files() if file.name == name)


async def upload_reply(
    client: Client,
    data: bytes | AsyncIterable[bytes],
    content_type: str | None = "application/octet-stream",
    filename: str | None = None,
    path: str = UPLOAD,
    method: str = "POST",
) -> Reply:
    """The answer to an upload; an iterable is sent in chunks, without a length."""
    headers = {"Authorization": f"Bearer {client.token}"}
    if content_type is not None:
        headers["Content-Type"] = content_type
    body = io.BytesIO(data) if isinstance(data, bytes) and data else data
    skipped = ("Content-Type",) if content_type is None else ()
    address = client.address(path, {"filename": filename})
    async with client.session.request(
        method, address, data=body, headers=headers, skip_auto_headers=skipped
    ) as response:
        raw = await response.read()
        parsed = json.loads(raw) if raw.startswith(b"{") else None
        return Reply(response.status, parsed, response.headers, raw)


async def upload(
    client: Client, data: bytes, content_type: str | None = "application/octet-stream", filename: str | None = None
) -> str:
    """Upload; `server/media-id`."""
    reply = await upload_reply(client, data, content_type, filename)
    return str(reply.ok()["content_uri"]).removeprefix("mxc://")


async def download(client: Client, media: str, name: str | None = None, **more: Any) -> Reply:
    """Download by the authenticated path."""
    return await client.request("GET", f"{DOWNLOAD}/{media}" + ("" if name is None else f"/{part(name)}"), **more)


async def thumbnail(client: Client, media: str, width: int, height: int, method: str = "scale", **more: Any) -> Reply:
    """A thumbnail by the authenticated path."""
    params = {"width": width, "height": height, "method": method, **more}
    return await client.request("GET", f"{THUMBNAIL}/{media}", params=params)


def picture(data: bytes) -> Image.Image:
    """A decoded picture, all of it."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def png(width: int, height: int, colour: tuple[int, ...] = (200, 30, 90), mode: str = "RGB") -> bytes:
    """A PNG of one colour."""
    out = io.BytesIO()
    Image.new(mode, (width, height), colour).save(out, "PNG")
    return out.getvalue()
