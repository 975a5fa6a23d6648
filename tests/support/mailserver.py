"""A mail server on loopback: it remembers the letters that it was given, or refuses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP


def environment(port: int, **more: str) -> dict[str, str]:
    """The settings of a server whose mail server is here, and that waits a second only."""
    return {
        "HROMADA_MAIL_HOST": "127.0.0.1",
        "HROMADA_MAIL_PORT": str(port),
        "HROMADA_MAIL_SECURITY": "none",
        "HROMADA_MAIL_SENDER": "matrix@hromada.test",
        "HROMADA_MAIL_QUIET_SECONDS": "1",
        **more,
    }


class MailServer:
    """What was written, in order."""

    def __init__(self) -> None:
        self.port = 0
        self.letters: list[EmailMessage] = []
        self.refuse: str | None = None
        """What to answer instead of taking letters."""
        self.asked = 0
        self._changed = asyncio.Condition()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """A letter."""
        self.asked += 1
        if self.refuse is None:
            letter = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(letter, EmailMessage)
            assert envelope.rcpt_tos == [str(letter["To"])]
            self.letters.append(letter)
        async with self._changed:
            self._changed.notify_all()
        return self.refuse or "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """The letters to an address."""
        return [letter for letter in self.letters if letter["To"] == address]

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait until `wanted()` holds."""
        async with asyncio.timeout(120), self._changed:
            await self._changed.wait_for(wanted)


def text_of(letter: EmailMessage, kind: str = "plain") -> str:
    """What a letter says, as text or as HTML."""
    body = letter.get_body((kind,))
    assert body is not None
    return str(body.get_content())


@asynccontextmanager
async def running_mail_server(port: int = 0) -> AsyncIterator[MailServer]:
    """A mail server, on a free port or on this one."""
    mail = MailServer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mail, hostname="localhost", loop=loop), "127.0.0.1", port)
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()
        await server.wait_closed()
