"""Structured logs on standard error, without secrets.

Fields are rendered for people or as JSON; `structlog` and the standard library's loggers end in the same place.
Bodies and query strings are never logged; what looks like a secret is blotted out all the same.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_SECRET_FIELD = re.compile(r"token|password|secret|authorization|signing_key", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(access_token=|refresh_token=|loginToken=|Bearer\s+|\"(?:password|access_token|refresh_token)\"\s*:\s*\"|://[^/@\s:]*:)"
    r"[^\s&\"'@]+"
)
_BLOT = "[redacted]"


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that blots out secrets in fields and texts."""
    for name, value in event.items():
        if _SECRET_FIELD.search(name) and isinstance(value, str | bytes):
            event[name] = _BLOT
        elif isinstance(value, str):
            event[name] = _SECRET_TEXT.sub(rf"\1{_BLOT}", value)
    return event


def configure(level: str, style: Literal["console", "json"]) -> None:
    """Send everything of at least `level` to standard error. Called once, by the process's entry point."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiosqlite", "asyncio", "hypercorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
