"""The settings of webhooks: `[hook.NAME]` for what comes in, `[endpoint.NAME]` for what goes out."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from bridges.config import Config, ConfigError, Secret, per_second, seconds
from bridges.render import BadTemplate, Template

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
KNOWN = frozenset(("body", "event", "hook", "old"))
"""What templates of hooks may name."""
OUT = frozenset(("event", "room", "old"))
"""What templates of endpoints may name."""


class Hook(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A site that sends: `POST /hook/NAME` at the address of `appservice.listen`."""

    style: Literal[
        "hmac",
        "standard",
        "svix",
        "github",
        "gitlab",
        "stripe",
        "slack",
        "shopify",
        "viber",
        "line",
        "discord",
    ]
    """How it signs."""
    secret: Secret
    """The secret that it signs with."""
    old_secret: Secret | None = None
    """The one before, as long as both are in use."""
    text: str
    """The message, a template over `body` (what was sent), `event` (its kind) and `hook` (the name)."""
    html: str = ""
    """The same as HTML; values are escaped."""
    msgtype: Literal["m.text", "m.notice"] = "m.notice"
    """The kind of message."""
    room: str = ""
    """A room that the bot is invited to, `!id` or `#alias:server`. Empty: one of its own."""
    name: str = ""
    """The name of its own room."""
    invite: tuple[str, ...] = ()
    """Who is invited to its own room."""
    window: str = "5m"
    """How old or new a signed time may be."""
    rate: str = "10/s"
    """How many requests are taken; more get 429."""
    max_bytes: int = 1_048_576
    """The largest body."""


class Endpoint(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A site that is told what happens in rooms of the bridge."""

    url: Secret | str
    """Where it is sent to; https, unless `allow` names its network."""
    secret: Secret
    """What it is signed with: base64 of at least 24 bytes, `whsec_` may stand before it."""
    mappings: tuple[str, ...] = ()
    """Of which mappings' and hooks' rooms; empty: all of the bridge."""
    types: tuple[str, ...] = ("m.room.message",)
    """Which types of events."""
    text: str = ""
    """A template over `event` and `room` that is sent as `text` besides."""
    allow: tuple[str, ...] = ()
    """Private networks that it may be in, such as `10.1.2.0/24`."""
    timeout: str = "15s"
    """How long an answer may take."""
    max_queue: int = 10_000
    """How many may wait; then the oldest are put aside as dead."""


def hooks(config: Config) -> dict[str, Hook]:
    """The hooks of a configuration. Raises ConfigError."""
    return _converted(config.hook, Hook, "hook")


def endpoints(config: Config) -> dict[str, Endpoint]:
    """The endpoints of a configuration. Raises ConfigError."""
    return _converted(config.endpoint, Endpoint, "endpoint")


def _converted(tables: dict[str, Any], kind: type[Any], where: str) -> dict[str, Any]:
    found = {}
    for name, table in tables.items():
        try:
            found[name] = msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            raise ConfigError([f"{where}.{name}: {error}"]) from None
    return found


def key_bytes(secret: str) -> bytes:
    """The key of an endpoint's secret. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None
    if len(key) < 24:
        raise ValueError("has less than 24 bytes")
    return key


def address_of(endpoint: Endpoint) -> str:
    """Where an endpoint is. Raises ConfigError."""
    return endpoint.url if isinstance(endpoint.url, str) else endpoint.url.read()


def faults(config: Config) -> Iterator[str]:
    """What is wrong with the webhooks of a configuration."""
    try:
        incoming, outgoing = hooks(config), endpoints(config)
    except ConfigError as error:
        yield from error.faults
        return
    for name, hook in incoming.items():
        yield from _hook_faults(f"hook.{name}", name, hook, config)
    for name, endpoint in outgoing.items():
        yield from _endpoint_faults(f"endpoint.{name}", name, endpoint)


def _hook_faults(where: str, name: str, hook: Hook, config: Config) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"{where}: the name is made of a-z, 0-9, _ and -, at most 40"
    if config.appservice.address is None:
        yield f"{where}: appservice.listen is needed"
    if hook.room and hook.room[0] not in "!#":
        yield f"{where}.room must begin with ! or #"
    for setting, text, html in (("text", hook.text, False), ("html", hook.html, True)):
        yield from _template_faults(f"{where}.{setting}", text, KNOWN, html=html)
    for setting, parse in (("window", seconds), ("rate", per_second)):
        try:
            parse(getattr(hook, setting))
        except ValueError as error:
            yield f"{where}.{setting}: {error}"
    if not 1 <= hook.max_bytes <= 16 * 1_048_576:
        yield f"{where}.max_bytes must be from 1 to 16 MiB"


def _endpoint_faults(where: str, name: str, endpoint: Endpoint) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"{where}: the name is made of a-z, 0-9, _ and -, at most 40"
    yield from _template_faults(f"{where}.text", endpoint.text, OUT, html=False)
    try:
        parts = urlsplit(address_of(endpoint))
        if parts.scheme != "https" and not (parts.scheme == "http" and endpoint.allow):
            yield f"{where}.url must begin with https://"
        key_bytes(endpoint.secret.read())
        seconds(endpoint.timeout)
    except ConfigError as error:
        yield from (f"{where}: {fault}" for fault in error.faults)
    except ValueError as error:
        yield f"{where}: {error}"
    for text in endpoint.allow:
        try:
            ip_network(text)
        except ValueError:
            yield f"{where}.allow: {text!r} is not a network"


def _template_faults(where: str, text: str, known: frozenset[str], *, html: bool) -> Iterator[str]:
    try:
        unknown = Template(text, html=html).names - known
    except BadTemplate as error:
        yield f"{where}: {error}"
    else:
        if unknown:
            yield f"{where}: there is no {', '.join(sorted(unknown))}; there is {', '.join(sorted(known - {'old'}))}"
