"""The services of the role `embed`."""

from __future__ import annotations

from typing import Protocol

from embed.assets import Assets
from embed.demo import DemoShop
from embed.deps import EmbedServices, SupportServices, WebInfo
from embed.nonces import Nonces
from embed.pages import Pages
from homeserver import __version__
from homeserver.boot.accounts import Foundations
from homeserver.boot.parts import PushKeys, public_base_url
from homeserver.boot.support import SupportParts
from homeserver.config.model import Config
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.rooms import RoomServices
from homeserver.services.support.desk import Desk
from homeserver.services.support.letters import SupportLetters


class ServesEmbed(Protocol):
    """What is asked of the core."""

    @property
    def sessions(self) -> Sessions: ...
    @property
    def rooms(self) -> RoomServices: ...
    @property
    def push_keys(self) -> PushKeys: ...


def build_embed(
    base: Foundations, parts: SupportParts, desk: Desk, letters: SupportLetters, core: ServesEmbed
) -> EmbedServices:
    """The web client's files and what it is told; support chats."""
    config = base.config
    web = core.push_keys.web
    push_key = None if web is None else web.public_key
    info = WebInfo(config.server.name, __version__, config.registration.mode, bool(config.mail.host), push_key)
    support = SupportServices(
        sites=parts.sites,
        visitors=parts.visitors,
        desk=desk,
        letters=letters,
        sessions=core.sessions,
        history=core.rooms.history,
        limits=base.limits,
        nonces=Nonces(parts.nonce_secret, base.clock),
        session_days=config.support.session_days,
    )
    is_secure = public_base_url(config).startswith("https://")
    return EmbedServices(info, Assets(), Pages(), support, core.sessions, is_secure, demo_shop(config))


def demo_shop(config: Config) -> DemoShop | None:
    """The demo's page, where it is asked for."""
    port = int(config.server.listen.rpartition(":")[2])
    # Its pages name the port: one that is only found at start is not known here.
    return DemoShop(port) if config.support.demo and port else None
