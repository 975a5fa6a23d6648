"""The role `embed`: the bundled web client, and what is embedded into other sites."""

from __future__ import annotations

from embed.deps import EmbedServices
from embed.routes import ROUTES
from homeserver.web.endpoint import Mount


def mount(services: EmbedServices) -> Mount[EmbedServices]:
    """The role's routes over its services."""
    return Mount(services, ROUTES)
