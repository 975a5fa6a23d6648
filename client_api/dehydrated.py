"""Dehydrated devices, under their unstable names.  Source: MSC3814."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from client_api.bounds import Id, Line
from client_api.deps import ClientServices
from homeserver.ports.requester import Requester
from homeserver.services.e2e.dehydrated import NewDehydratedDevice


class DehydratedBody(msgspec.Struct):
    """The device to keep."""

    device_id: Id
    device_data: dict[str, Any]
    device_keys: dict[str, Any]
    one_time_keys: dict[str, Any] | None = None
    fallback_keys: dict[str, Any] | None = None
    initial_device_display_name: Line | None = None


class EventsBody(msgspec.Struct):
    """Where to go on."""

    next_batch: Id | None = None


async def put_dehydrated_device(api: ClientServices, who: Requester, *, body: DehydratedBody) -> dict[str, Any]:
    """Keep a device."""
    new = NewDehydratedDevice(
        body.device_id,
        body.device_data,
        body.device_keys,
        body.one_time_keys or {},
        body.fallback_keys or {},
        body.initial_device_display_name,
    )
    await api.e2e.dehydrated.put(who.user_id, new)
    return {"device_id": body.device_id}


async def get_dehydrated_device(api: ClientServices, who: Requester) -> dict[str, Any]:
    """The device that is kept."""
    device = await api.e2e.dehydrated.get(who.user_id)
    return {"device_id": device.device_id, "device_data": orjson.Fragment(device.data)}


async def delete_dehydrated_device(api: ClientServices, who: Requester) -> dict[str, Any]:
    """Delete it."""
    return {"device_id": await api.e2e.dehydrated.delete(who.user_id)}


async def get_dehydrated_device_events(
    api: ClientServices, who: Requester, *, device_id: str, next_batch: str | None = None
) -> dict[str, Any]:
    """What was sent to it."""
    events, after = await api.e2e.dehydrated.events(who.user_id, device_id, next_batch)
    return {"events": [orjson.Fragment(event) for event in events], "next_batch": after}


async def post_dehydrated_device_events(
    api: ClientServices, who: Requester, *, device_id: str, body: EventsBody | None = None
) -> dict[str, Any]:
    """COMPAT(matrix-js-sdk): the same in its older form."""
    return await get_dehydrated_device_events(
        api, who, device_id=device_id, next_batch=None if body is None else body.next_batch
    )
