"""GET /sync: the long poll.  spec: client-server-api#syncing"""

from __future__ import annotations

from typing import Literal

from client_api.deps import ClientServices
from homeserver.core import strictjson
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.filters import Filter, parse_filter
from homeserver.ports.requester import Requester
from homeserver.services.sync import positions
from homeserver.services.sync.body import STATE_AFTER, STATE_AFTER_UNSTABLE, STATE_BEFORE, StateField
from homeserver.services.sync.request import SyncRequest
from homeserver.web.response import WHOLE_BYTES, Json, Response, json_parts


async def sync(  # noqa: PLR0913 - one argument per query parameter of the specification
    api: ClientServices,
    who: Requester,
    *,
    filter: str | None = None,
    since: str | None = None,
    full_state: bool = False,
    set_presence: Literal["offline", "online", "unavailable"] = "online",
    timeout: int = 0,
    use_state_after: bool = False,
    use_state_after_unstable: bool = False,
) -> Json | Response:
    """Synchronise the client's state with the latest state on the server."""
    if timeout < 0:
        raise MatrixError(ErrCode.INVALID_PARAM, "timeout must not be negative")
    state_field = _state_field(use_state_after, use_state_after_unstable)
    request = await sync_request(api, who, filter, since, state_field, full_state=full_state)
    api.personal.presence.seen(who.user_id, set_presence)
    answer = await api.sync.poll(request, min(timeout, api.sync.limits.timeout_ms))
    return json_parts(api.sync.encode_parts(request, answer.body, WHOLE_BYTES))


async def sync_request(
    api: ClientServices,
    who: Requester,
    filter: str | None,
    since: str | None,
    state_field: StateField,
    *,
    full_state: bool = False,
) -> SyncRequest:
    """What a client asks for, however it asks. Raises MatrixError for a bad token or filter."""
    token = None if since is None else positions.decode(since)
    if token is not None:
        await api.sync.reach(token)
    return SyncRequest(
        user_id=who.user_id,
        device_id=who.device_id,
        filter=await _filter(api, who.user_id, filter),
        since=token,
        full_state=full_state,
        state_field=state_field,
        ignored=await api.ignored.of(who.user_id),
        session_id=who.session_id,
        limits=api.sync.limits,
    )


def _state_field(stable: bool, unstable: bool) -> StateField:
    """COMPAT(matrix-js-sdk 43): it asks by the unstable name only and reads the answer under that name."""
    if stable:
        return STATE_AFTER
    return STATE_AFTER_UNSTABLE if unstable else STATE_BEFORE


async def _filter(api: ClientServices, user_id: str, given: str | None) -> Filter:
    """The filter inline (`{…}`) or by id.  spec: client-server-api#filtering"""
    if given is None or given == "":
        return Filter()
    if given.startswith("{"):
        return parse_filter(strictjson.parse_object(given.encode()))
    return await api.accounts.filters.get(user_id, given)
