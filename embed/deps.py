"""What the role `embed` works on."""

from __future__ import annotations

from dataclasses import dataclass

from embed.assets import Assets
from embed.demo import DemoShop
from embed.nonces import Nonces
from embed.pages import Pages
from homeserver.ports.ratelimits import RateLimits
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.rooms.history import RoomHistory
from homeserver.services.support.desk import Desk
from homeserver.services.support.letters import SupportLetters
from homeserver.services.support.sites import Sites
from homeserver.services.support.visitors import Visitors


@dataclass(frozen=True, slots=True)
class WebInfo:
    """What the web client is told before anybody has signed in."""

    server_name: str
    version: str
    registration: str
    """`open`, `token` or `closed`."""
    mail: bool
    """Whether accounts can have e-mail addresses."""
    push_key: str | None
    """What browsers subscribe to pushes with; None if there are none."""


@dataclass(frozen=True, slots=True)
class SupportServices:
    """The services of support chats."""

    sites: Sites
    visitors: Visitors
    desk: Desk
    letters: SupportLetters
    sessions: Sessions
    history: RoomHistory
    limits: RateLimits
    nonces: Nonces
    session_days: int


@dataclass(frozen=True, slots=True)
class EmbedServices:
    """The services of the role."""

    info: WebInfo
    assets: Assets
    pages: Pages
    support: SupportServices
    sessions: Sessions
    is_secure: bool
    """Whether clients come over HTTPS, as far as the configuration says."""
    demo: DemoShop | None = None
    """On servers for one's own machine."""
