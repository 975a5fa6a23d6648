"""What every section of the configuration is made of."""

from __future__ import annotations

import msgspec
from msgspec import Meta


def doc(text: str, *, ge: float | None = None, le: float | None = None) -> Meta:
    """One line of documentation and the bounds of a setting."""
    return Meta(description=text, ge=ge, le=le)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the configuration file."""
