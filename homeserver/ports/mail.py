"""Letters to people's e-mail addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class MailFailed(Exception):
    """The letter was not taken; perhaps it will be later."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter to one address."""

    to: str
    subject: str
    text: str
    html: str
    unsubscribe: str | None = None
    """An address at which one POST ends such letters.  Source: RFC 8058."""


class Mailer(Protocol):
    """Hands letters to a mail server."""

    async def send(self, letter: Letter) -> None:
        """Send it. Raises MailFailed."""
        ...
