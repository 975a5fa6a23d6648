"""Identifiers: their grammar, their parts, their limits.

Parsing accepts what others may send, historical user ids included; only `check_localpart_for_registration` holds new
names to today's grammar. Whatever is malformed is MatrixError(INVALID_PARAM).
spec: appendices#identifier-grammar
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NewType

from homeserver.core.errors import ErrCode, MatrixError

UserID = NewType("UserID", str)
RoomID = NewType("RoomID", str)
EventID = NewType("EventID", str)
RoomAlias = NewType("RoomAlias", str)
ServerName = NewType("ServerName", str)
DeviceID = NewType("DeviceID", str)

MAX_BYTES = 255
"""The limit of every identifier, in bytes, sigil and domain included."""

# ASCII only: `\d` and str.isdigit would let other scripts' digits pass.
_SERVER_NAME = re.compile(
    r"(?P<host>\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[0-9A-Za-z.-]{1,255}))(?P<port>:[0-9]{1,5})?"
)
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_NEW_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")


def parse_server_name(text: str) -> ServerName:
    """`text` as a server name: a DNS name, IPv4 or [IPv6] address with an optional port.

    spec: appendices#server-name
    """
    match = _SERVER_NAME.fullmatch(text) if isinstance(text, str) and len(text) <= MAX_BYTES else None
    if match is None or not _is_host(match["name"], match["ipv6"]) or not _is_port(match["port"]):
        raise _invalid("server name", text)
    return ServerName(text)


def parse_user_id(text: str) -> UserID:
    """`text` as a user id, historical ones included.  spec: appendices#historical-user-ids"""
    _split(text, "@", "user id")
    return UserID(text)


def parse_room_alias(text: str) -> RoomAlias:
    """`text` as a room alias.  spec: appendices#room-aliases"""
    _split(text, "#", "room alias")
    return RoomAlias(text)


def parse_room_id(text: str) -> RoomID:
    """`text` as a room id: `!opaque:domain`, or `!hash` as in v12.  spec: appendices#room-ids"""
    _check_opaque(text, "!", "room id")
    return RoomID(text)


def parse_event_id(text: str) -> EventID:
    """`text` as an event id: `$opaque:domain` as in v1 and v2, or `$hash`.  spec: appendices#event-ids"""
    _check_opaque(text, "$", "event id")
    return EventID(text)


def parse_device_id(text: str) -> DeviceID:
    """`text` as a device id: opaque, but a non-empty string without NUL that fits where identifiers go."""
    _check_text(text, "device id")
    if not text:
        raise _invalid("device id", text)
    return DeviceID(text)


def parse_media(server_name: str, media_id: str) -> tuple[ServerName, str]:
    """The two parts of an `mxc://` URI, checked before anything looks for them.

    spec: client-server-api#content-repo-security-considerations
    """
    if not isinstance(media_id, str) or _MEDIA_ID.fullmatch(media_id) is None:
        raise _invalid("media id", media_id)
    return parse_server_name(server_name), media_id


def domain_of(identifier: str) -> ServerName:
    """The server name in a parsed identifier. Raises MatrixError(INVALID_PARAM) if it has none (v12 room ids)."""
    _, colon, domain = identifier.partition(":")
    if not colon:
        raise _invalid("identifier with a domain", identifier)
    return ServerName(domain)


def is_user_of(text: str, server_name: str) -> bool:
    """Whether the user id `text` is of the server. Raises MatrixError(INVALID_PARAM) if it is no user id.

    The same as asking `domain_of(parse_user_id(text))`, for requests that name hundreds of users.
    """
    if text.startswith("@") and len(text) <= MAX_BYTES and text.isascii() and "\0" not in text:
        _, _, domain = text.partition(":")
        if domain == server_name:
            return True
    return domain_of(parse_user_id(text)) == server_name


def localpart_of(identifier: str) -> str:
    """What stands between the sigil and the domain, or the end if there is no domain."""
    return identifier[1:].partition(":")[0]


def check_localpart_for_registration(localpart: str, server_name: str) -> UserID:
    """The user id that a new account named `localpart` gets.

    Raises MatrixError(INVALID_USERNAME) unless it is made of `a-z 0-9 . _ = - / +` and fits the limit; the caller
    has lowered upper case if it wants to be kind.  spec: appendices#user-identifiers
    """
    if not isinstance(localpart, str) or _NEW_LOCALPART.fullmatch(localpart) is None:
        raise MatrixError(
            ErrCode.INVALID_USERNAME, "User names may contain only a-z, 0-9 and the characters . _ = - / +"
        )
    user_id = f"@{localpart}:{server_name}"
    if len(user_id) > MAX_BYTES:
        raise MatrixError(ErrCode.INVALID_USERNAME, "User name is too long")
    return UserID(user_id)


def _split(text: str, sigil: str, what: str) -> None:
    """Check `sigil localpart ":" server_name`. No localpart holds a colon, so the first one splits."""
    _check_text(text, what)
    localpart, colon, domain = text.partition(":")
    if not localpart.startswith(sigil) or not colon:
        raise _invalid(what, text)
    try:
        parse_server_name(domain)
    except MatrixError:
        raise _invalid(what, text) from None


def _check_opaque(text: str, sigil: str, what: str) -> None:
    _check_text(text, what)
    if len(text) < 2 or not text.startswith(sigil):
        raise _invalid(what, text)
    if ":" in text:
        _split(text, sigil, what)


def _check_text(text: str, what: str) -> None:
    """Refuse non-strings, NUL, surrogates and more than 255 bytes."""
    if not isinstance(text, str) or "\x00" in text:
        raise _invalid(what, text)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise _invalid(what, text) from None
    if size > MAX_BYTES:
        raise _invalid(what, text)


def _is_host(name: str | None, ipv6: str | None) -> bool:
    if ipv6 is not None:
        try:
            IPv6Address(ipv6)
        except AddressValueError:
            return False
        return True
    if name is None:
        return False
    if _FOUR_NUMBERS.fullmatch(name):
        return all(len(number) <= 3 and int(number) <= 255 for number in name.split("."))
    return all(name.removesuffix(".").split("."))  # labels are not empty; a trailing dot is the root


def _is_port(port: str | None) -> bool:
    return port is None or int(port[1:]) <= 65_535


def _invalid(what: str, text: object) -> MatrixError:
    shown = ascii(text)  # surrogates and control characters must not reach the body
    return MatrixError(ErrCode.INVALID_PARAM, f"{shown[:80]} is not a valid {what}")
