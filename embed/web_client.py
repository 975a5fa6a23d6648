"""Handlers of the web client: its page, its files, what it is told beforehand."""

from __future__ import annotations

from typing import Any

from embed.demo import SITE_ID
from embed.deps import EmbedServices
from embed.pages import PLAIN_POLICY, client_policy
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.request import Request
from homeserver.web.response import Json, Response


async def get_page(embed: EmbedServices, *, request: Request) -> Response:
    """The web client, or a page that says that it was not built."""
    host = request.headers.get("host", "")
    manifest = embed.assets.manifest
    if embed.demo is not None and embed.demo.serves(host):
        shop = embed.demo
        return embed.pages.render("shop.html", shop.policy(), widget=shop.widget_origin, site=SITE_ID)
    if manifest is None:
        return embed.pages.render("unbuilt.html", PLAIN_POLICY, status=503, server_name=embed.info.server_name)
    policy = client_policy(host)
    return embed.pages.render("client.html", policy, entries=manifest.entries, preload=manifest.preload)


async def get_asset(embed: EmbedServices, *, request: Request, name: str) -> Response:
    """A file of the build."""
    return embed.assets.respond(name, request.headers)


async def get_worker(embed: EmbedServices, *, request: Request) -> Response:
    """The service worker, which shows what is pushed. It has the whole site in its scope, and asks for nothing."""
    manifest = embed.assets.manifest
    if manifest is None:
        raise MatrixError(ErrCode.NOT_FOUND, "The web client is not built")
    found = embed.assets.respond(manifest.entries["worker"], request.headers)
    own = {"Cache-Control": "no-cache", "Content-Security-Policy": "default-src 'none'"}
    kept = [(name, value) for name, value in found.headers if name not in own]
    return Response(found.status, (*kept, *own.items()), found.body)


async def get_demo_file(embed: EmbedServices, *, name: str) -> Response:
    """A file of the demo shop."""
    if embed.demo is None:
        raise MatrixError(ErrCode.NOT_FOUND, "There is no demo shop here")
    return embed.demo.file(name)


async def get_app_manifest(embed: EmbedServices) -> Response:
    """What a browser wants to know to install the client."""
    value: dict[str, Any] = {
        "name": f"Hromada · {embed.info.server_name}",
        "short_name": "Hromada",
        "start_url": "/",
        "display": "standalone",
        "background_color": "#F8F6F2",
        "theme_color": "#2B58D8",
        "icons": [{"src": "/assets/logo.svg", "sizes": "any", "type": "image/svg+xml"}],
    }
    headers = (
        ("Content-Type", "application/manifest+json"),
        ("Cache-Control", "public, max-age=3600"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(200, headers, Json.of(value).data)


async def get_web_config(embed: EmbedServices) -> dict[str, Any]:
    """What the client shows before anybody has signed in."""
    manifest = embed.assets.manifest
    return {
        "server_name": embed.info.server_name,
        "version": embed.info.version,
        "registration": embed.info.registration,
        "build": manifest.build if manifest else None,
        "mail": embed.info.mail,
        "push_key": embed.info.push_key,
    }
