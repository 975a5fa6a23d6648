"""What commands write for people: texts of strangers must not become commands of a terminal, nor lines of their own."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

# Controls of both kinds, what changes the direction or hides letters, other ends of lines, and halves of characters.
_UNSAFE = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f]"
)
_ENDS = re.compile("[\\t\\n]")


def escaped(text: str) -> str:
    """`text` on one line, with what a terminal would obey or not show written as `\\u001b`."""
    return _ENDS.sub(_code, _UNSAFE.sub(_code, text))


def write(text: str) -> None:
    """Write a text of ours, lines and tabs as they are."""
    out = sys.stdout
    line = _UNSAFE.sub(_code, text) + "\n"
    out.write(line.encode(out.encoding or "utf-8", "backslashreplace").decode(out.encoding or "utf-8"))
    out.flush()


def write_row(fields: Sequence[str]) -> None:
    """Write a line of fields that strangers may have written, with a tab between."""
    write("\t".join(map(escaped, fields)))


def write_error(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{escaped(text)}\n")


def _code(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
