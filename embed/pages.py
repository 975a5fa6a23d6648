"""The HTML pages of this role, by Quart and Jinja2 (docs/adr/0002-plain-asgi.md).

A page holds no inline script and no inline style: the policy that goes with it forbids both.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeserver.web.response import Response

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
_LOOPBACK = re.compile(r"(?:localhost|[a-z0-9-]+\.localhost|127\.[0-9.]+|\[::1\])(?::[0-9]{1,5})?\Z")


@cache
def _templates() -> Environment:
    # Imported with the first page: a server that shows none starts without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - see above

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


class Pages:
    """Templates made into answers."""

    def render(self, template: str, policy: str, *, status: int = 200, framed: bool = False, **values: Any) -> Response:
        """The page `template` with `values`, under the content security policy `policy`.

        One that is `framed` may be shown by the pages of other origins that the policy names, also by those that are
        isolated (`Cross-Origin-Embedder-Policy`).
        """
        text = _templates().get_template(template).render(values)
        headers = (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", policy),
            ("Permissions-Policy", _PERMISSIONS),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store" if framed else "no-cache"),
            ("Vary", "Host"),
            *(_FRAMED if framed else _UNFRAMED),
        )
        return Response(status, headers, text.encode())


_FRAMED = (("Cross-Origin-Embedder-Policy", "require-corp"), ("Cross-Origin-Resource-Policy", "cross-origin"))
_UNFRAMED = (("Cross-Origin-Opener-Policy", "same-origin"), ("X-Frame-Options", "DENY"))
_DENIED = (
    *("accelerometer", "autoplay", "browsing-topics", "display-capture", "encrypted-media", "gamepad"),
    *("geolocation", "gyroscope", "hid", "idle-detection", "local-fonts", "magnetometer", "midi", "payment"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
_PERMISSIONS = ", ".join(
    [f"{name}=()" for name in _DENIED]
    # Codes are read with the camera, voice messages spoken, addresses copied, videos watched large.
    + [f"{name}=(self)" for name in ("camera", "microphone", "clipboard-write", "fullscreen")]
)


def client_policy(host: str) -> str:
    """What the web client's page may do, served as `host` (the request's own header, which may be anything)."""
    sockets = ""
    if _HOST.match(host):
        # `'self'` covers them in browsers of today; older ones want them named.
        sockets = f" wss://{host}" + (f" ws://{host}" if _LOOPBACK.match(host) else "")
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "style-src 'self'",
            "font-src 'self'",
            f"connect-src 'self'{sockets}",
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "worker-src 'self'",
            "manifest-src 'self'",
            "frame-src 'self'",  # an administrator's preview of a site's chat
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types hromada hromada-worker",
        )
    )


PLAIN_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
"""For pages without scripts."""
