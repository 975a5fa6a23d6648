"""Constructs what writes letters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from homeserver.boot.parts import public_base_url
from homeserver.config.model import Config
from homeserver.ports.mail import Mailer
from homeserver.services.accounts.address_checks import AddressLinks
from homeserver.services.accounts.address_letters import AddressLetters
from homeserver.services.accounts.addresses import AddressPost, AddressSettings
from homeserver.services.accounts.letterbox import Letterbox


def mailer_of(config: Config) -> Callable[[], Mailer]:
    """What sends letters, made when it is first asked for: its library costs memory."""

    @cache
    def mailer() -> Mailer:
        remote: Any = import_module("homeserver.remote.mail")
        mail = config.mail
        settings = remote.SmtpSettings(
            host=mail.host,
            port=mail.port,
            security=mail.security,
            username=mail.username,
            password=mail.password,
            sender=mail.sender,
            sender_name=mail.sender_name,
            server_name=config.server.name,
            timeout_s=float(mail.timeout_seconds),
        )
        made: Mailer = remote.SmtpMailer(settings)
        return made

    return mailer


def address_post(config: Config, link_key: bytes) -> AddressPost | None:
    """What writes to people's own addresses; None where the server has no mail."""
    if not config.mail.host:
        return None
    links = AddressLinks(link_key, public_base_url(config))
    box = Letterbox(mailer_of(config), at_once=config.mail.at_once)
    return AddressPost(AddressLetters(config.server.name), links, box)


def address_settings(config: Config) -> AddressSettings:
    """Bounds of addresses and their checks."""
    return AddressSettings(config.mail.link_hours, config.mail.addresses_per_user)
