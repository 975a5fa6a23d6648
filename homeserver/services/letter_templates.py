"""The templates of letters, and of the page behind their links."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_SHARED = Path(__file__).parent / "templates"


def letter_templates(folder: Path) -> Environment:
    """The templates in a service's folder, and `page.html`, which asks and says what was done."""
    # Imported with the first letter: most servers write none, and start without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # noqa: PLC0415 - see above

    return Environment(
        loader=FileSystemLoader((folder, _SHARED)),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
