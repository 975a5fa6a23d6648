"""What a web page says of itself: OpenGraph, Twitter cards, JSON-LD, title, description, where its oEmbed is.

A scanner of our own instead of a parser: it makes no tree, so nesting costs nothing, goes through the text once, and
decodes entities once. It wants the few elements a preview is made of and steps over all others.
spec: client-server-api#get_matrixclientv1mediapreview_url
"""

from __future__ import annotations

import codecs
import html
import re
from dataclasses import dataclass, field
from html.entities import html5
from urllib.parse import quote, urljoin, urlsplit

from homeserver.services.media.jsonld import read_json_ld

MAX_TITLE = 400
MAX_DESCRIPTION = 2_000
MAX_ADDRESS = 4_096
_MOST_METAS = 500
_MOST_TEXT = 4_000
_LONGEST_TAG = 256 * 1024
_PRESCAN = 4_096
_MOST_LINKED = 8
_LONGEST_LINKED = 256 * 1024

# All repetition is possessive: a tag takes no longer than its length.
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)((?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+)>")
_ATTRIBUTE = re.compile(r"([^\s\"'>/=]++)(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++))?")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]{1,40})", re.IGNORECASE)
_HEADER_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([a-zA-Z0-9_:.-]{1,40})", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0e-\x1f\x7f]")

_RAW = frozenset(("script", "style", "noscript", "template", "iframe", "textarea", "svg", "math", "select", "object"))
_FIELDS = {"title": "title", "h1": "heading", "p": "paragraph"}
_BOUNDARIES = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHARSETS = (
    *("utf-", "cp", "iso8859", "iso2022", "koi8", "mac", "gb", "big5", "euc", "shift_jis", "hz", "tis", "kz1048"),
    *("ptcp154", "johab", "ascii"),
)
# What pages call one thing and mean another.  Encoding standard, 4.2
_MEANT = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "utf-16": "utf-8",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
    "utf-7": "utf-8",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
}


@dataclass(slots=True)
class Page:
    """What was found. Values are decoded, folded and cut."""

    title: str | None = None
    description: str | None = None
    site: str | None = None
    kind: str | None = None
    image: str | None = None
    """An http or https address, complete."""
    url: str | None = None
    oembed: str | None = None
    """Where more is told, as JSON."""
    has_own_title: bool = False
    """Whether the title was meant for previews, not for the browser's tab."""


@dataclass(slots=True)
class _Found:
    metas: dict[str, str] = field(default_factory=dict)
    base: str | None = None
    title: str | None = None
    heading: str | None = None
    paragraph: str | None = None
    oembed: str | None = None
    linked: list[str] = field(default_factory=list)


def decoded(data: bytes, content_type: str | None) -> str:
    """The text of a page: a byte order mark counts most, then the header, then what the page says, then UTF-8.

    HTML standard, 13.2.3.2
    """
    for mark, encoding in _BOUNDARIES:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    header = _HEADER_CHARSET.search(content_type or "")
    named = _encoding(header[1]) if header else None
    if named is None and (meta := _META_CHARSET.search(data, 0, _PRESCAN)) is not None:
        named = _encoding(meta[1].decode("ascii"))
    if named is not None:
        return data.decode(named, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        # A page that was cut may end in half a letter.
        return data.decode("utf-8" if error.start > len(data) - 4 else "cp1252", "replace")


def _encoding(label: str) -> str | None:
    try:
        found = codecs.lookup(label)
    except (LookupError, ValueError):
        return None
    if not found.name.startswith(_CHARSETS):  # Python knows codecs that are no charsets
        return None
    return _MEANT.get(found.name, found.name)


def read_page(text: str, address: str) -> Page:
    """What the page at `address` says of itself."""
    found = _scan(text)
    metas = found.metas
    base = _absolute(address, found.base) or address
    linked = read_json_ld(found.linked)
    own_title = _first(metas, "og:title", "twitter:title") or linked.title
    image = _first(metas, "og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src")
    return Page(
        title=clean(own_title or found.title or found.heading, MAX_TITLE),
        description=clean(
            _first(metas, "og:description", "twitter:description", "description")
            or linked.description
            or found.paragraph,
            MAX_DESCRIPTION,
        ),
        site=clean(_first(metas, "og:site_name") or linked.site, MAX_TITLE),
        kind=clean(_first(metas, "og:type"), MAX_TITLE),
        image=_absolute(base, image or linked.image),
        url=_absolute(base, _first(metas, "og:url")),
        oembed=_absolute(base, found.oembed),
        has_own_title=own_title is not None,
    )


def clean(text: str | None, most: int) -> str | None:
    """Text for people: blanks folded, nothing that turns what is written after it, not too long; None if empty."""
    if text is None:
        return None
    folded = _TURNS.sub("", _BLANKS.sub(" ", text)).strip(" ")
    folded = folded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if len(folded) > most:
        folded = folded[: most - 1].rstrip("\u200d \ufe0f") + "…"
    return folded or None


def _first(metas: dict[str, str], *names: str) -> str | None:
    return next((metas[name] for name in names if metas.get(name, "").strip()), None)


def _absolute(base: str, address: str | None) -> str | None:
    """A complete http address, its blanks and letters encoded; None for anything else."""
    if not address or len(address) > MAX_ADDRESS:
        return None
    try:
        joined = urljoin(base, address.strip())
        parts = urlsplit(joined)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
    except ValueError:
        return None
    return quote(joined, safe="%/:?#[]@!$&'()*+,;=-._~")


# --- the scanner ---


def _scan(text: str) -> _Found:
    found, at = _Found(), 0
    while True:
        at = text.find("<", at)
        if at < 0:
            return found
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
            if end < 0:
                return found
            at = end + 3
            continue
        tag = _TAG.match(text, at, at + _LONGEST_TAG)
        if tag is None:
            # Text that looks like a tag, or one without an end: to the next end there is, if there is any.
            end = text.find(">", at)
            if end < 0:
                return found
            at = end + 1 if text[at + 1 : at + 2] in "!?/" else at + 1
            continue
        at = tag.end()
        if not tag[1]:
            at = _element(text, tag[2].lower(), tag[3], at, found)
            if at < 0:
                return found


def _element(text: str, name: str, attributes: str, at: int, found: _Found) -> int:
    """Look at an element that begins before `at`; where to go on, or -1 if the page ends in it."""
    if name == "meta":
        _meta(_attributes(attributes), found)
    elif name == "link" and found.oembed is None:
        link = _attributes(attributes)
        if "alternate" in link.get("rel", "").lower().split() and link.get("type", "").lower().strip() == (
            "application/json+oembed"
        ):
            found.oembed = link.get("href")
    elif name == "base" and found.base is None:
        found.base = _attributes(attributes).get("href")
    elif name == "title" and found.title is None:
        return _text_of(text, name, at, found)
    elif name == "h1" and found.heading is None:
        return _text_of(text, name, at, found)
    elif name == "p" and found.paragraph is None:
        return _text_of(text, name, at, found)
    elif name in _RAW and not attributes.endswith("/"):
        end = _behind(text, name, at)
        if name == "script" and "ld+json" in attributes and len(found.linked) < _MOST_LINKED:
            if _attributes(attributes).get("type", "").strip().lower() == "application/ld+json" and end > 0:
                found.linked.append(text[at : min(end, at + _LONGEST_LINKED)].rpartition("</")[0])
        return end
    return at


def _behind(text: str, name: str, at: int) -> int:
    end = re.compile(f"</{name}", re.IGNORECASE).search(text, at)
    return -1 if end is None else end.end()


def _text_of(text: str, name: str, at: int, found: _Found) -> int:
    """The text of a title, heading or paragraph; goes on behind its beginning, for what is inside."""
    end = re.compile(f"</{name}" if name != "p" else r"</p|<(?:p|div|h[1-6]|ul|ol|table|section)[\s>]", re.IGNORECASE)
    closing = end.search(text, at, at + _LONGEST_TAG)
    if closing is None:  # then none of the following has an end either
        setattr(found, _FIELDS[name], "")
        return at
    inner = text[at : closing.start()][:_MOST_TEXT]
    if name != "title":
        inner = _TAG.sub("", inner)
    value = html.unescape(inner).strip()
    if value:
        setattr(found, _FIELDS[name], value)
    return closing.start() if name == "title" else at


def _meta(attributes: dict[str, str], found: _Found) -> None:
    name = attributes.get("property") or attributes.get("name")
    content = attributes.get("content")
    if name is None or content is None or len(found.metas) >= _MOST_METAS:
        return
    key = name.strip().lower()
    if content.strip():
        found.metas.setdefault(key, content)  # ogp.me: in a conflict the first one counts


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _ATTRIBUTE.findall(text):
        plain = value[1:-1] if value[:1] in ("'", '"') else value
        found.setdefault(name.lower(), _unescaped(plain))
    return found


def _unescaped(value: str) -> str:
    """An attribute's value with its entities decoded, once."""
    if "&" not in value:
        return value
    parts = re.split(r"(&(?:[a-zA-Z][a-zA-Z0-9]*+;?|#[xX]?[0-9a-fA-F]++;?)=?)", value)
    return "".join(_entity(part) if part.startswith("&") else part for part in parts)


def _entity(text: str) -> str:
    if text.startswith("&#"):
        return html.unescape(text)
    if text.endswith(";"):
        return html.unescape(text) if text[1:] in html5 else text
    # Without a semicolon only whole names of the old kind count, and not before "=".
    return text if text.endswith("=") else html5.get(text[1:], text)
