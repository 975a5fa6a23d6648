"""The role `client`: the Client-Server API."""

from __future__ import annotations

from client_api.deps import ClientServices
from client_api.routes import ROUTES, SOCKETS
from homeserver.web.endpoint import Mount


def mount(services: ClientServices) -> Mount[ClientServices]:
    """The role's routes over its services."""
    return Mount(services, ROUTES, SOCKETS)
