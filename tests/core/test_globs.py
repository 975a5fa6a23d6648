"""Globs: equal to a plain reference, and linear."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core import globs
from homeserver.core.globs import Glob, compile_glob, compile_literal

patterns = st.text("ab*?_-", max_size=8) | st.text("ab*-", max_size=8)
texts = st.text("abAB_- ", max_size=12)


def glob_matches(pattern: str, text: str) -> bool:
    """The reference: the definition, by recursion."""

    @cache
    def match(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return match(p + 1, t) or (t < len(text) and match(p, t + 1))
        return t < len(text) and pattern[p] in ("?", text[t]) and match(p + 1, t + 1)

    return match(0, 0)


def is_boundary(text: str, index: int) -> bool:
    """A place at either end of the text or beside a character that is no word character."""
    beside = text[max(index - 1, 0) : index + 1]
    return index in (0, len(text)) or not all(character.isalnum() or character == "_" for character in beside)


@given(patterns, texts)
def test_equals_the_definition(pattern: str, text: str) -> None:
    assert compile_glob(pattern).matches(text) == glob_matches(pattern.lower(), text.lower())


@given(patterns, texts)
def test_words_are_any_part_between_boundaries(pattern: str, text: str) -> None:
    lowered = text.lower()
    boundaries = [index for index in range(len(text) + 1) if is_boundary(text, index)]
    expected = any(
        glob_matches(pattern.lower(), lowered[start:end]) for start in boundaries for end in boundaries if start <= end
    )
    assert compile_glob(pattern).matches_words(text) == expected


@given(st.text("ab*?_- ", max_size=6), texts)
def test_literals_know_no_wildcards(needle: str, text: str) -> None:
    assert compile_literal(needle).matches(text) == (needle.lower() == text.lower())


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("lunc?*", "Lunch plans", True),
        ("lunc?*", "LUNCH", True),
        ("lunc?*", " lunch", False),
        ("lunc?*", "lunc", False),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
    ],
)
def test_examples_of_whole_values(pattern: str, text: str, expected: bool) -> None:
    assert compile_glob(pattern).matches(text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("ex*ple", "An example event.", True),
        ("ex*ple", "exple", True),
        ("ex*ple", "An exciting triple-whammy", True),
        ("ex*ple", "An examples event", False),
        ("cake", "pancake", False),
        ("cake", "a CAKE!", True),
        ("cake", "Bücake", True),  # only ASCII letters make words
        ("@room", "hello @room", True),
    ],
)
def test_examples_of_words(pattern: str, text: str, expected: bool) -> None:
    assert compile_glob(pattern).matches_words(text) is expected


@given(st.text("ab*-", max_size=6), st.text("ab-", max_size=20), st.integers(0, 3))
def test_few_places_or_many_give_the_same(pattern: str, text: str, places: int) -> None:
    # The longer way round must not differ from the shorter one.
    glob = compile_glob(pattern)
    expected = replace(glob, parts=None).matches_words(text)
    assert glob.matches_words(text) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(globs, "_MOST_PLACES", places)
        assert glob.matches_words(text) == expected
    assert glob.matches(text) == replace(glob, parts=None).matches(text)


class _Counting(str):
    """A text that counts how many of its characters are looked at."""

    looked_at = 0

    def lower(self) -> str:
        return self

    def __iter__(self):  # type: ignore[no-untyped-def]
        for character in super().__iter__():
            self.looked_at += 1
            yield character


@pytest.mark.parametrize("pattern", ["*a" * 300 + "b", "a?" * 300 + "b", "*a?" * 200 + "*b"])
@pytest.mark.parametrize("match", [Glob.matches, Glob.matches_words])
def test_every_character_is_looked_at_once(pattern: str, match) -> None:  # type: ignore[no-untyped-def]
    text = _Counting("a" * 20_000 + "b" + "a" * 20_000)
    match(compile_glob(pattern), text)
    assert text.looked_at <= len(text)
