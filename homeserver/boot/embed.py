"""The services of the role `embed`."""

from __future__ import annotations

from embed.assets import Assets
from embed.deps import EmbedServices, WebInfo
from embed.pages import Pages
from homeserver import __version__
from homeserver.config.model import Config


def build_embed(config: Config) -> EmbedServices:
    """The web client's files and what it is told."""
    info = WebInfo(config.server.name, __version__, config.registration.mode)
    return EmbedServices(info, Assets(), Pages())
