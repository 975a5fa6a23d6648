"""What the role `embed` serves."""

from __future__ import annotations

from embed import web_client
from embed.deps import EmbedServices
from homeserver.web.route import Auth, Route

ROUTES: list[Route[EmbedServices]] = [
    Route("GET", "/", web_client.get_page, auth=Auth.NONE),
    Route("GET", "/assets/{name}", web_client.get_asset, auth=Auth.NONE),
    Route("GET", "/manifest.webmanifest", web_client.get_app_manifest, auth=Auth.NONE),
    Route("GET", "/_hromada/web/config", web_client.get_web_config, auth=Auth.NONE),
]
