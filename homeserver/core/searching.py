"""The words of a text, as an index of messages holds them, and what somebody looks for.

Both go through one folding, so that a search finds what people mean to be the same: case and compatibility forms,
accents of Latin letters, apostrophes (Ukrainian has several), the two Ukrainian letters for g and stress marks make no
difference. Scripts that write no spaces, and Korean, whose words change their ends, have no words to cut out: of their
runs every pair of neighbouring characters is held, and the last one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from homeserver.core.event import Event
from homeserver.core.folding import folded
from homeserver.core.relations import relation_of

MAX_WORDS = 1_000
"""Different words of one text that are held; what is behind them is not found."""
MAX_TERMS = 16
"""Words of one search."""
_MAX_TEXT = 16_384
_MAX_WORD = 48
_SHORTEST_PREFIX = 3  # shorter ones would begin half of all words

# Han, kana, Hangul, and the scripts of Thai, Lao, Burmese, Khmer, Tibetan.
_RUNS = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff"
)
_PARTS = re.compile(rf"([{_RUNS}]+)|((?:[^\W_{_RUNS}]|[\u0900-\u0963\u0966-\u0dff])+)")
_APOSTROPHES = "'`\u00b4\u02b9\u02bc\u2018\u2019\u2032\uff07"
_FOLDED = str.maketrans(
    {
        char: base[0]
        for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
        if (base := unicodedata.normalize("NFD", char := chr(code)))[0].isascii() and len(base) > 1
    }
    | dict.fromkeys(map(chr, range(0x300, 0x370)), "")  # stress marks, and accents that have no letter of their own
    | dict.fromkeys([*_APOSTROPHES, "\u00ad", "\u200d"], "")
    | {"\u0491": "\u0433", "\u0451": "\u0435"}  # Ukrainian ghe with upturn, Russian io
)


@dataclass(frozen=True, slots=True)
class Term:
    """One word that is looked for: the index must hold each of `words`, exactly or (`is_prefix`) as a beginning."""

    text: str
    words: tuple[str, ...]
    is_prefix: bool
    is_run: bool
    """Characters without spaces: the text must hold them as they stand."""


def fold(text: str) -> str:
    """The text as words are cut from it: bounded, in lower case, without what makes no difference."""
    text = text[:_MAX_TEXT]
    if text.isascii():
        return text.lower().replace("'", "").replace("`", "")
    return folded(text).translate(_FOLDED)


def words_of(text: str) -> list[str]:
    """The different words of a text, in its order; at most MAX_WORDS."""
    found: dict[str, None] = {}
    for run, word in _PARTS.findall(fold(text)):
        if word:
            found[word[:_MAX_WORD]] = None
        else:
            found.update(dict.fromkeys(_pairs(run)))
        if len(found) >= MAX_WORDS:
            break
    return list(found)[:MAX_WORDS]


def terms_of(search_term: str) -> list[Term]:
    """What a search looks for; none if there is no letter or digit in it."""
    terms: dict[str, Term] = {}
    for run, word in _PARTS.findall(fold(search_term)):
        if word:
            text = word[:_MAX_WORD]
            terms[text] = Term(text, (text,), len(text) >= _SHORTEST_PREFIX, is_run=False)
        elif len(run) == 1:
            terms[run] = Term(run, (run,), is_prefix=True, is_run=True)
        else:
            pairs = tuple(dict.fromkeys(run[start : start + 2] for start in range(len(run) - 1)))
            terms[run] = Term(run, pairs[:MAX_TERMS], is_prefix=False, is_run=True)
        if len(terms) == MAX_TERMS:
            break
    return list(terms.values())


def rank_of(terms: Sequence[Term], text: str) -> float:
    """How closely a text matches: 0.0 unless every term is in it, more for whole words and for short texts."""
    folded = fold(text)
    words = [word[:_MAX_WORD] for _, word in _PARTS.findall(folded) if word]
    score = 0.0
    for term in terms:
        if term.is_run:
            if term.text not in folded:
                return 0.0
            score += 1.0
        elif term.text in words:
            score += 1.0
        elif term.is_prefix and any(word.startswith(term.text) for word in words):
            score += 0.5
        else:
            return 0.0
    return score / (1.0 + len(folded) / 400.0)


def highlights_of(terms: Sequence[Term], text: str) -> set[str]:
    """The words of a text, as they are written there, that a client should mark."""
    marked: set[str] = set()
    for written in re.findall(rf"[\w{_APOSTROPHES}]+", text[:_MAX_TEXT]):
        folded = fold(written)
        for term in terms:
            if term.is_run and term.text in folded:
                marked.add(term.text)
            elif folded == term.text or (term.is_prefix and folded.startswith(term.text)):
                marked.add(written)
    return marked


def _pairs(run: str) -> Iterator[str]:
    for start in range(len(run) - 1):
        yield run[start : start + 2]
    yield run[-1]


class Kind(Enum):
    """What can be searched.  spec: client-server-api#room_events"""

    BODY = "content.body"
    NAME = "content.name"
    TOPIC = "content.topic"


TYPES = {"m.room.message": Kind.BODY, "m.room.name": Kind.NAME, "m.room.topic": Kind.TOPIC}


def searchable(event: Event) -> tuple[Kind, str] | None:
    """What an event says to those who search, if it says anything: an edit what it puts in the place of the old."""
    kind = TYPES.get(event.type)
    if kind is None or (kind is Kind.BODY) is event.is_state:
        return None
    content: Any = event.content
    if kind is Kind.BODY:
        if (relation := relation_of(content)) is not None and relation.rel_type == "m.replace":
            content = content.get("m.new_content")
        return _text(kind, content, "body")
    if kind is Kind.NAME:
        return _text(kind, content, "name")
    return _text(kind, content, "topic") or _text(kind, _plain(content), "body")


def _text(kind: Kind, content: Any, key: str) -> tuple[Kind, str] | None:
    value = content.get(key) if isinstance(content, dict) else None
    return (kind, value) if isinstance(value, str) and value else None


def _plain(content: Any) -> Any:
    """The plain representation of a topic.  spec: client-server-api#mroomtopic"""
    topic = content.get("m.topic")
    texts = topic.get("m.text") if isinstance(topic, dict) else None
    for one in texts if isinstance(texts, list) else ():
        if isinstance(one, dict) and one.get("mimetype", "text/plain") == "text/plain":
            return one
    return None
