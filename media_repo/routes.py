"""The content repository on one screen: every endpoint this role serves.  spec: client-server-api#content-repository"""

from __future__ import annotations

from functools import partial

from homeserver.web.route import Auth, Route
from media_repo import download, preview, session, upload
from media_repo.deps import MediaServices

V1 = "/_matrix/client/v1/media"
OLD = "/_matrix/media/v3"
_CONTENT = "{serverName}/{mediaId}"
# spec: proposals/4189-guest-access-media-routes
GUEST_OK = Auth.GUEST_OK

# Visitors of support chats may send files, and see those that are sent to them.
_VISITORS = "support_requests"
_read = partial(
    Route[MediaServices],
    "GET",
    auth=GUEST_OK,
    limit="media_download",
    held=True,
    media_cookie=True,
    visitors=_VISITORS,
)
_read_old = partial(Route[MediaServices], "GET", auth=Auth.NONE, limit="media_download", held=True)
_write = partial(Route[MediaServices], limit="media_upload")


def _old_names(path: str) -> tuple[str, ...]:
    """COMPAT(old clients): v1 and r0 were the names of v3 before specification v1.1."""
    return tuple(f"/_matrix/media/{version}/{path}" for version in ("r0", "v1"))


ROUTES: list[Route[MediaServices]] = [
    Route("POST", "/_matrix/media/v1/create", upload.create_content, limit="media_create"),
    _write("POST", f"{OLD}/upload", upload.upload_content, also=_old_names("upload"), visitors="support_uploads"),
    _write("PUT", f"{OLD}/upload/{_CONTENT}", upload.upload_content_to_mxc),
    Route("GET", f"{V1}/config", upload.get_config_authed, auth=GUEST_OK, visitors=_VISITORS),
    Route("GET", f"{OLD}/config", upload.get_config, auth=GUEST_OK, also=_old_names("config")),
    _read(f"{V1}/download/{_CONTENT}", download.get_content_authed),
    _read(f"{V1}/download/{_CONTENT}/{{fileName}}", download.get_content_override_name_authed),
    _read(f"{V1}/thumbnail/{_CONTENT}", download.get_content_thumbnail_authed),
    _read_old(f"{OLD}/download/{_CONTENT}", download.get_content, also=_old_names(f"download/{_CONTENT}")),
    _read_old(
        f"{OLD}/download/{_CONTENT}/{{fileName}}",
        download.get_content_override_name,
        also=_old_names(f"download/{_CONTENT}/{{fileName}}"),
    ),
    _read_old(f"{OLD}/thumbnail/{_CONTENT}", download.get_content_thumbnail, also=_old_names(f"thumbnail/{_CONTENT}")),
    Route("GET", f"{V1}/preview_url", preview.get_url_preview_authed, limit="media_preview", held=True),
    Route(
        "GET",
        f"{OLD}/preview_url",
        preview.get_url_preview,
        limit="media_preview",
        held=True,
        also=_old_names("preview_url"),
    ),
    Route("PUT", "/_hromada/web/session", session.put_web_session, auth=GUEST_OK),
    Route("DELETE", "/_hromada/web/session", session.delete_web_session, auth=Auth.NONE),
]
