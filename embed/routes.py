"""What the role `embed` serves."""

from __future__ import annotations

from embed import web_client, web_session, widget
from embed.deps import EmbedServices
from homeserver.web.cookies import WEB_PATH
from homeserver.web.route import Auth, Route

_SITE = "/_embed/v1/sites/{site}"
_START_BODY = 128 * 1024
_CONTEXT_BODY = 32 * 1024

ROUTES: list[Route[EmbedServices]] = [
    Route("GET", "/", web_client.get_page, auth=Auth.NONE),
    Route("GET", "/assets/{name}", web_client.get_asset, auth=Auth.NONE),
    Route("GET", "/worker.js", web_client.get_worker, auth=Auth.NONE),
    Route("GET", "/manifest.webmanifest", web_client.get_app_manifest, auth=Auth.NONE),
    Route("GET", "/_hromada/web/config", web_client.get_web_config, auth=Auth.NONE),
    Route("POST", WEB_PATH, web_session.keep_session, auth=Auth.NONE, limit="refresh"),
    Route("POST", f"{WEB_PATH}/token", web_session.renew_token, auth=Auth.NONE, limit="refresh"),
    Route("GET", "/embed.js", widget.get_loader, auth=Auth.NONE),
    Route("GET", "/embed.mjs", widget.get_module, auth=Auth.NONE),
    Route("GET", "/_embed/frame/{site}", widget.get_frame, auth=Auth.NONE),
    Route("GET", "/_embed/preview", widget.get_preview, auth=Auth.NONE),
    Route(
        "POST",
        f"{_SITE}/session",
        widget.start_session,
        auth=Auth.NONE,
        limit="support_sessions",
        body_limit=_START_BODY,
    ),
    Route("POST", f"{_SITE}/session/resume", widget.resume_session, auth=Auth.NONE, limit="support_sessions"),
    Route("POST", f"{_SITE}/session/renew", widget.renew_session, auth=Auth.NONE, limit="support_sessions"),
    Route("POST", f"{_SITE}/session/end", widget.end_session, auth=Auth.NONE, limit="support_sessions"),
    Route(
        "POST",
        f"{_SITE}/context",
        widget.tell_context,
        auth=Auth.GUEST_OK,
        visitors="support_requests",
        body_limit=_CONTEXT_BODY,
    ),
    Route("GET", f"{_SITE}/transcript", widget.get_transcript, auth=Auth.GUEST_OK, visitors="support_requests"),
    Route(
        "POST",
        f"{_SITE}/transcript/mail",
        widget.mail_transcript,
        auth=Auth.GUEST_OK,
        visitors="support_requests",
    ),
    Route("POST", f"{_SITE}/erase", widget.erase_visitor, auth=Auth.GUEST_OK, visitors="support_requests"),
    Route("GET", "/_embed/demo/{name}", web_client.get_demo_file, auth=Auth.NONE),
]
