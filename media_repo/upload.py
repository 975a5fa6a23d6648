"""Uploads.  spec: client-server-api#content-repository"""

from __future__ import annotations

from typing import Any

from homeserver.core.errors import MatrixError
from homeserver.ports.media import Media
from homeserver.ports.requester import Requester
from homeserver.services.media.uploads import Arriving
from homeserver.web.request import Request, UnreadBody
from media_repo.deps import MediaServices


async def upload_content(
    api: MediaServices, who: Requester, *, request: Request, filename: str | None = None
) -> dict[str, Any]:
    """Store some content.  spec: client-server-api#post_matrixmediav3upload"""
    try:
        most = await api.visitor_files.limit(who, request.headers.get("content-type"))
        return {"content_uri": uri(await api.uploads.upload(who, _arriving(api, request, filename, most)))}
    except MatrixError as error:
        raise _unread(error) from error


async def create_content(api: MediaServices, who: Requester) -> dict[str, Any]:
    """Make a media id whose content comes later.  spec: client-server-api#post_matrixmediav1create"""
    media = await api.uploads.create(who)
    return {"content_uri": uri(media), "unused_expires_at": media.expires_ms}


async def upload_content_to_mxc(
    api: MediaServices,
    who: Requester,
    *,
    request: Request,
    server_name: str,
    media_id: str,
    filename: str | None = None,
) -> None:
    """Store the content of a media id.  spec: client-server-api#put_matrixmediav3uploadservernamemediaid"""
    try:
        await api.uploads.upload_to(who, server_name, media_id, _arriving(api, request, filename))
    except MatrixError as error:
        raise _unread(error) from error


async def get_config_authed(api: MediaServices, who: Requester) -> dict[str, Any]:
    """What uploads are bounded by.  spec: client-server-api#get_matrixclientv1mediaconfig"""
    return {"m.upload.size": api.uploads.settings.max_bytes}


async def get_config(api: MediaServices, who: Requester) -> dict[str, Any]:
    """The same by its old name.  spec: client-server-api#get_matrixmediav3config"""
    return await get_config_authed(api, who)


def uri(media: Media) -> str:
    """The mxc URI.  spec: client-server-api#matrix-content-mxc-uris"""
    return f"mxc://{media.origin}/{media.media_id}"


def _arriving(api: MediaServices, request: Request, filename: str | None, most: int | None = None) -> Arriving:
    request.body_limit = min(api.uploads.settings.max_bytes, api.uploads.settings.max_bytes if most is None else most)
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 19 else None
    read_into = request.read_into if request.reads_into else None
    return Arriving(request.stream(), size, request.headers.get("content-type"), filename, read_into)


def _unread(error: MatrixError) -> MatrixError:
    """What was refused before all of it had come: the rest is still on its way."""
    if isinstance(error, UnreadBody):
        return error
    return UnreadBody(error.code, error.message, status=error.status, **error.extra)
