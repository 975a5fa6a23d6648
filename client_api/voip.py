"""Voice over IP.  spec: client-server-api#voice-over-ip"""

from __future__ import annotations

from typing import Any

from client_api.deps import ClientServices
from homeserver.ports.requester import Requester


async def get_turn_server(api: ClientServices, who: Requester) -> dict[str, Any]:
    """Credentials of a TURN server. COMPAT(matrix-js-sdk): none is `{}`; an error would be retried for ever."""
    return {}
