"""Reading a room's timeline, its relations and threads.  spec: client-server-api#getting-events-for-a-room"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import orjson

from client_api.deps import ClientServices
from homeserver.core import strictjson
from homeserver.core.filters import RoomEventFilter, parse_room_event_filter
from homeserver.ports.requester import Requester
from homeserver.services.rooms.history import PageRequest
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.relations import RelationsRequest
from homeserver.web.response import Json

Direction = Literal["b", "f"]


async def get_one_room_event(api: ClientServices, who: Requester, *, room_id: str, event_id: str) -> Json:
    """One event."""
    return Json(await api.rooms.history.event(await recipient(api, who), room_id, event_id))


async def get_room_events(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    dir: Direction,
    from_: str | None = None,
    to: str | None = None,
    limit: int = 10,
    filter: str | None = None,
) -> dict[str, Any]:
    """A page of the timeline."""
    request = PageRequest(dir == "b", from_, to, limit, _filter(filter))
    page = await api.rooms.history.messages(await recipient(api, who), room_id, request)
    answer: dict[str, Any] = {"chunk": _fragments(page.chunk), "start": page.start}
    if page.end is not None:
        answer["end"] = page.end
    if page.state:
        answer["state"] = _fragments(page.state)
    return answer


async def get_event_context(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_id: str,
    limit: int = 10,
    filter: str | None = None,
) -> dict[str, Any]:
    """An event and its neighbours."""
    context = await api.rooms.history.context(await recipient(api, who), room_id, event_id, limit, _filter(filter))
    return {
        "event": orjson.Fragment(context.event),
        "events_before": _fragments(context.before),
        "events_after": _fragments(context.after),
        "state": _fragments(context.state),
        "start": context.start,
        "end": context.end,
    }


async def get_event_by_timestamp(
    api: ClientServices, who: Requester, *, room_id: str, ts: int, dir: Direction
) -> dict[str, Any]:
    """The event closest to a time."""
    stored = await api.rooms.history.event_by_timestamp(await recipient(api, who), room_id, ts, backwards=dir == "b")
    return {"event_id": stored.event.event_id, "origin_server_ts": stored.event.origin_server_ts}


async def get_relating_events(  # noqa: PLR0913 - the signature is the parser
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_id: str,
    from_: str | None = None,
    to: str | None = None,
    limit: int = 50,
    dir: Direction = "b",
    recurse: bool = False,
) -> dict[str, Any]:
    """Children of an event."""
    request = RelationsRequest(event_id, None, None, from_, to, limit, dir == "b", recurse)
    return await _related(api, who, room_id, request)


async def get_relating_events_with_rel_type(  # noqa: PLR0913 - the signature is the parser
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_id: str,
    rel_type: str,
    from_: str | None = None,
    to: str | None = None,
    limit: int = 50,
    dir: Direction = "b",
    recurse: bool = False,
) -> dict[str, Any]:
    """Children of an event by one relation."""
    request = RelationsRequest(event_id, rel_type, None, from_, to, limit, dir == "b", recurse)
    return await _related(api, who, room_id, request)


async def get_relating_events_with_rel_type_and_event_type(  # noqa: PLR0913 - the signature is the parser
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_id: str,
    rel_type: str,
    event_type: str,
    from_: str | None = None,
    to: str | None = None,
    limit: int = 50,
    dir: Direction = "b",
    recurse: bool = False,
) -> dict[str, Any]:
    """Children of an event by one relation and of one type."""
    request = RelationsRequest(event_id, rel_type, event_type, from_, to, limit, dir == "b", recurse)
    return await _related(api, who, room_id, request)


async def get_thread_roots(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    include: Literal["all", "participated"] = "all",
    limit: int = 20,
    from_: str | None = None,
) -> dict[str, Any]:
    """Thread roots."""
    page = await api.rooms.relations.threads(
        await recipient(api, who), room_id, participated=include == "participated", start=from_, limit=limit
    )
    answer: dict[str, Any] = {"chunk": _fragments(page.chunk)}
    if page.next_batch is not None:
        answer["next_batch"] = page.next_batch
    return answer


async def _related(api: ClientServices, who: Requester, room_id: str, request: RelationsRequest) -> dict[str, Any]:
    page = await api.rooms.relations.of_event(await recipient(api, who), room_id, request)
    answer: dict[str, Any] = {"chunk": _fragments(page.chunk)}
    if page.next_batch is not None:
        answer["next_batch"] = page.next_batch
    if request.start is not None:
        answer["prev_batch"] = request.start
    if page.recursion_depth is not None:
        answer["recursion_depth"] = page.recursion_depth
    return answer


async def recipient(api: ClientServices, who: Requester) -> Recipient:
    """Who reads: on which device, and whom they ignore."""
    return Recipient(who.user_id, who.device_id or "", await api.ignored.of(who.user_id))


def _filter(text: str | None) -> RoomEventFilter:
    if text is None:
        return RoomEventFilter()
    return parse_room_event_filter(strictjson.parse(text.encode("utf-8", "surrogatepass")))


def _fragments(rendered: Iterable[bytes]) -> list[orjson.Fragment]:
    return [orjson.Fragment(data) for data in rendered]
