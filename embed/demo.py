"""The demo shop: somebody else's page, with the support chat on it, under another name of this machine."""

from __future__ import annotations

from pathlib import Path

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.response import Response

FOLDER = Path(__file__).parent / "demo_shop"
HOST = "shop.localhost"
SITE_ID = "demo"
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class DemoShop:
    """Serves the shop's page and pictures."""

    def __init__(self, port: int) -> None:
        self._names = {path.name: path for path in FOLDER.iterdir() if path.suffix in _TYPES}
        self.port = port

    def serves(self, host: str) -> bool:
        """Whether a request for this host is for the shop."""
        return host.partition(":")[0] == HOST

    @property
    def origin(self) -> str:
        """The shop's own."""
        return f"http://{HOST}:{self.port}"

    @property
    def widget_origin(self) -> str:
        """Where the chat comes from."""
        return f"http://localhost:{self.port}"

    def file(self, name: str) -> Response:
        """A picture or sheet. Raises MatrixError(NOT_FOUND)."""
        path = self._names.get(name)
        if path is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such file")
        headers = (
            ("Content-Type", _TYPES[path.suffix]),
            ("Cache-Control", "public, max-age=300"),
            ("X-Content-Type-Options", "nosniff"),
        )
        return Response(200, headers, path.read_bytes())

    def policy(self) -> str:
        """As strict as a careful shop's: scripts and frames of the chat only, no inline styles, Trusted Types."""
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src {self.widget_origin}",
                f"frame-src {self.widget_origin}",
                "style-src 'self'",
                "img-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
                "trusted-types 'none'",
            )
        )
