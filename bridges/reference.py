"""The reference of `bridges.toml`, out of the code that reads it; `make docs` writes it."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from bridges.config import Config, Secret
from bridges.users.login import SiteUsers
from bridges.webhooks.settings import Endpoint, Hook

_HEAD = """# Configuration of bridges

`bridges.toml` is TOML. A setting without a default has to be there. Times are written `500ms`, `5s`, `10m`, `24h` or
`7d`, rates `5/s`, `20/min` or `100/h`. A secret is `{ file = "…" }` or `{ env = "…" }`, never the value itself.
Conditions are `{ col = "…", op = "…", value = … }` with `eq ne lt le gt ge in exists`, or `{ all = […] }` and
`{ any = […] }` of conditions. `hromada bridges check FILE` names everything that is wrong with a file.
"""


def reference() -> str:
    """The page, as Markdown."""
    lines = [_HEAD]
    more: list[tuple[str, type]] = [("users", SiteUsers), ("hook", Hook), ("endpoint", Endpoint)]
    sections = [*_sections(Config, "")]
    for name, kind in more:
        sections += [(f"[{name}.NAME]", kind), *_sections(kind, f"{name}.NAME")]
    for path, kind in sections:
        lines += [f"## `{path}`", "", str(inspect.getdoc(kind)), "", *_table(kind), ""]
    return "\n".join(lines).rstrip() + "\n"


def _sections(kind: type, path: str) -> Iterator[tuple[str, type]]:
    for name, hint in get_type_hints(kind).items():
        inner = _struct(hint)
        if inner is None or name == "folder":
            continue
        at = f"{path}.{name}".lstrip(".")
        if get_origin(hint) is dict:
            at += ".NAME"
            yield f"[{at}]", inner
        elif get_origin(hint) is tuple:
            yield f"[[{at}]]", inner
        else:
            yield f"[{at}]", inner
        yield from _sections(inner, at)


def _struct(hint: Any) -> type | None:
    for part in (hint, *get_args(hint)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct) and part is not Secret:
            return part
    return None


def _table(kind: type) -> list[str]:
    texts = _texts(kind)
    hints = get_type_hints(kind)
    rows = ["| Setting | Kind | Default | Meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(kind):
        cells = [f"`{field.name}`", _kind(hints[field.name]), _default(field), texts.get(field.name, "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _texts(kind: type) -> dict[str, str]:
    """Setting → the text below it, in the class and those it is made from."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("bridges."):
            continue
        tree = ast.parse(inspect.getsource(sys.modules[base.__module__]))
        body = next((n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == base.__name__), [])
        for first, second in pairwise(body):
            if isinstance(first, ast.AnnAssign) and isinstance(first.target, ast.Name) and isinstance(second, ast.Expr):
                found[first.target.id] = " ".join(str(ast.literal_eval(second.value)).split())
    return found


def _kind(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{part!r}`".replace("'", '"') for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in parts if part is not type(None))
    if hint is Secret:
        return "secret"
    if origin is tuple:
        return "tables" if _struct(hint) else "list"
    if origin is dict or _struct(hint) or hint is dict:
        return "table"
    if origin is list:
        return "list"
    return {str: "text", int: "number", bool: "true or false"}.get(hint, "value")


def _default(field: Any) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return ""
    if field.default is msgspec.NODEFAULT:
        return "**needed**"
    if field.default is None or field.default == () or isinstance(field.default, msgspec.Struct):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else repr(field.default)}`".replace(
        "'", '"'
    )
