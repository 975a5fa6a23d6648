"""Pushers as their users set them. What they are told of is the business of `sender`.

spec: client-server-api#push-notifications
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import orjson

from homeserver.core.addresses import is_address
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.log import PushersEntry
from homeserver.ports.pushers import Pusher, PusherName
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store
from homeserver.services.accounts.names import require_text
from homeserver.services.commit import Committer
from homeserver.services.push.mail import EMAIL
from homeserver.services.push.webpush import WEB_PUSH, BadSubscription, check_subscription

HTTP = "http"
MAX_APP_ID, MAX_PUSHKEY = 64, 512  # spec: client-server-api#post_matrixclientv3pushersset
_MAX_NAME, _MAX_LANG, _MAX_URL = 255, 64, 2_048
_NOTIFY = "/_matrix/push/v1/notify"


@dataclass(frozen=True, slots=True)
class PusherLimits:
    """Bounds of what one user may set."""

    pushers: int = 100
    data_bytes: int = 8_192
    emails: int = 0  # pushers to e-mail addresses; 0: this server writes no letters
    web: bool = False  # pushers of browsers
    allow_http: bool = False  # gateways without encryption, and with ports and paths of their own: for tests


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pusher as a client describes it."""

    kind: str
    app_display_name: str
    device_display_name: str
    lang: str
    data: dict[str, Any]
    profile_tag: str | None = None
    enabled: bool = True
    append: bool = False
    device_id: str | None = None
    """The device whose pusher is changed, if the client says so. It says nothing of a new one."""


class Pushers:
    """Owns pushers."""

    def __init__(self, store: Store, committer: Committer, clock: Clock, limits: PusherLimits) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._limits = limits

    async def of(self, user_id: str) -> Sequence[Pusher]:
        """The user's pushers."""
        async with self._store.read() as tx:
            return await tx.pushers.of_users([user_id])

    async def set(self, who: Requester, app_id: str, pushkey: str, wanted: Wanted) -> None:
        """Make a pusher, or change the one of this name. It is told of what happens from now on.

        Raises MatrixError: INVALID_PARAM, TOO_LARGE, RESOURCE_LIMIT_EXCEEDED.
        spec: client-server-api#post_matrixclientv3pushersset
        """
        pusher = self._checked(who, app_id, pushkey, wanted)
        async with self._committer.writing() as unit:
            tx = unit.tx
            await tx.users.lock(who.user_id)
            pusher = replace(pusher, position=await tx.log.position())
            known = await tx.pushers.of_users([who.user_id])
            before = next((one for one in known if one.name == pusher.name), None)
            if before is not None and before.device_id is not None and before.device_id == wanted.device_id:
                # Changed from afar (MSC3881): it stays that device's, and is found and ends with it.
                pusher = replace(pusher, device_id=before.device_id)
            self._check_room(pusher, [one for one in known if one is not before])
            # Whoever knows an address must not end the letters that others get there: each is confirmed by itself.
            if not wanted.append and pusher.kind != EMAIL:
                await tx.pushers.delete_of_others(pusher.name)
            if before is not None and before.kind != pusher.kind:
                await tx.pushers.delete(pusher.name)
                before = None
            await tx.pushers.put(pusher)
            unit.tell(lambda position: PushersEntry(position, who.user_id))

    def _check_room(self, pusher: Pusher, others: Sequence[Pusher]) -> None:
        if len(others) >= self._limits.pushers:
            raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You have {len(others)} pushers already")
        letters = sum(one.kind == EMAIL for one in others)
        if pusher.kind == EMAIL and letters >= self._limits.emails:
            raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You get letters at {letters} addresses already")

    async def delete(self, name: PusherName) -> None:
        """Delete a pusher, if there is one of this name."""
        async with self._committer.writing() as unit:
            if await unit.tx.pushers.delete(name):
                unit.tell(lambda position: PushersEntry(position, name[0]))

    def _checked(self, who: Requester, app_id: str, pushkey: str, wanted: Wanted) -> Pusher:
        require_text(app_id, "app_id", MAX_APP_ID)
        require_text(pushkey, "pushkey", MAX_PUSHKEY)
        kinds = {HTTP: True, EMAIL: self._limits.emails > 0, WEB_PUSH: self._limits.web}
        if not kinds.get(wanted.kind):
            raise MatrixError(ErrCode.INVALID_PARAM, f"This server has no pushers of the kind {wanted.kind[:32]!r}")
        for value, what in (
            (wanted.app_display_name, "app_display_name"),
            (wanted.device_display_name, "device_display_name"),
            (wanted.profile_tag or "", "profile_tag"),
        ):
            require_text(value, what, _MAX_NAME)
        require_text(wanted.lang, "lang", _MAX_LANG)
        data = orjson.dumps(wanted.data)
        if len(data) > self._limits.data_bytes:
            raise MatrixError(ErrCode.TOO_LARGE, f"data has at most {self._limits.data_bytes} bytes")
        self._check_address(pushkey, wanted)
        if not isinstance(wanted.data.get("format", ""), str):
            raise MatrixError(ErrCode.INVALID_PARAM, "data.format must be a string")
        return Pusher(
            user_id=who.user_id,
            app_id=app_id,
            pushkey=pushkey,
            kind=wanted.kind,
            device_id=who.device_id,
            app_display_name=wanted.app_display_name,
            device_display_name=wanted.device_display_name,
            profile_tag=wanted.profile_tag,
            lang=wanted.lang,
            data=data,
            set_ms=self._clock.now_ms(),
            enabled=wanted.enabled,
            confirmed=wanted.kind != EMAIL,
        )

    def _check_address(self, pushkey: str, wanted: Wanted) -> None:
        """Whether it can be reached, as far as that shows."""
        if wanted.kind == EMAIL:
            if not is_address(pushkey):
                raise MatrixError(ErrCode.INVALID_PARAM, "pushkey is no e-mail address")
            return
        self._check_url(wanted.data.get("url"), "" if wanted.kind == WEB_PUSH else _NOTIFY)
        if wanted.kind == WEB_PUSH:
            try:
                check_subscription(pushkey, wanted.data)
            except BadSubscription as error:
                raise MatrixError(ErrCode.INVALID_PARAM, str(error)) from None

    def _check_url(self, url: Any, path: str) -> None:
        """`path` is the one that it must have; none if push services choose it."""
        if not isinstance(url, str) or not url:
            raise MatrixError(ErrCode.MISSING_PARAM, "data.url is required")
        require_text(url, "data.url", _MAX_URL)
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.username is not None or parts.fragment:
            raise MatrixError(ErrCode.INVALID_PARAM, "data.url is no address of a push gateway")
        if parts.scheme != "https" and not (self._limits.allow_http and parts.scheme == "http"):
            raise MatrixError(ErrCode.INVALID_PARAM, "data.url must begin with https://")
        if path and parts.path != path:
            raise MatrixError(ErrCode.INVALID_PARAM, f"The path of data.url must be {path}")
