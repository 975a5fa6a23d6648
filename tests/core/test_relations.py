"""Relations are read alike by everybody, and malformed ones by nobody."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.relations import Relation, relation_of


@pytest.mark.parametrize(
    ("relates_to", "expected"),
    [
        ({"event_id": "$a", "rel_type": "m.thread"}, Relation("$a", "m.thread")),
        ({"event_id": "$a", "rel_type": "m.annotation", "key": "👍"}, Relation("$a", "m.annotation", "👍")),
        ({"event_id": "$a", "rel_type": "m.annotation", "key": 5}, Relation("$a", "m.annotation")),
        ({"event_id": "$a"}, None),
        ({"rel_type": "m.thread"}, None),
        ({"event_id": ["$a"], "rel_type": "m.thread"}, None),
        ({"event_id": "$a", "rel_type": {}}, None),
        ("$a", None),
        (None, None),
    ],
)
def test_reading(relates_to: Any, expected: Relation | None) -> None:
    assert relation_of({"m.relates_to": relates_to}) == expected


def test_without() -> None:
    assert relation_of({}) is None
