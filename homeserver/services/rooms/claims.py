"""What a client may not say in an event: only the server sets it, or only a signature of somebody else makes it true.

The one table of such keys. Everything that takes content from a client passes it here first; contents that services
make themselves do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed

MEMBER = "m.room.member"

_NOT_OF_CLIENTS: Mapping[str, frozenset[str]] = {
    # spec: client-server-api#restricted-rooms: who vouches for a join is found by the server that signs it.
    # spec: client-server-api#third-party-invites: `signed` is the word of an identity server, and none is used here.
    MEMBER: frozenset({"join_authorised_via_users_server", "third_party_invite"}),
}


def own_words(event_type: str, content: dict[str, Any]) -> dict[str, Any]:
    """The content without the keys that clients may not set in events of this type."""
    kept_out = _NOT_OF_CLIENTS.get(event_type)
    if kept_out is None or kept_out.isdisjoint(content):
        return content
    return {key: value for key, value in content.items() if key not in kept_out}


def check_state_type(event_type: str) -> None:
    """Refuse types that clients may not set as state: what creates a room or redacts is made by its own endpoint.

    Raises MatrixError: FORBIDDEN, INVALID_PARAM.
    """
    if event_type == "m.room.create":
        raise NotAllowed("A room is created once")
    if event_type == "m.room.redaction":
        # From version 11 on, servers would act upon its `redacts` as if it had been sent by /redact.
        raise MatrixError(ErrCode.INVALID_PARAM, "A redaction is not state: use /redact")


def check_initial_state(event_type: str) -> None:
    """Refuse what createRoom's `initial_state` may not hold; raises MatrixError(INVALID_ROOM_STATE).

    Members would come in past the checks of invites.  spec: client-server-api#post_matrixclientv3createroom
    """
    if event_type in (MEMBER, "m.room.create", "m.room.redaction"):
        raise MatrixError(ErrCode.INVALID_ROOM_STATE, f"initial_state may not hold {event_type}")
