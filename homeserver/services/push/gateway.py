"""What a push gateway is sent, and what its answer means.  spec: push-gateway-api#post_matrixpushv1notify"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core.pushmatch import PushOutcome
from homeserver.ports.outbound import Outbound, OutboundError, OutboundRequest
from homeserver.ports.pushers import Pusher

EVENT_ID_ONLY = "event_id_only"
_ANSWER_BYTES = 65_536
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that a user is to be told of."""

    position: int
    event: Mapping[str, Any]  # in client format
    outcome: PushOutcome
    user_is_target: bool = False
    sender_display_name: str | None = None
    room_name: str | None = None
    room_alias: str | None = None

    @property
    def is_urgent(self) -> bool:
        """Whether somebody is to be alerted. What is encrypted may be anything: the device decides on it."""
        tweaks = self.outcome.tweaks
        return bool(tweaks.get("highlight") or tweaks.get("sound")) or self.event["type"] == "m.room.encrypted"


class Unreachable(Exception):
    """The gateway did not take it; perhaps it will later."""


def notification(pusher: Pusher, notice: Notice | None, unread: int) -> bytes:
    """The body of a request: about an event, or (None) of the number alone."""
    data: dict[str, Any] = orjson.loads(pusher.data)
    data.pop("url", None)
    only_id = data.get("format") == EVENT_ID_ONLY
    device: dict[str, Any] = {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "pushkey_ts": pusher.set_ms // 1000,
        "data": data,
    }
    # NOTSPEC: zeros should be left out, but gateways take an absent number for one that has not changed.
    body: dict[str, Any] = {"counts": {"unread": unread}, "devices": [device]}
    if notice is not None:
        body |= _of_event(notice, only_id=only_id)
        if not only_id:
            device["tweaks"] = dict(notice.outcome.tweaks)
    else:
        body["prio"] = "low"
    return orjson.dumps({"notification": body})


def _of_event(notice: Notice, *, only_id: bool) -> dict[str, Any]:
    event = notice.event
    fields: dict[str, Any] = {
        "event_id": event["event_id"],
        "room_id": event["room_id"],
        "prio": "high" if notice.is_urgent else "low",
    }
    if only_id:
        return fields
    fields |= {"type": event["type"], "sender": event["sender"], "content": event["content"]}
    if event["type"] == "m.room.member":
        fields["user_is_target"] = notice.user_is_target
    for name in ("sender_display_name", "room_name", "room_alias"):
        if (value := getattr(notice, name)) is not None:
            fields[name] = value
    return fields


async def notify(outbound: Outbound, pusher: Pusher, body: bytes) -> bool:
    """Send it. Returns False if the gateway says that the push key is no longer valid. Raises Unreachable."""
    request = OutboundRequest(
        url=orjson.loads(pusher.data)["url"],
        method="POST",
        headers={"Content-Type": "application/json"},
        body=body,
        max_bytes=_ANSWER_BYTES,
        seconds=_SECONDS,
        redirects=0,
    )
    try:
        async with outbound.request(request) as answer:
            if answer.status != 200:
                raise Unreachable(f"status {answer.status}")
            rejected = _rejected(await answer.read())
    except OutboundError as error:
        raise Unreachable(str(error)) from error
    return pusher.pushkey not in rejected


def _rejected(answer: bytes) -> list[Any]:
    """The push keys that are not valid. An answer that says nothing sensible rejects none."""
    try:
        parsed = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return []
    rejected = parsed.get("rejected") if isinstance(parsed, dict) else None
    return rejected if isinstance(rejected, list) else []
