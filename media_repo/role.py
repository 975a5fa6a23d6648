"""The role `media`: the content repository."""

from __future__ import annotations

from homeserver.web.endpoint import Mount
from media_repo.deps import MediaServices
from media_repo.routes import ROUTES


def mount(services: MediaServices) -> Mount[MediaServices]:
    """The role's routes over its services."""
    return Mount(services, ROUTES)
