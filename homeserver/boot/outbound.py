"""The client for requests of the server to others."""

from __future__ import annotations

import asyncio
from importlib import import_module

import homeserver
from homeserver.boot import parts
from homeserver.config.model import Config
from homeserver.ports.outbound import Outbound


class LazyOutbound:
    """The outbound client, made when somebody first asks: its libraries take time and memory to load."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client: Outbound | None = None

    async def get(self) -> Outbound:
        """The one client of this process."""
        if self._client is None:
            # In a thread: nobody else waits for what takes a tenth of a second to load.
            addresses = await asyncio.to_thread(import_module, "homeserver.remote.addresses")
            client = await asyncio.to_thread(import_module, "homeserver.remote.client")
        if self._client is None:
            outbound = self._config.outbound
            rules = addresses.AddressRules(parts.networks(outbound.allow), parts.networks(outbound.deny))
            agent = f"Hromada/{homeserver.__version__} (+{parts.public_base_url(self._config)})"
            self._client = client.OutboundClient(rules, user_agent=agent)
        return self._client

    async def close(self) -> None:
        """End its connections."""
        if self._client is not None:
            await self._client.close()
