"""Which pieces of state authorise an event.

spec: server-server-api#auth-events-selection
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.core.event import Event, StateKey
from homeserver.core.versions import RoomVersion


def auth_types_for(
    event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any], version: RoomVersion
) -> list[StateKey]:
    """The state keys whose current events, where present, are the `auth_events` of an event. No key comes twice.

    The create event of v12 is not among them: the room id implies it.
    """
    if event_type == "m.room.create":
        return []
    keys = [] if version.auth.room_id_is_create_hash else [CREATE]
    keys += [POWER_LEVELS, ("m.room.member", sender)]
    if event_type == "m.room.member":
        keys += _for_member(state_key, content, version)
    return list(dict.fromkeys(keys))


def auth_types_of(event: Event) -> list[StateKey]:
    """`auth_types_for` an event that is already built."""
    return auth_types_for(event.type, event.sender, event.state_key, event.content, event.version)


def _for_member(state_key: str | None, content: Mapping[str, Any], version: RoomVersion) -> list[StateKey]:
    membership = content.get("membership")
    keys: list[StateKey] = [] if state_key is None else [("m.room.member", state_key)]
    if membership in ("join", "invite", "knock"):
        keys.append(JOIN_RULES)
    if membership == "invite":
        token = third_party_token(content)
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    authoriser = content.get("join_authorised_via_users_server")
    if membership == "join" and version.auth.restricted and isinstance(authoriser, str):
        keys.append(("m.room.member", authoriser))
    return keys


def third_party_token(content: Mapping[str, Any]) -> str | None:
    """`third_party_invite.signed.token` of the content of an invite, if it is a string."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None
