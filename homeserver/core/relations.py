"""How an event points to another one.  spec: client-server-api#forming-relationships-between-events"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BUNDLED = ("m.thread", "m.replace", "m.reference")
"""Relations that are told with the event they point to.  spec: client-server-api#aggregations-of-child-events"""


@dataclass(frozen=True, slots=True)
class Relation:
    """What `m.relates_to` says, with the key of an annotation."""

    event_id: str
    rel_type: str
    key: str | None = None


def relation_of(content: Mapping[str, Any]) -> Relation | None:
    """The relation in an event's content; a malformed one is none."""
    relation = content.get("m.relates_to")
    if not isinstance(relation, dict):
        return None
    event_id, rel_type, key = relation.get("event_id"), relation.get("rel_type"), relation.get("key")
    if not isinstance(event_id, str) or not isinstance(rel_type, str):
        return None
    return Relation(event_id, rel_type, key if isinstance(key, str) else None)
