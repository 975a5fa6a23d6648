"""Letters over SMTP: `ports.mail` on aiosmtplib. The server is the operator's own, so it may have a private address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, make_msgid

import aiosmtplib

from homeserver.ports.mail import Letter, Mailer, MailFailed

_MAX_SUBJECT = 200
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The mail server, and who writes."""

    host: str
    port: int
    security: str  # `starttls`, `tls` or `none`
    username: str
    password: str
    sender: str
    sender_name: str
    server_name: str
    timeout_s: float


class SmtpMailer(Mailer):
    """Implements `ports.mail.Mailer`: a connection for each letter."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings

    async def send(self, letter: Letter) -> None:
        settings = self._settings
        try:
            await aiosmtplib.send(
                self._message(letter),
                sender=settings.sender,
                recipients=[letter.to],
                hostname=settings.host,
                port=settings.port,
                username=settings.username or None,
                password=settings.password or None,
                # Otherwise the library asks for this machine's name, and all wait until there is an answer.
                local_hostname=settings.server_name.partition(":")[0],
                timeout=settings.timeout_s,
                use_tls=settings.security == "tls",
                start_tls=settings.security == "starttls",
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"{type(error).__name__}: {error}"[:500]) from error

    def _message(self, letter: Letter) -> EmailMessage:
        settings = self._settings
        message = EmailMessage()
        message["From"] = formataddr((settings.sender_name, settings.sender))
        message["To"] = letter.to
        # Names of rooms and people never get here, but a line break would begin a header of its own.
        message["Subject"] = _UNPRINTABLE.sub(" ", letter.subject)[:_MAX_SUBJECT]
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = make_msgid(domain=settings.server_name.partition(":")[0])
        message["Auto-Submitted"] = "auto-generated"
        if letter.unsubscribe is not None:
            message["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
        return message
