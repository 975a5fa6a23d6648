"""HTML pages: Jinja2 templates of a role's package, rendered by Quart (docs/adr/0002-plain-asgi.md).

Routes, bounds and limits of a page are those of its route row, as of every other endpoint; Quart finds the template,
escapes what is put into it and makes the text. It is imported with the first page, beside the event loop: a server that
shows none starts and lives without it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeserver.web.response import Response

if TYPE_CHECKING:
    from quart import Quart


class Pages:
    """The templates of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._application: Quart | None = None
        self._making = asyncio.Lock()

    async def render(
        self, template: str, headers: tuple[tuple[str, str], ...], *, status: int = 200, **values: Any
    ) -> Response:
        """The page `template` with `values`; one that the template names and nobody gave is an error."""
        async with self._making:
            if self._application is None:
                self._application = await asyncio.to_thread(_application, self._folder)
        from quart import render_template  # noqa: PLC0415 - imported by now

        async with self._application.app_context():
            text = await render_template(template, **values)
        return Response(
            status, (("Content-Type", "text/html; charset=utf-8"), *headers), text.encode("utf-8", "replace")
        )


def _application(folder: Path) -> Quart:
    from jinja2 import StrictUndefined  # noqa: PLC0415 - see above
    from quart import Quart  # noqa: PLC0415 - see above

    application = Quart(__name__, template_folder=str(folder), static_folder=None)
    application.jinja_options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return application
