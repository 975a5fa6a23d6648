"""Pushers.  spec: client-server-api#push-notifications"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from client_api.bounds import Content, Id, Line
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.pushers import Pusher
from homeserver.ports.requester import Requester
from homeserver.services.push.mail import EMAIL
from homeserver.services.push.pushers import Wanted

# COMPAT(Element): MSC3881 was never released; clients know it by these names only.
_ENABLED = "org.matrix.msc3881.enabled"
_DEVICE_ID = "org.matrix.msc3881.device_id"
_CONFIRMED = "chat.hromada.confirmed"
"""Whether the owner of an e-mail address has agreed."""


class PusherBody(msgspec.Struct):
    """A pusher, or with `kind` null the name of one to delete."""

    app_id: Id
    pushkey: Line
    kind: Id | None
    app_display_name: Line | None = None
    device_display_name: Line | None = None
    profile_tag: Line | None = None
    lang: Id | None = None
    data: Content | None = None
    append: bool = False
    enabled: bool | None = msgspec.field(default=None, name=_ENABLED)
    device_id: Id | None = msgspec.field(default=None, name=_DEVICE_ID)


async def get_pushers(api: ClientServices, who: Requester) -> dict[str, Any]:
    """The user's pushers."""
    return {"pushers": [_shown(pusher) for pusher in await api.personal.pushers.of(who.user_id)]}


async def post_pusher(api: ClientServices, who: Requester, *, body: PusherBody) -> None:
    """Make, change or delete a pusher."""
    if body.kind is None:
        await api.personal.pushers.delete((who.user_id, body.app_id, body.pushkey))
        return
    required = ("app_display_name", "device_display_name", "lang", "data")
    missing = [name for name in required if getattr(body, name) is None]
    if missing:
        raise MatrixError(ErrCode.MISSING_PARAM, f"Missing parameters: {', '.join(missing)}")
    if body.kind == EMAIL:
        api.limits.take("mail_confirmations", who.user_id)
    wanted = Wanted(
        kind=body.kind,
        app_display_name=body.app_display_name or "",
        device_display_name=body.device_display_name or "",
        lang=body.lang or "",
        data=body.data or {},
        profile_tag=body.profile_tag,
        enabled=body.enabled is not False,
        append=body.append,
        device_id=body.device_id,
    )
    await api.personal.pushers.set(who, body.app_id, body.pushkey, wanted)


def _shown(pusher: Pusher) -> dict[str, Any]:
    shown = {
        "pushkey": pusher.pushkey,
        "kind": pusher.kind,
        "app_id": pusher.app_id,
        "app_display_name": pusher.app_display_name,
        "device_display_name": pusher.device_display_name,
        "lang": pusher.lang,
        "data": orjson.Fragment(pusher.data),
        _ENABLED: pusher.enabled,
    }
    if pusher.kind == EMAIL:
        shown[_CONFIRMED] = pusher.confirmed
    if pusher.profile_tag is not None:
        shown["profile_tag"] = pusher.profile_tag
    if pusher.device_id is not None:
        shown[_DEVICE_ID] = pusher.device_id
    return shown
