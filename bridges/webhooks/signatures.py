"""Is a request from whom it says? The signatures of the services that send webhooks, and our own.

All comparisons take the same time however much is right. A time that is signed must be near ours: otherwise whoever
once saw a request could send it again for ever.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_LONGEST_HEADER = 4096
_MOST_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came. Names of headers are in small letters."""

    headers: Mapping[str, str]
    body: bytes
    now_s: float
    tolerance_s: float

    def header(self, name: str) -> str:
        """A header; empty if it is missing, longer than any signature, or not of ASCII, as all signatures are."""
        value = self.headers.get(name, "")
        return value if len(value) <= _LONGEST_HEADER and value.isascii() else ""

    def is_recent(self, text: str, *, future: bool = True) -> bool:
        """Whether a Unix time is near ours; `future` bounds times to come, too."""
        if not text.isascii() or not text.isdecimal() or len(text) > 12:
            return False
        age = self.now_s - int(text)
        return age <= self.tolerance_s and (not future or age >= -self.tolerance_s)


Check = Callable[[Received, str], bool]
"""Whether a request was made by who has the secret."""


def _equal(one: str | bytes, other: str | bytes) -> bool:
    one, other = (part.encode("utf-8", "replace") if isinstance(part, str) else part for part in (one, other))
    return hmac.compare_digest(one, other)


def _mac(secret: str | bytes, data: bytes, name: str = "sha256") -> bytes:
    return hmac.digest(secret.encode() if isinstance(secret, str) else secret, data, name)


def _any(found: Sequence[str], expected: str) -> bool:
    """Whether one of the signatures is right; all are looked at."""
    return sum(_equal(one, expected) for one in found[:_MOST_SIGNATURES]) > 0


def _hmac(request: Received, secret: str) -> bool:
    """Our own: `webhook-timestamp`, and `webhook-signature: sha256=HEX` over `TIMESTAMP.BODY`."""
    at = request.header("webhook-timestamp")
    expected = "sha256=" + _mac(secret, at.encode() + b"." + request.body).hex()
    return request.is_recent(at) and _equal(request.header("webhook-signature"), expected)


def _github(request: Received, secret: str) -> bool:
    expected = "sha256=" + _mac(secret, request.body).hex()
    return bool(request.body) and _equal(request.header("x-hub-signature-256"), expected)


def _gitlab(request: Received, secret: str) -> bool:
    return bool(secret) and _equal(request.header("x-gitlab-token"), secret)


def _stripe(request: Received, secret: str) -> bool:
    parts = [part.strip().partition("=") for part in request.header("stripe-signature").split(",")]
    at = next((value for name, _, value in parts if name == "t"), "")
    found = [value for name, _, value in parts if name == "v1"]
    expected = _mac(secret, at.encode() + b"." + request.body).hex()
    return _any(found, expected) and request.is_recent(at, future=False)


def _standard(prefix: str) -> Check:
    def check(request: Received, secret: str) -> bool:
        id_, at = request.header(f"{prefix}-id"), request.header(f"{prefix}-timestamp")
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"))
        except binascii.Error:
            return False
        signed = id_.encode() + b"." + at.encode() + b"." + request.body
        expected = "v1," + base64.b64encode(_mac(key, signed)).decode()
        found = request.header(f"{prefix}-signature").split(" ")
        return bool(id_) and request.is_recent(at) and _any(found, expected)

    return check


def _slack(request: Received, secret: str) -> bool:
    at = request.header("x-slack-request-timestamp")
    expected = "v0=" + _mac(secret, b"v0:" + at.encode() + b":" + request.body).hex()
    return request.is_recent(at) and _equal(request.header("x-slack-signature"), expected)


def _body(header: str, *, in_base64: bool) -> Check:
    """HMAC-SHA256 over the body alone."""

    def check(request: Received, secret: str) -> bool:
        digest = _mac(secret, request.body)
        expected = base64.b64encode(digest).decode() if in_base64 else digest.hex()
        return _equal(request.header(header), expected)

    return check


def _discord(request: Received, secret: str) -> bool:
    """Ed25519; the secret is the application's public key in hexadecimal."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(secret))
        signature = bytes.fromhex(request.header("x-signature-ed25519"))
        key.verify(signature, request.header("x-signature-timestamp").encode() + request.body)
    except (ValueError, InvalidSignature):
        return False
    return True


def _discord_recent(request: Received, secret: str) -> bool:
    return _discord(request, secret) and request.is_recent(request.header("x-signature-timestamp"))


@dataclass(frozen=True, slots=True)
class Style:
    """How a service signs, and what tells its requests apart."""

    check: Check
    id_header: str = ""
    """A header that is signed and names the message. Without one, its bytes name it: a header that is not signed could
    be changed by who repeats the request."""
    type_header: str = ""
    """A header with the kind of event, for templates."""


STYLES: Mapping[str, Style] = {
    "hmac": Style(_hmac),
    "standard": Style(_standard("webhook"), "webhook-id"),
    "svix": Style(_standard("svix"), "svix-id"),
    "github": Style(_github, type_header="x-github-event"),
    "gitlab": Style(_gitlab, type_header="x-gitlab-event"),
    "stripe": Style(_stripe),
    "slack": Style(_slack),
    "shopify": Style(_body("x-shopify-hmac-sha256", in_base64=True), type_header="x-shopify-topic"),
    "viber": Style(_body("x-viber-content-signature", in_base64=False)),
    "line": Style(_body("x-line-signature", in_base64=True)),
    "discord": Style(_discord_recent),
}


def is_authentic(style: str, request: Received, secrets: Sequence[str]) -> bool:
    """Whether one of the secrets made the signature: two while they are being changed."""
    check = STYLES[style].check
    return sum(check(request, secret) for secret in secrets) > 0


def message_id(style: str, request: Received) -> str:
    """What tells the message from others, so that it is told once."""
    header = STYLES[style].id_header
    named = request.header(header) if header else ""
    return named or hashlib.sha256(request.body).hexdigest()


def signed_headers(secret: str, message: str, now_s: int, body: bytes) -> dict[str, str]:
    """The headers of what we send, after the Standard Webhooks specification."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = _mac(key, f"{message}.{now_s}.".encode() + body)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(now_s),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
