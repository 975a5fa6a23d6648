"""Dot-separated property paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.paths import look_up, split_path


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("content.body", ["content", "body"]),
        (r"content.m\.relates_to", ["content", "m.relates_to"]),
        (r"content.m\\foo", ["content", "m\\foo"]),
        (r"a\x", ["a\\x"]),
        ("a\\", ["a\\"]),
        ("", [""]),
        ("a..b", ["a", "", "b"]),
    ],
)
def test_split(path: str, keys: list[str]) -> None:
    assert split_path(path) == keys


@given(st.lists(st.text("ab.\\", max_size=4), min_size=1))
def test_escaping_is_undone(keys: list[str]) -> None:
    path = ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in keys)
    assert split_path(path) == keys


def test_look_up() -> None:
    event = {"content": {"m.relates_to": {"rel_type": "m.thread"}, "none": None}}
    assert look_up(event, ["content", "m.relates_to", "rel_type"], "absent") == "m.thread"
    assert look_up(event, ["content", "none"], "absent") is None
    assert look_up(event, ["content", "none", "deeper"], "absent") == "absent"
    assert look_up(event, ["content", "other"], "absent") == "absent"
