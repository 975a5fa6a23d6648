"""Which pages of other origins may read the answers.  spec: client-server-api#web-browser-clients"""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]

_ALLOWED = b"X-Requested-With, Content-Type, Authorization"
_PREFIXES = (b"/_matrix/client/", b"/_matrix/media/", b"/.well-known/", b"/_synapse/admin/")
_MEDIA_PREFIXES = (b"/_matrix/client/v1/media/", b"/_matrix/media/")
_CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"access-control-allow-headers", _ALLOWED),
]
# Players of media on other origins ask for parts of it.
_MEDIA_PREFLIGHT: Headers = [
    *_CORS[:2],
    (b"access-control-allow-headers", _ALLOWED + b", Range, If-Range, If-None-Match"),
]


def cors_headers(raw_path: bytes) -> Headers:
    """What every answer under this path says to browsers; nothing where pages of other origins have no business."""
    return _CORS if raw_path.startswith(_PREFIXES) else []


def preflight_headers(raw_path: bytes) -> Headers:
    """What the answer to a preflight request says."""
    return _MEDIA_PREFLIGHT if raw_path.startswith(_MEDIA_PREFIXES) else cors_headers(raw_path)
