"""What a browser sends to begin as a visitor, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.ports.support import Case, Visitor


@dataclass(frozen=True, slots=True)
class Start:
    """What a browser sends with the first message."""

    key: str
    """Random, of this attempt: its repetition makes nothing new."""
    answers: dict[str, str]
    """Of the form, by field; `name`, `email` and `message` among them."""
    consent: bool = False
    page: str = ""
    title: str = ""
    jwt: str = ""
    nonce: str = ""
    work: str = ""
    """What the site asks new visitors' browsers for (`work.is_done`)."""
    begin: bool = True
    """False only asks whether the site's user has been here before."""


@dataclass(frozen=True, slots=True)
class Started:
    """A session as the frame needs it."""

    visitor: Visitor
    access_token: str
    expires_in_ms: int
    cookie: str
    device_id: str
    case: Case | None
    rooms: tuple[str, ...] = ()
    """All of the visitor's conversations, newest first."""
    encrypted: tuple[str, ...] = ()
    """Those of them in which messages are encrypted."""
    until_ms: int | None = None
    """The cookie, and `keep`, serve until then; None: as long as the session."""
    keep: str = ""
    """What the site's page may keep in the cookie's place; empty if it may not."""
    staff: tuple[str, ...] = ()
    """Who must be able to read what is said there: the desk, of which nobody needs to be in the room yet. Those who
    are invited to it are among them; they may accept at any moment."""
