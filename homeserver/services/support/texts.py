"""Texts of strangers, made fit to be shown: names, page addresses, answers of a form.

Visitors' words are never markup. What turns the direction of reading, or is not seen at all, is taken out of names
and addresses, so that they cannot pass for others; messages keep what people write.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape
from urllib.parse import urlsplit, urlunsplit

_NAME = 60
_PAGE = 300
_TITLE = 120
_ANSWER = 500
_EXCERPT = 140
_HIDDEN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")
_MAIL = re.compile(r"[^@\s<>\"]{1,64}@[^@\s<>\"]{1,190}")


def clean(text: str, most: int) -> str:
    """One line without hidden characters, at most `most` long."""
    text = unicodedata.normalize("NFC", _HIDDEN.sub("", text[: most * 8].replace("\n", " ").replace("\t", " ")))
    text = _SPACE.sub(" ", text).strip()
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def name_of(text: str) -> str:
    """A visitor's name; may be empty. Nobody is called like a user id."""
    return clean(text, _NAME).lstrip("@#!$+").strip()


def mail_of(text: str) -> str:
    """An e-mail address that could be one, or nothing."""
    text = clean(text, 254)
    return text if _MAIL.fullmatch(text) else ""


def answer_of(text: str) -> str:
    """An answer of the form."""
    return clean(text, _ANSWER)


def title_of(text: str) -> str:
    """A page's title."""
    return clean(text, _TITLE)


def page_of(text: str, *, keep_query: bool) -> str:
    """A page's address, http or https only, without fragment and (unless asked for) query; else nothing."""
    try:
        parts = urlsplit(_HIDDEN.sub("", text[:2_000]))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            return ""
        kept = urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query if keep_query else "", ""))
    except ValueError:
        return ""
    return kept if len(kept) <= _PAGE else urlunsplit((parts.scheme, parts.netloc, "/", "", ""))


def path_of(page: str) -> str:
    """What a page is called in a room's name."""
    return clean(urlsplit(page).path or "/", 40) if page else ""


def excerpt_of(text: str) -> str:
    """The beginning of a message."""
    return clean(text, _EXCERPT)


def html(text: str) -> str:
    """As a text in HTML."""
    return escape(text, quote=True)
