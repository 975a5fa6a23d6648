"""What a page says of itself in JSON-LD (schema.org): title, description, picture, site.

Only what stands in the page: contexts are not fetched, and of the vocabulary a few names are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

_MOST_NODES = 2_000
# What pages mention beside what they are about.
_BESIDE = frozenset(
    """website organization newsmediaorganization corporation person breadcrumblist listitem imageobject videoobject
    searchaction readaction entrypoint propertyvaluespecification aggregaterating rating review offer postaladdress
    sitenavigationelement wpheader wpfooter contactpoint""".split()
)
_LAST = frozenset(("webpage", "collectionpage", "itempage", "itemlist"))


@dataclass(slots=True)
class LinkedFacts:
    """What was found, as it stands there."""

    title: str | None = None
    description: str | None = None
    image: str | None = None
    site: str | None = None


def read_json_ld(texts: Sequence[str]) -> LinkedFacts:
    """What the blocks of a page say; nothing of what is no JSON."""
    facts = LinkedFacts()
    nodes = [node for text in texts for node in _nodes(_parsed(text))]
    about = [node for node in nodes if not _kinds(node) & _BESIDE and _kinds(node)]
    for node in sorted(about, key=lambda node: bool(_kinds(node) & _LAST)):
        if facts.title is None:
            facts.title = _text(node.get("headline")) or _text(node.get("name"))
        if facts.title is not None:
            facts.description = _text(node.get("description"))
            facts.image = _address(node.get("image")) or _address(node.get("thumbnailUrl"))
            publisher = node.get("publisher")
            facts.site = _text(publisher.get("name")) if isinstance(publisher, dict) else None
            break
    sites = (_text(node.get("name")) for node in nodes if "website" in _kinds(node))
    facts.site = next((name for name in sites if name), None) or facts.site
    return facts


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text.strip().encode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return None


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """The top-level objects and those of a graph; values of properties are not looked into."""
    waiting, seen = [value], 0
    while waiting and seen < _MOST_NODES:
        seen += 1
        found = waiting.pop(0) if len(waiting) < 16 else waiting.pop()
        if isinstance(found, list):
            waiting.extend(found[:_MOST_NODES])
        elif isinstance(found, dict):
            yield found
            waiting.extend(found[name] for name in ("@graph", "mainEntity") if name in found)


def _kinds(node: dict[str, Any]) -> frozenset[str]:
    kinds = node.get("@type")
    listed = kinds[:10] if isinstance(kinds, list) else [kinds]
    return frozenset(kind.rpartition("/")[2].lower() for kind in listed if isinstance(kind, str))


def _text(value: Any) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):  # a value with its language
        value = value.get("@value")
    return value if isinstance(value, str) and value.strip() else None


def _address(value: Any) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        value = value.get("url") or value.get("contentUrl") or value.get("@id")
    return value if isinstance(value, str) else None
