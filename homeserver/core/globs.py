"""Glob patterns in linear time.

A pattern is run as an automaton whose states are the bits of one integer, so that no pattern, however many wildcards
it has, makes matching slower than one step per character. Regular expressions would backtrack.
spec: appendices#glob-style-matching
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        text = text.lower()
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
    return Glob(steps, any_step, loops, state, literals)
