"""What letters say, and the pages behind their links, in English and Ukrainian.

Templates are in `templates/`, and beside them a file of texts for each language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.ports.mail import Letter
from homeserver.services.letter_templates import letter_templates

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
_MAX_LINE = 300
_LANGUAGES = ("en", "uk")


@dataclass(frozen=True, slots=True)
class RoomDigest:
    """What was not read in one room, oldest first."""

    name: str | None
    count: int
    senders: Sequence[str]
    lines: Sequence[tuple[str, str]]
    """Sender and text, of what may be shown."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What one letter tells."""

    rooms: Sequence[RoomDigest]
    invites: Sequence[str]
    """Who invites."""
    more: bool = False

    @property
    def count(self) -> int:
        """Messages and invitations."""
        return sum(room.count for room in self.rooms) + len(self.invites)


class Letters:
    """Writes letters and pages."""

    def __init__(self, server_name: str, home: str) -> None:
        """`home`: where the messages can be read."""
        self._server_name = server_name
        self._home = home
        self._languages = {lang: orjson.loads((_TEMPLATES / f"{lang}.json").read_bytes()) for lang in _LANGUAGES}

    @cached_property
    def _templates(self) -> Environment:
        return letter_templates(_TEMPLATES)

    def digest(self, to: str, lang: str, user_id: str, digest: Digest, unsubscribe: str) -> Letter:
        """What was not read."""
        texts = self._texts(lang, user_id)
        rooms = [
            {
                "name": room.name or texts["conversation"],
                "count": _counted(texts, "messages", room.count),
                "senders": ", ".join(room.senders),
                "lines": [(sender, shortened(text)) for sender, text in room.lines],
                "hidden": len(room.lines) < room.count,
            }
            for room in digest.rooms
        ]
        invites = [texts["invites"].format(sender=sender) for sender in digest.invites]
        values = {"rooms": rooms, "invites": invites, "more": digest.more, "unsubscribe": unsubscribe}
        subject = _counted(texts, "unread", digest.count)
        return Letter(to, subject, *self._both("digest", texts, subject=subject, **values), unsubscribe)

    def confirmation(self, to: str, lang: str, user_id: str, confirm: str) -> Letter:
        """Whether somebody wants letters."""
        texts = self._texts(lang, user_id)
        subject = texts["confirm_subject"]
        return Letter(to, subject, *self._both("confirm", texts, subject=subject, confirm=confirm))

    def page(self, purpose: str, lang: str, user_id: str, state: str) -> str:
        """The page behind a link. `state`: `ask`, `done`, or `gone`."""
        texts = self._texts(lang, user_id)
        text = texts[purpose] if state == "ask" else texts[f"{purpose}_done"] if state == "done" else texts["gone"]
        values = {"title": texts[f"{purpose}_title"], "text": text, "ask": state == "ask"}
        button = texts["agree"] if purpose == "confirm" else texts["stop"]
        return self._templates.get_template("page.html").render(t=texts, button=button, **values)

    def _both(self, template: str, texts: dict[str, Any], **values: Any) -> tuple[str, str]:
        text, html = (self._templates.get_template(f"{template}.{kind}") for kind in ("txt", "html"))
        common = {"t": texts, "home": self._home, **values}
        return text.render(common), html.render(common)

    def _texts(self, lang: str, user_id: str) -> dict[str, Any]:
        language = next((known for known in _LANGUAGES if lang.lower().startswith(known)), _LANGUAGES[0])
        # What is not known yet stays what it is.
        named = {"server": self._server_name, "user": user_id, "sender": "{sender}"}
        texts: dict[str, Any] = {"lang": language}
        for key, text in self._languages[language].items():
            texts[key] = [form.format(**named) for form in text] if isinstance(text, list) else text.format(**named)
        return texts


def shortened(text: str) -> str:
    """One line of a letter."""
    line = " ".join(text[: _MAX_LINE * 4].split())
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 1] + "…"


def _counted(texts: dict[str, Any], what: str, number: int) -> str:
    """`3 new messages`, in the language of the texts."""
    forms: list[str] = texts[what]
    if texts["lang"] == "uk":
        few = number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14)
        form = 0 if number % 10 == 1 and number % 100 != 11 else 1 if few else 2
    else:
        form = 0 if number == 1 else 1
    return f"{number} {forms[form]}"
