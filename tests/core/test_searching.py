"""Cutting texts into words."""

from __future__ import annotations

import time

from hypothesis import example, given
from hypothesis import strategies as st

from homeserver.core.searching import MAX_TERMS, MAX_WORDS, fold, highlights_of, rank_of, terms_of, words_of


@given(st.text(max_size=200), st.text(max_size=200))
@example("İİ", "i")
@example("ǰ", "j")
@example("都", "東京都")
def test_a_text_is_found_by_each_of_its_parts(text: str, more: str) -> None:
    """What the index holds and what a search asks for are cut alike."""
    whole = f"{text} {more}"
    terms = terms_of(text)
    held = set(words_of(whole))
    for term in terms:
        for word in term.words:
            assert word in held or (term.is_prefix and any(one.startswith(word) for one in held))
    if terms:
        assert rank_of(terms, whole) > 0


@given(st.text())
def test_words_hold_no_syntax(text: str) -> None:
    for word in (*words_of(text), *(word for term in terms_of(text) for word in term.words)):
        assert word and not set(word) & set(" \"'\\()*:&|!<>-\0\ue000\ue001") and word == fold(word)


@given(st.text())
def test_work_is_bounded(text: str) -> None:
    assert len(words_of(text)) <= MAX_WORDS
    assert len(terms_of(text)) <= MAX_TERMS


def test_the_worst_texts_cost_little() -> None:
    for piece in ("a" * 64_000, "東" * 21_000, "a\u0301" * 20_000, "ﷺ" * 21_000, "'" * 64_000, "a " * 32_000):
        began = time.process_time()
        words_of(piece)
        rank_of(terms_of(piece[:256]), piece)
        assert time.process_time() - began < 1.0


def test_highlights_are_as_written() -> None:
    assert highlights_of(terms_of("caf borsch"), "Café: borscht, or CAFE?") == {"Café", "borscht", "CAFE"}
