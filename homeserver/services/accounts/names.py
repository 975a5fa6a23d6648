"""Checks of the names that people and clients choose: user names, device ids, display names.

Whatever passes here can be stored: no U+0000 (PostgreSQL refuses it), no lone surrogate, bounded length.
"""

from __future__ import annotations

import re

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import check_localpart_for_registration

MAX_DEVICE_ID = 255
MAX_DISPLAY_NAME = 256
VISITOR_PREFIX = "visitor-"
"""With what the user names of visitors of a support chat begin; nobody else is to pass for one of them."""

_CONTROL = re.compile("[\0\ud800-\udfff]")


def require_text(value: str, what: str, max_length: int = 255) -> str:
    """`value` itself, if it can be stored and has at most `max_length` UTF-8 bytes. Raises INVALID_PARAM."""
    if _CONTROL.search(value):
        raise MatrixError(ErrCode.INVALID_PARAM, f"{what} contains a character that is not allowed")
    if len(value) > max_length or len(value.encode()) > max_length:
        raise MatrixError(ErrCode.INVALID_PARAM, f"{what} is longer than {max_length} bytes")
    return value


def is_storable(value: str) -> bool:
    """True if the text could be in the store at all; a lookup of any other finds nothing."""
    return len(value) <= 1024 and not _CONTROL.search(value)


def display_name_of_device(value: str | None) -> str | None:
    """A device's display name, cut to what is stored.  Raises INVALID_PARAM for characters that are not allowed."""
    if value is None:
        return None
    if _CONTROL.search(value):
        raise MatrixError(ErrCode.INVALID_PARAM, "The display name contains a character that is not allowed")
    return value[:MAX_DISPLAY_NAME]


def device_id_of(value: str | None) -> str | None:
    """A device id chosen by the client, checked; None (or empty) asks for one to be made."""
    if not value:
        return None
    return require_text(value, "device_id", MAX_DEVICE_ID)


def localpart_of(username: str, server_name: str, *, reserved: bool = False) -> str:
    """The localpart of a user name that somebody wants to register, case folded.

    A full user id of this server is accepted too; names with a leading underscore, and such as visitors of a support
    chat have, only if `reserved`. Raises INVALID_USERNAME, EXCLUSIVE.
    """
    folded = username.lower()
    if folded.startswith("@"):
        localpart, _, server = folded[1:].partition(":")
        if server != server_name:
            raise MatrixError(ErrCode.INVALID_USERNAME, f"User ids of this server end with :{server_name}")
        folded = localpart
    if folded.startswith("_") and not reserved:
        raise MatrixError(ErrCode.INVALID_USERNAME, "User names may not begin with an underscore")
    if folded.startswith(VISITOR_PREFIX) and not reserved:
        raise MatrixError(ErrCode.EXCLUSIVE, "User names that begin with visitor- belong to visitors of a support chat")
    check_localpart_for_registration(folded, server_name)
    return folded


def user_id_at_login(identifier: str, server_name: str) -> str | None:
    """The user id that a localpart or full user id means here; None if it cannot be a user of this server."""
    if not is_storable(identifier):
        return None
    if identifier.startswith("@"):
        localpart, _, server = identifier[1:].partition(":")
        if server != server_name:
            return None
    else:
        localpart = identifier
    user_id = f"@{localpart.lower()}:{server_name}"
    return user_id if localpart and len(user_id.encode()) <= 255 else None
