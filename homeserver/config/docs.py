"""The configuration page: every setting with its type, default, bounds and environment variable."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

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
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    cells = (f"`{setting.name}`", _kind(setting), f"`{_value(setting.default)}`", f"`{setting.variable}`", setting.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(setting: Setting) -> str:
    kind = setting.kind
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is tuple:
        return "list of texts"
    name = {str: "text", int: "integer", bool: "`true`, `false`", Rate: "`per_second/burst`"}[kind]
    least, most = setting.bounds
    return f"{name} {least:,} to {most:,}" if least is not None and most is not None else name


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"' if isinstance(value, str | Rate) else str(value)
