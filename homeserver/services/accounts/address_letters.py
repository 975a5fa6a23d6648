"""What letters to people's own addresses say, and the page behind their link, in English and Ukrainian.

Templates are in `templates/`, and beside them a file of texts for each language.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from homeserver.ports.addresses import AddressCheck
from homeserver.ports.mail import Letter
from homeserver.services.letter_templates import letter_templates

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("en", "uk")

State = Literal["ask", "done", "taken"]


class AddressLetters:
    """Writes letters and pages."""

    def __init__(self, server_name: str) -> None:
        self._server_name = server_name

    @cached_property
    def _texts(self) -> dict[str, dict[str, str]]:
        return {lang: orjson.loads((_TEMPLATES / f"{lang}.json").read_bytes()) for lang in LANGUAGES}

    @cached_property
    def _templates(self) -> Environment:
        return letter_templates(_TEMPLATES)

    def letter(self, check: AddressCheck, link: str, hours: int) -> Letter:
        """The letter with the link."""
        return self._letter(check, _kind(check), check.user_id or "", link, hours)

    def taken(self, check: AddressCheck, owner: str) -> Letter:
        """The letter to somebody whose address is `owner`'s already, and was to be another's."""
        return self._letter(check, "taken", owner, None, 0)

    def page(self, check: AddressCheck, state: State) -> str:
        """The page behind the link."""
        texts = self._of(check.lang, check.user_id or "", check.address, 0)
        text = texts["page_taken"] if state == "taken" else texts[f"{_kind(check)}_{state}"]
        values = {"title": texts[f"{_kind(check)}_subject"], "text": text, "ask": state == "ask"}
        button = texts[f"{_kind(check)}_button"]
        return self._templates.get_template("page.html").render(t=texts, button=button, **values)

    def _letter(self, check: AddressCheck, kind: str, user_id: str, link: str | None, hours: int) -> Letter:
        texts = self._of(check.lang, user_id, check.address, hours)
        values = {"t": texts, "subject": texts[f"{kind}_subject"], "text": texts[f"{kind}_letter"], "link": link}
        text, html = (self._templates.get_template(f"address_letter.{end}").render(values) for end in ("txt", "html"))
        return Letter(check.address, values["subject"], text, html)

    def _of(self, lang: str, user_id: str, address: str, hours: int) -> dict[str, Any]:
        named = {"server": self._server_name, "user": user_id, "address": address, "hours": hours}
        language = lang if lang in LANGUAGES else LANGUAGES[0]
        return {"lang": language, **{key: text.format(**named) for key, text in self._texts[language].items()}}


def _kind(check: AddressCheck) -> str:
    """Which texts: it is not always known who wants to add an address."""
    return "anybody" if check.purpose == "add" and check.user_id is None else check.purpose
