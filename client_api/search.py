"""Searching messages, room names and topics.  spec: client-server-api#server-side-search"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import orjson

from client_api.bounds import Content, Search
from client_api.deps import ClientServices
from client_api.messages import recipient
from homeserver.core.filters import RoomEventFilter, parse_room_event_filter
from homeserver.core.searching import Kind
from homeserver.ports.requester import Requester
from homeserver.services.rooms.search import ContextRequest, Found, Result, SearchRequest

_AROUND = 25
"""Most events before and after each result."""
_TOKEN = 1_024

Limit = Annotated[int, msgspec.Meta(ge=0)]


class EventContext(msgspec.Struct):
    """What is wanted around each result."""

    before_limit: Limit = 5
    after_limit: Limit = 5
    include_profile: bool = False


class GroupBy(msgspec.Struct):
    """What results have in common."""

    key: Literal["room_id", "sender"]


class Groupings(msgspec.Struct):
    """How results are put together."""

    group_by: Annotated[list[GroupBy], msgspec.Meta(max_length=2)] = msgspec.field(default_factory=list)


class RoomEvents(msgspec.Struct):
    """What is searched for in rooms."""

    search_term: Search
    keys: Annotated[list[Literal["content.body", "content.name", "content.topic"]], msgspec.Meta(max_length=3)] = (
        msgspec.field(default_factory=lambda: ["content.body", "content.name", "content.topic"])
    )
    filter: Content = msgspec.field(default_factory=dict)
    order_by: Literal["rank", "recent"] = "rank"
    event_context: EventContext | None = None
    include_state: bool = False
    groupings: Groupings = msgspec.field(default_factory=Groupings)


class Categories(msgspec.Struct):
    """Where to search; rooms are all there is."""

    room_events: RoomEvents | None = None


class SearchRequestBody(msgspec.Struct):
    """The body of a search."""

    search_categories: Categories


async def search(
    api: ClientServices, who: Requester, *, body: SearchRequestBody, next_batch: str | None = None
) -> dict[str, Any]:
    """A page of what was found."""
    wanted = body.search_categories.room_events
    if wanted is None:
        return {"search_categories": {}}
    found = await api.search.rooms(await recipient(api, who), _request(wanted, next_batch))
    answer: dict[str, Any] = {
        "count": found.count,
        "highlights": found.highlights,
        "results": [_result(one) for one in found.results],
    }
    if found.next_batch is not None:
        answer["next_batch"] = found.next_batch
    if wanted.groupings.group_by:
        answer["groups"] = _groups(found)
    if wanted.include_state:
        rooms = {one.room_id for one in found.results}
        answer["state"] = {
            room_id: [orjson.Fragment(event) for event in await api.rooms.state.all(who.user_id, room_id)]
            for room_id in rooms
        }
    return {"search_categories": {"room_events": answer}}


def _request(wanted: RoomEvents, start: str | None) -> SearchRequest:
    around = wanted.event_context
    event_filter: RoomEventFilter = parse_room_event_filter(wanted.filter)
    return SearchRequest(
        term=wanted.search_term,
        kinds=frozenset(map(Kind, wanted.keys)),
        order=wanted.order_by,
        filter=event_filter,
        context=None
        if around is None
        else ContextRequest(
            min(around.before_limit, _AROUND), min(around.after_limit, _AROUND), around.include_profile
        ),
        group_by=tuple(dict.fromkeys(one.key for one in wanted.groupings.group_by)),
        start=None if start is None else start[:_TOKEN],
    )


def _result(one: Result) -> dict[str, Any]:
    answer: dict[str, Any] = {"rank": one.rank, "result": orjson.Fragment(one.event)}
    if one.context is not None:
        around = one.context
        answer["context"] = {
            "start": around.start,
            "end": around.end,
            "events_before": [orjson.Fragment(event) for event in around.before],
            "events_after": [orjson.Fragment(event) for event in around.after],
        }
        if around.profiles:
            answer["context"]["profile_info"] = around.profiles
    return answer


def _groups(found: Found) -> dict[str, Any]:
    return {
        key: {
            name: {"order": group.order, "results": group.event_ids}
            | ({} if group.next_batch is None else {"next_batch": group.next_batch})
            for name, group in groups.items()
        }
        for key, groups in found.groups.items()
    }
