"""Web Push: browsers told of messages while no page of the client is open, through the push service of their maker.

What is sent is encrypted for the browser (RFC 8291) and signed with this server's key (VAPID, RFC 8292): the push
service learns when somebody is told, and how much, not what. The kind of pusher is our own until the specification has
one (MSC4174): `pushkey` is the browser's key, `data.url` where its push service takes messages, `data.auth` its secret.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from homeserver.ports.clock import Clock
from homeserver.ports.outbound import Outbound, OutboundError, OutboundRequest
from homeserver.ports.pushers import Pusher
from homeserver.services.push.gateway import EVENT_ID_ONLY, Notice, Unreachable, notification, notify

WEB_PUSH = "chat.hromada.webpush"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256  # FIPS 186-4, D.1.2.3
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_POINT_BYTES, _AUTH_BYTES = 65, 16
_TEXT, _NAME = 300, 100  # characters: a message has 4,096 bytes, and push services may take no more (RFC 8030, 7.2)
_TTL_S = 86_400
_TOKEN_S = 12 * 3_600  # RFC 8292 allows a day
_TOKENS = 100  # push services are few
_ANSWER_BYTES = 65_536
_SECONDS = 30.0
# It is over, or was made for another key than this server's.  RFC 8030, section 7.3; RFC 8292, section 4.2
_GONE = (403, 404, 410)


class BadSubscription(ValueError):
    """What no browser gives."""


def check_subscription(pushkey: str, data: Mapping[str, Any]) -> None:
    """Raise BadSubscription unless a message can be encrypted for it."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decoded(pushkey, _POINT_BYTES))
    except ValueError:
        raise BadSubscription("pushkey must be a browser's `p256dh`") from None
    try:
        _decoded(data.get("auth"), _AUTH_BYTES)
    except ValueError:
        raise BadSubscription("data.auth must be a browser's `auth`") from None


class WebPush:
    """Owns this server's key for push services."""

    def __init__(self, seed: bytes, subject: str, clock: Clock) -> None:
        """`seed`: 64 secret bytes that all processes of the server share. `subject`: an address for the push service's
        operator to complain to."""
        self._key = ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, ec.SECP256R1())
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = urlsafe_b64encode(point).rstrip(b"=").decode()
        """What browsers subscribe with."""
        self._subject = subject
        self._clock = clock
        self._tokens: dict[str, tuple[float, str]] = {}

    async def notify(self, outbound: Outbound, pusher: Pusher, notice: Notice, unread: int) -> bool:
        """Send it. Returns False if the subscription is over. Raises Unreachable."""
        from http_ece import encrypt  # noqa: PLC0415 - where nobody pushes so it is not read

        data = orjson.loads(pusher.data)
        body = encrypt(
            _message(notice, unread, pusher.lang, only_id=data.get("format") == EVENT_ID_ONLY),
            private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=_decoded(pusher.pushkey, _POINT_BYTES),
            auth_secret=_decoded(data["auth"], _AUTH_BYTES),
            version="aes128gcm",
        )
        request = OutboundRequest(
            url=data["url"],
            method="POST",
            headers={
                "Authorization": f"vapid t={self._token(data['url'])},k={self.public_key}",
                "Content-Encoding": "aes128gcm",
                "Content-Type": "application/octet-stream",
                "TTL": str(_TTL_S),
                # What a browser that was away has not got yet is replaced by what is newer of the same room.
                "Topic": hashlib.sha256(notice.event["room_id"].encode()).hexdigest()[:32],
                "Urgency": "high" if notice.is_urgent else "normal",
            },
            body=body,
            max_bytes=_ANSWER_BYTES,
            seconds=_SECONDS,
            redirects=0,
        )
        try:
            async with outbound.request(request) as answer:
                status = answer.status
        except OutboundError as error:
            raise Unreachable(str(error)) from error
        if status in _GONE:
            return False
        if not 200 <= status < 300:
            raise Unreachable(f"status {status}")
        return True

    def _token(self, url: str) -> str:
        """One for a push service, made anew in the second half of its life."""
        parts = urlsplit(url)
        origin, now = f"{parts.scheme}://{parts.netloc}", self._clock.now_ms() / 1000
        ends, token = self._tokens.get(origin, (0.0, ""))
        if ends - now < _TOKEN_S / 2:
            ends = now + _TOKEN_S
            token = jwt.encode({"aud": origin, "exp": int(ends), "sub": self._subject}, self._key, algorithm="ES256")
            if len(self._tokens) >= _TOKENS:
                self._tokens.clear()
            self._tokens[origin] = ends, token
        return token


async def tell(outbound: Outbound, pusher: Pusher, notice: Notice | None, unread: int, web: WebPush | None) -> bool:
    """Tell a pusher that speaks HTTP of an event, or (None) of the number alone. Returns False if it is over.

    Raises Unreachable.
    """
    if pusher.kind != WEB_PUSH:
        return await notify(outbound, pusher, notification(pusher, notice, unread))
    # Browsers are not told the number alone: they show something for each push, or allow the client no more.
    return notice is None or (web is not None and await web.notify(outbound, pusher, notice, unread))


def _message(notice: Notice, unread: int, lang: str, *, only_id: bool) -> bytes:
    """What the service worker of the client shows (embed/web/client/worker.ts)."""
    event = notice.event
    said: dict[str, Any] = {"room": event["room_id"], "event": event["event_id"], "unread": unread, "lang": lang[:16]}
    if not only_id:
        said["sender"] = (notice.sender_display_name or event["sender"])[:_NAME]
        said["name"] = (notice.room_name or notice.room_alias or "")[:_NAME]
        if event["type"] == "m.room.message" and isinstance(body := event["content"].get("body"), str):
            said["text"] = body[:_TEXT]
        elif notice.user_is_target:
            said["invited"] = True
    return orjson.dumps(said)


def _decoded(text: Any, size: int) -> bytes:
    """Bytes of base64url, with its padding or without. Raises ValueError."""
    if not isinstance(text, str) or len(text) > 2 * size or _BASE64URL.fullmatch(text) is None:
        raise ValueError("not base64url")
    found = urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    if len(found) != size:
        raise ValueError("of another length")
    return found
