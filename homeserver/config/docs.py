"""The configuration page: every setting with its type, default, bounds and environment variable."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import msgspec

from homeserver.config.base import Section
from homeserver.config.fields import Setting, sections, settings
from homeserver.ports.ratelimits import Rate

_INTRODUCTION = """# Configuration

A TOML file (`hromada run --config FILE`, by default `hromada.toml` in the data folder), overridden by environment
variables, overridden by flags. Lists are separated by commas in variables. A setting that does not exist or has a
wrong value stops the start, and all faults are reported together.
"""


def markdown() -> str:
    """The page."""
    lines = [_INTRODUCTION]
    for name, model in sections():
        lines += [f"## `[{name}]`", "", (model.__doc__ or "").strip(), ""]
        lines += ["| setting | type | default | variable | meaning |", "|---|---|---|---|---|"]
        lines += [_row(setting) for setting in settings(name, model)]
        lines.append("")
        for setting in settings(name, model):
            if setting.tables is not None:
                lines += _tables(setting, setting.tables)
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    cells = (f"`{setting.name}`", _kind(setting), f"`{_value(setting.default)}`", f"`{setting.variable}`", setting.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _tables(setting: Setting, model: type[Section]) -> list[str]:
    """What stands in each table of a list of them."""
    lines = [f"### `[[{setting.key}]]`", "", (model.__doc__ or "").strip(), ""]
    lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for part in settings(setting.key, model):
        default = "" if part.default is msgspec.NODEFAULT else f"`{_value(part.default)}`"
        cells = (f"`{part.name}`", _kind(part), default, part.doc)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def _kind(setting: Setting) -> str:
    kind = setting.kind
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if setting.tables is not None:
        return "list of tables"
    if get_origin(kind) is tuple:
        return "list of texts"
    name = {str: "text", int: "integer", bool: "`true`, `false`", Rate: "`per_second/burst`"}.get(kind, "table")
    least, most = setting.bounds
    return f"{name} {least:,} to {most:,}" if least is not None and most is not None else name


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"' if isinstance(value, str | Rate) else str(value)
