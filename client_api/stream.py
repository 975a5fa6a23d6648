"""The WebSocket: `/sync` and the rest of the Client-Server API over one connection.

Binds the sessions of `services/sync/stream` to accounts, filters and routes. Described in docs/websocket.md.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from client_api.deps import ClientServices
from client_api.sync import sync_request
from homeserver.ports.requester import Requester
from homeserver.services.sync.body import STATE_AFTER, STATE_BEFORE
from homeserver.services.sync.frames import Start
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.stream import StreamSession
from homeserver.web.websocket import Upgrade


async def stream(api: ClientServices, upgrade: Upgrade) -> None:
    """Serve one socket until it ends."""
    await StreamSession(upgrade.socket, _ClientHost(api, upgrade), api.sync, api.sockets).run()


class _ClientHost:
    """Implements `services.sync.stream.StreamHost`."""

    def __init__(self, api: ClientServices, upgrade: Upgrade) -> None:
        self._api = api
        self.call = upgrade.call
        self._identified = upgrade.identified

    async def authenticate(self, token: str) -> Requester:
        """See the protocol."""
        who = await self._api.accounts.sessions.authenticate(token)
        self._identified()
        return who

    def serves(self, token: str) -> bool:
        """See the protocol."""
        return self._api.accounts.sessions.serves(token)

    async def request(self, who: Requester, start: Start) -> SyncRequest:
        """See the protocol."""
        given = orjson.dumps(start.filter).decode() if isinstance(start.filter, dict) else start.filter
        state_field = STATE_AFTER if start.use_state_after else STATE_BEFORE
        request = await sync_request(self._api, who, given, start.since, state_field)
        self._api.personal.presence.seen(who.user_id, start.set_presence)
        return replace(request, full_state=start.full_state)

    async def advance(self, request: SyncRequest) -> SyncRequest:
        """See the protocol."""
        ignored = await self._api.ignored.of(request.user_id)
        return request if ignored == request.ignored else replace(request, ignored=ignored)
