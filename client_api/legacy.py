"""Endpoints that newer ones have replaced: old clients call them, and suites of tests of conformance.

Each is a form of what serves now, and shows nothing that its successor would not.
spec: client-server-api#get_matrixclientv3initialsync, client-server-api#get_matrixclientv3events,
client-server-api#get_matrixclientv3eventseventid
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from client_api import messages, rooms, sync
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.filters import Filter, parse_filter
from homeserver.ports.requester import Requester
from homeserver.services.sync.body import STATE_AFTER, STATE_BEFORE
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.request import SyncRequest
from homeserver.web.response import Json

_EVENTS_ONLY: dict[str, Any] = {"account_data": {"types": []}, "room": {"account_data": {"types": []}}}


async def initial_sync(
    api: ClientServices, who: Requester, *, limit: int | None = None, archived: bool = False
) -> dict[str, Any]:
    """The user's rooms with their state and newest messages, as `/sync` tells them."""
    if limit is not None and limit < 0:
        raise MatrixError(ErrCode.INVALID_PARAM, "limit must not be negative")
    timeline = {} if limit is None else {"timeline": {"limit": max(limit, 1)}}
    wanted = parse_filter({"room": {**timeline, "include_leave": archived}})
    request = replace(await _request(api, who, wanted, None), state_field=STATE_AFTER)
    body = orjson.loads(api.sync.encode(request, (await api.sync.respond(request)).body))
    told = body.get("rooms", {})
    published = await api.rooms.directory.published()
    answer = []
    for membership in ("join", "leave"):
        for room_id, room in told.get(membership, {}).items():
            part = {"membership": membership, "room_id": room_id}
            answer.append({**part, **_room(room, body["next_batch"]), "visibility": _listed(room_id in published)})
    for membership in ("invite", "knock"):
        for room_id, room in told.get(membership, {}).items():
            own = [e for e in room[f"{membership}_state"]["events"] if e["state_key"] == who.user_id]
            part = {"membership": membership, "room_id": room_id, "visibility": _listed(room_id in published)}
            answer.append({**part, **({"invite": own[0]} if own and membership == "invite" else {})})
    account_data = body.get("account_data", {}).get("events", [])
    return {"end": body["next_batch"], "rooms": answer, "presence": [], "account_data": account_data}


def _room(room: dict[str, Any], end: str) -> dict[str, Any]:
    timeline = room["timeline"]
    return {
        "messages": {"chunk": timeline["events"], "start": timeline["prev_batch"], "end": end},
        "state": room[STATE_AFTER.name]["events"],
        "account_data": room["account_data"]["events"],
    }


def _listed(public: bool) -> str:
    return "public" if public else "private"


async def stream(api: ClientServices, who: Requester, start: str | None, timeout: int) -> dict[str, Any]:
    """What happens in all rooms of the user after `start`, a token of `/sync` (None: now): its events alone."""
    request = await _request(api, who, parse_filter(_EVENTS_ONLY), start or str(SyncToken(api.sync.position)))
    answer = await api.sync.poll(request, min(timeout, api.sync.limits.timeout_ms))
    told = orjson.loads(api.sync.encode(request, answer.body)).get("rooms", {})
    chunk: list[dict[str, Any]] = []
    for kind in ("join", "leave"):
        for room_id, room in told.get(kind, {}).items():
            chunk += room["timeline"]["events"]
            chunk += [{**event, "room_id": room_id} for event in room.get("ephemeral", {}).get("events", [])]
    for kind in ("invite", "knock"):
        for room_id, room in told.get(kind, {}).items():
            chunk += [
                {**event, "room_id": room_id}
                for event in room[f"{kind}_state"]["events"]
                if event["state_key"] == who.user_id
            ]
    return {"start": str(request.since), "end": str(answer.token), "chunk": chunk}


async def get_one_event(api: ClientServices, who: Requester, *, event_id: str) -> Json:
    """One event, wherever it is: as the endpoint of its room answers."""
    return Json(await api.rooms.history.event_anywhere(await messages.recipient(api, who), event_id))


async def send_without_transaction(
    api: ClientServices, who: Requester, *, room_id: str, event_type: str, body: dict[str, Any], ts: int | None = None
) -> dict[str, Any]:
    """Send a message event; again, when it is sent again."""
    return await rooms.send_event(api, who, (room_id, event_type), None, body, ts)


async def redact_without_transaction(
    api: ClientServices, who: Requester, *, room_id: str, event_id: str, body: rooms.RedactBody | None = None
) -> dict[str, Any]:
    """Redact an event."""
    return await rooms.redact(api, who, (room_id, event_id), None, body)


async def _request(api: ClientServices, who: Requester, wanted: Filter, since: str | None) -> SyncRequest:
    """A sync of no device: what waits for the device goes to those who ask for it."""
    request = await sync.sync_request(api, who, None, since, STATE_BEFORE)
    return replace(request, filter=wanted, device_id=None)
