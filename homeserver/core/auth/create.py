"""The m.room.create event: its own rule and what it says about the room.

spec: rooms/v12#authorisation-rules (rule 1), rooms/v1#authorisation-rules (rule 1)
"""

from __future__ import annotations

from typing import Any

from homeserver.core.errors import MatrixError, NotAllowed
from homeserver.core.event import Event
from homeserver.core.ids import domain_of, parse_user_id
from homeserver.core.versions import ROOM_VERSIONS


def check_create(event: Event) -> None:
    """Rule 1 of every version. Raises NotAllowed."""
    # 1. If type is m.room.create:
    # 1.1 If it has any prev_events, reject.
    if event.prev_events:
        raise NotAllowed("The create event must be the first of its room")
    # 1.2 [to v11] If the domain of the room_id does not match the domain of the sender, reject.
    # 1.2 [from v12] If the event has a room_id, reject.
    if event.version.auth.room_id_is_create_hash:
        if "room_id" in event.pdu:
            raise NotAllowed("The create event of this room version has no room_id")
    elif event.room_id.partition(":")[2] != domain_of(event.sender):
        raise NotAllowed("The room id belongs to another server than the creator")
    # 1.3 If content.room_version is present and is not a recognised version, reject.
    if not _is_recognised(event.content.get("room_version", "1")):
        raise NotAllowed("The create event names an unknown room version")
    # 1.4 [to v10] If content has no creator property, reject.
    if not event.version.auth.creator_from_sender and "creator" not in event.content:
        raise NotAllowed("The create event names no creator")
    # 1.4 [from v12] If additional_creators is present in content and is not an array of strings where each string
    # passes the same user ID validation applied to sender, reject.
    if event.version.auth.privileged_creators and "additional_creators" in event.content:
        additional = event.content["additional_creators"]
        if not isinstance(additional, list) or not all(is_user_id(user) for user in additional):
            raise NotAllowed("additional_creators must be a list of user ids")
    # 1.5 Otherwise, allow.


def creator_of(create: Event) -> str | None:
    """The one creator of a room: the sender, before v11 `content.creator` (None if that is not a string)."""
    if create.version.auth.creator_from_sender:
        return create.sender
    creator = create.content.get("creator")
    return creator if isinstance(creator, str) else None


def privileged_creators(create: Event) -> frozenset[str]:
    """The users of infinite power: from v12 on the sender and `additional_creators`, before that nobody.

    spec: rooms/v12#authorisation-rules
    """
    if not create.version.auth.privileged_creators:
        return frozenset()
    additional = create.content.get("additional_creators")
    listed = additional if isinstance(additional, list) else []
    return frozenset([create.sender, *(user for user in listed if isinstance(user, str))])


def is_user_id(value: Any) -> bool:
    """Whether `value` is a valid user id, historical ones included."""
    try:
        parse_user_id(value)
    except MatrixError:
        return False
    return True


def _is_recognised(room_version: Any) -> bool:
    return isinstance(room_version, str) and room_version in ROOM_VERSIONS
