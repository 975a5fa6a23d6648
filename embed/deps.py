"""What the role `embed` works on."""

from __future__ import annotations

from dataclasses import dataclass

from embed.assets import Assets
from embed.pages import Pages


@dataclass(frozen=True, slots=True)
class WebInfo:
    """What the web client is told before anybody has signed in."""

    server_name: str
    version: str
    registration: str
    """`open`, `token` or `closed`."""


@dataclass(frozen=True, slots=True)
class EmbedServices:
    """The services of the role."""

    info: WebInfo
    assets: Assets
    pages: Pages
