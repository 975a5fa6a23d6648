"""Glob patterns in linear time.

Between its stars a pattern is plain text: the parts are searched for one after the other, each at its first place,
which leaves the most room for the next. Where that does not decide it (`?`, or many places that fail at a word's
end) the pattern is run as an automaton whose states are the bits of one integer, so that no pattern, however many
wildcards it has, makes matching slower than one step per character. Regular expressions would backtrack.
spec: appendices#glob-style-matching
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MOST_PLACES = 200
"""Places that are looked at before the automaton, which needs one step per character, is the faster way."""
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled pattern; matching ignores case."""

    steps: Mapping[str, int]
    """Character → bits of the states from which it leads on."""
    any_step: int
    """Bits of the states from which any character leads on (`?`)."""
    loops: int
    """Bits of the states that any character leaves as they are (`*`)."""
    accept: int
    literals: tuple[str, ...]
    """The parts between wildcards: a text that lacks one of them cannot match."""
    parts: tuple[str, ...] | None
    """What stands before, between and behind the stars, empty texts included; None if the pattern has a `?`."""

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        text = text.lower()
        if self.parts is not None:
            return _match_parts(self.parts, text)
        if not self._may_match(text):
            return False
        steps, any_step, loops = self.steps.get, self.any_step, self.loops
        state = 1
        for character in text:
            state = ((state & (steps(character, 0) | any_step)) << 1) | (state & loops)
            if not state:
                return False
        return bool(state & self.accept)

    def matches_words(self, text: str) -> bool:
        """Whether any part of the text that starts and ends at a word boundary matches.

        spec: client-server-api#conditions-1 (the special case of `content.body`)
        """
        text = text.lower()
        if not self._may_match(text):
            return False
        if self.parts is not None and (found := _find_words(self.parts, text)) is not None:
            return found
        steps, any_step, loops, accept = self.steps.get, self.any_step, self.loops, self.accept
        state = 0
        before_is_word = False
        for character in text:
            is_word = character in _WORD
            if not (before_is_word and is_word):
                state |= 1
                if state & accept:
                    return True
            state = ((state & (steps(character, 0) | any_step)) << 1) | (state & loops)
            before_is_word = is_word
        return bool((state | 1) & accept)

    def _may_match(self, text: str) -> bool:
        return all(literal in text for literal in self.literals)


def _match_parts(parts: tuple[str, ...], text: str) -> bool:
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return text == first
    if not (text.startswith(first) and text.endswith(last)):
        return False
    end = _after(parts[1:-1], text, len(first))
    return end is not None and end <= len(text) - len(last)


def _find_words(parts: tuple[str, ...], text: str) -> bool | None:
    """As `Glob.matches_words`; None if too many places would have to be looked at."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return _first_place(text, first, 0, ends=True)[1]
    start, decided = _first_place(text, first, 0, ends=False) if first else (0, True)
    if not decided:
        return decided
    end = _after(parts[1:-1], text, start + len(first))
    if end is None:
        return False
    return _last_place(text, last, end) if last else True


def _after(parts: tuple[str, ...], text: str, start: int) -> int | None:
    """Where the last of the parts ends if each stands at its first place behind the one before; None if one lacks."""
    for part in parts:
        place = text.find(part, start)
        if place < 0:
            return None
        start = place + len(part)
    return start


def _first_place(text: str, part: str, start: int, *, ends: bool) -> tuple[int, bool | None]:
    """The first place of `part` where a word may begin (and end, if `ends`) and whether there is one, if decided."""
    for _ in range(_MOST_PLACES):
        start = text.find(part, start)
        if start < 0:
            return 0, False
        if _is_boundary(text, start) and (not ends or _is_boundary(text, start + len(part))):
            return start, True
        if start == len(text):
            return 0, False
        start += 1
    if not part or not _WORD.issuperset(part):
        return 0, None
    # Linear, too: a word can only begin behind what is none, so that no character is compared twice.
    found = re.compile(f"(?<![A-Za-z0-9_]){part}" + ("(?![A-Za-z0-9_])" if ends else "")).search(text, start)
    return (0, False) if found is None else (found.start(), True)


def _last_place(text: str, part: str, start: int) -> bool | None:
    """Whether `part` stands at or behind `start` with a word's end behind it."""
    end = len(text)
    for _ in range(_MOST_PLACES):
        place = text.rfind(part, start, end)
        if place < 0:
            return False
        if _is_boundary(text, place + len(part)):
            return True
        end = place + len(part) - 1
    if not part or not _WORD.issuperset(part):
        return None
    return re.compile(f"{part}(?![A-Za-z0-9_])").search(text, start) is not None


def _is_boundary(text: str, index: int) -> bool:
    return index in (0, len(text)) or text[index - 1] not in _WORD or text[index] not in _WORD


def compile_glob(pattern: str) -> Glob:
    """A glob: `*` stands for any characters, `?` for exactly one."""
    literals = tuple(part for part in pattern.lower().replace("?", "*").split("*") if part)
    return _compile(pattern.lower(), literals, wildcards=True)


def compile_literal(text: str) -> Glob:
    """A pattern without wildcards that matches `text` itself."""
    return _compile(text.lower(), (text.lower(),), wildcards=False)


def _compile(pattern: str, literals: tuple[str, ...], *, wildcards: bool) -> Glob:
    steps: dict[str, int] = {}
    any_step = loops = 0
    state = 1
    for character in pattern:
        if wildcards and character == "*":
            loops |= state
            continue
        if wildcards and character == "?":
            any_step |= state
        else:
            steps[character] = steps.get(character, 0) | state
        state <<= 1
    parts = None if any_step else tuple(pattern.split("*")) if wildcards else (pattern,)
    return Glob(steps, any_step, loops, state, literals, parts)
