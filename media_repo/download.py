"""Downloads and thumbnails.  spec: client-server-api#content-repository

The old paths ask for no token. They serve only what was there before a moment that the configuration names, and
everything else is not found by them.  spec: client-server-api#content-repo-client-behaviour
"""

from __future__ import annotations

from typing import Literal

from homeserver.ports.media import Media, ThumbnailSpec
from homeserver.ports.requester import Requester
from homeserver.services.media import names
from homeserver.services.media.library import Incoming, not_found
from homeserver.web.ratelimit import address_key
from homeserver.web.request import Request
from homeserver.web.response import Response
from media_repo.delivery import Content, deliver, disposition, passed_on, redirect
from media_repo.deps import MediaServices

_WAIT_MS = 20_000


async def get_content_authed(
    api: MediaServices, who: Requester, *, request: Request, server_name: str, media_id: str, timeout_ms: int = _WAIT_MS
) -> Response:
    """Download content under the name it was uploaded with."""
    media = await _found(api, request, server_name, media_id, timeout_ms)
    return await _send(api, request, media, media.upload_name, who.user_id)


async def get_content_override_name_authed(
    api: MediaServices,
    who: Requester,
    *,
    request: Request,
    server_name: str,
    media_id: str,
    file_name: str,
    timeout_ms: int = _WAIT_MS,
) -> Response:
    """Download content under another name."""
    media = await _found(api, request, server_name, media_id, timeout_ms)
    return await _send(api, request, media, names.file_name(file_name), who.user_id)


async def get_content_thumbnail_authed(  # noqa: PLR0913 - the operation's own parameters
    api: MediaServices,
    who: Requester,
    *,
    request: Request,
    server_name: str,
    media_id: str,
    width: int,
    height: int,
    method: Literal["crop", "scale"] = "scale",
    animated: bool = False,
    timeout_ms: int = _WAIT_MS,
) -> Response:
    """Download a smaller picture."""
    media = await api.library.find(server_name, media_id, timeout_ms)
    return await _send_smaller(api, request, media, ThumbnailSpec(width, height, method, animated), who.user_id)


async def get_content(
    api: MediaServices,
    *,
    request: Request,
    server_name: str,
    media_id: str,
    timeout_ms: int = _WAIT_MS,
    allow_remote: bool = True,
    allow_redirect: bool = False,
) -> Response:
    """Download old content without a token."""
    media = await _old(api, server_name, media_id, allow_remote)
    return await _send(api, request, media, media.upload_name, None, may_redirect=allow_redirect)


async def get_content_override_name(
    api: MediaServices,
    *,
    request: Request,
    server_name: str,
    media_id: str,
    file_name: str,
    timeout_ms: int = _WAIT_MS,
    allow_remote: bool = True,
    allow_redirect: bool = False,
) -> Response:
    """Download old content without a token, under another name."""
    media = await _old(api, server_name, media_id, allow_remote)
    return await _send(api, request, media, names.file_name(file_name), None, may_redirect=allow_redirect)


async def get_content_thumbnail(  # noqa: PLR0913 - the operation's own parameters
    api: MediaServices,
    *,
    request: Request,
    server_name: str,
    media_id: str,
    width: int,
    height: int,
    method: Literal["crop", "scale"] = "scale",
    animated: bool = False,
    timeout_ms: int = _WAIT_MS,
    allow_remote: bool = True,
    allow_redirect: bool = False,
) -> Response:
    """Download a smaller picture of old content without a token."""
    media = await _old(api, server_name, media_id, allow_remote)
    return await _send_smaller(api, request, media, ThumbnailSpec(width, height, method, animated), None)


async def _found(
    api: MediaServices, request: Request, server_name: str, media_id: str, timeout_ms: int
) -> Media | Incoming:
    """The media; or what comes of it from another server, for who wants all of it."""
    if request.method == "GET" and "range" not in request.headers:
        return await api.library.follow(server_name, media_id, timeout_ms)
    return await api.library.find(server_name, media_id, timeout_ms)


async def _old(api: MediaServices, server_name: str, media_id: str, allow_remote: bool) -> Media:
    """Media that everybody may read."""
    media = await api.library.find(server_name, media_id, 0, allow_remote=allow_remote)
    if media.created_ms >= api.legacy_before_ms:
        raise not_found()
    return media


async def _send(
    api: MediaServices,
    request: Request,
    media: Media | Incoming,
    name: str | None,
    user_id: str | None,
    *,
    may_redirect: bool = True,
) -> Response:
    if not isinstance(media, Media):
        return await _send_on(api, request, media, name, user_id or address_key(request.client_ip))
    tag = media.digest.hex() if media.digest else ""
    content = Content(media.content_type, name, tag, media.created_ms, is_public=user_id is None)
    if api.links and may_redirect and (url := await api.library.link(media, disposition(content))) is not None:
        return redirect(url)
    place = api.readers.enter(user_id or address_key(request.client_ip))
    try:
        blob = await api.library.open(media)
    except BaseException:
        place.end()
        raise
    return await deliver(request, content, blob, place, by_cookie=request.by_cookie)


async def _send_on(api: MediaServices, request: Request, incoming: Incoming, name: str | None, reader: str) -> Response:
    try:
        place = api.readers.enter(reader)
    except BaseException:
        await incoming.close()
        raise
    return passed_on(Content(incoming.content_type, name, "", 0), incoming, place, by_cookie=request.by_cookie)


async def _send_smaller(
    api: MediaServices, request: Request, media: Media, wanted: ThumbnailSpec, user_id: str | None
) -> Response:
    place = api.readers.enter(user_id or address_key(request.client_ip))
    try:
        shown = await api.thumbnails.show(media, wanted)
    except BaseException:
        place.end()
        raise
    suffix = shown.content_type.rpartition("/")[2].replace("jpeg", "jpg")
    content = Content(
        shown.content_type,
        f"thumbnail.{suffix}",
        shown.tag,
        media.created_ms,
        is_public=user_id is None,
        always_inline=True,
    )
    return await deliver(request, content, shown.blob, place, by_cookie=request.by_cookie)
