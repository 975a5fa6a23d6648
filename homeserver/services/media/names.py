"""Content types and file names of media: what is kept of what clients say, and what is said to browsers.

spec: client-server-api#serving-inline-content
"""

from __future__ import annotations

import re

UNKNOWN_TYPE = "application/octet-stream"
_MOST_NAME = 255
# Controls, surrogates, line ends and what turns the reading direction. What joins emoji stays.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_MOST_SUFFIX = 16

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE = re.compile(
    rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"[ !#-\[\]-~]*\"))*[ \t]*;?[ \t]*", re.ASCII
)

# spec: client-server-api#serving-inline-content
INLINE_TYPES = frozenset(
    """text/css text/plain text/csv application/json application/ld+json
    image/jpeg image/gif image/png image/apng image/webp image/avif
    video/mp4 video/webm video/ogg video/quicktime
    audio/mp4 audio/webm audio/aac audio/mpeg audio/ogg audio/wave audio/wav audio/x-wav audio/x-pn-wav audio/flac
    audio/x-flac""".split()
)


def content_type(given: str | None) -> str:
    """The content type to keep: as given if it is one, else that of unknown content.

    It goes into a header as it is kept, so it is printable ASCII of at most 255 characters.
    """
    text = (given or "").strip(" \t")
    return text if len(text) <= 255 and _TYPE.fullmatch(text) else UNKNOWN_TYPE


def essence(kept: str) -> str:
    """The type alone, without parameters, in lower case: what decisions are made by."""
    return kept.partition(";")[0].strip(" \t").lower()


def is_inline(kept: str) -> bool:
    """Whether a browser may show content of this type in place."""
    return essence(kept) in INLINE_TYPES


def file_name(given: str | None) -> str | None:
    """The file name to keep; None if nothing is left of it.

    Folders, control characters and what turns the reading direction are left out: no file on anybody's disk has them,
    or means what it shows. A name that is too long keeps its ending.
    """
    if not given:
        return None
    name = re.split(r"[/\\]", given)[-1]
    name = _HIDDEN.sub("", name).strip(" .")
    if len(name) > _MOST_NAME:
        stem, dot, suffix = name.rpartition(".")
        if not dot or len(suffix) > _MOST_SUFFIX:
            return name[:_MOST_NAME]
        name = f"{stem[: _MOST_NAME - len(suffix) - 1]}.{suffix}"
    return name or None
