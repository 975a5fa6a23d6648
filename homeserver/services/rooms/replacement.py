"""What a room's replacement begins with: the events of the new room, out of the state of the old one.

Pure: `upgrade.py` reads the old room and writes the new one. Nothing here says who may upgrade.
spec: client-server-api#room-upgrades
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homeserver.core.auth.create import is_user_id, privileged_creators
from homeserver.core.auth.power import parse_level
from homeserver.core.canonical import check_strict
from homeserver.core.content import check_client_content
from homeserver.core.errors import MatrixError
from homeserver.core.event import Event
from homeserver.core.versions import RoomVersion
from homeserver.services.rooms.drafts import Draft

TOMBSTONE = "m.room.tombstone"
TRANSFERRED = (
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
)
"""State that goes over as it is, besides power levels, bans, and the children of a space."""
SPACE_CHILD = "m.space.child"

_POWER_LEVELS = "m.room.power_levels"
_DOORS = ("m.room.join_rules", "m.room.guest_access")
_NAMED = ("ban", "events_default", "invite", "kick", "redact", "state_default", "users_default")
_MAPS = ("events", "notifications", "users")
_ENOUGH = 100
CREATORS_ONLY = 150
"""What replacing a room takes where its creators stand above all levels: whoever replaces it is the next creator.

spec: proposals/4289-privilege-creators
"""


def replacement_events(
    upgrader: str, profile: Mapping[str, str], version: RoomVersion, create: dict[str, Any], old: Sequence[Event]
) -> list[Draft]:
    """The drafts of the new room in order; `create` is the content of its first event, `old` what may go over.

    `old` holds the old room's create event. What the new room version would refuse stays behind.
    """

    def state(event_type: str, content: dict[str, Any], state_key: str = "") -> Draft:
        return Draft(upgrader, event_type, content, state_key)

    drafts = [
        state("m.room.create", create),
        state("m.room.member", {**profile, "membership": "join"}, upgrader),
    ]
    levels = next((event.content for event in old if event.type == _POWER_LEVELS and event.state_key == ""), None)
    final = None
    if levels is not None:
        creators = [upgrader, *create.get("additional_creators", ())]
        final = power_levels(levels, version, creators)
        if version.auth.privileged_creators and not _privileged(old):
            raise_tombstone(final, CREATORS_ONLY)
        if not version.auth.privileged_creators:
            for creator in _privileged(old):
                final = _with_power(final, creator)
        start = final if version.auth.privileged_creators else _with_power(final, upgrader)
        drafts.append(state(_POWER_LEVELS, start))
    for event in sorted(old, key=_order):
        content = _content(event, version)
        if content is not None:
            drafts.append(state(event.type, content, event.state_key or ""))
    if final is not None and drafts[2].content != final:
        drafts.append(state(_POWER_LEVELS, final))  # what was lent for the making of the room is given back
    return drafts


def opened_last(drafts: Sequence[Draft]) -> list[Draft]:
    """The same drafts, with what lets people in behind the bans: nobody is to come in between.

    What was lent for the making of the room is still given back at the end.
    """
    end = len(drafts) - 1 if drafts[-1].type == _POWER_LEVELS else len(drafts)
    doors = [draft for draft in drafts[2:end] if draft.type in _DOORS]
    others = [draft for draft in drafts[2:end] if draft.type not in _DOORS]
    return [*drafts[:2], *others, *doors, *drafts[end:]]


def create_content(
    upgrader: str, version: RoomVersion, old_create: Event, last_event: str | None, additional_creators: Sequence[str]
) -> dict[str, Any]:
    """Content of the new create event.  spec: client-server-api#mroomcreate"""
    predecessor = {"room_id": old_create.room_id}
    if last_event is not None:
        predecessor["event_id"] = last_event
    content: dict[str, Any] = {"room_version": version.id, "predecessor": predecessor}
    if not version.auth.creator_from_sender:
        content["creator"] = upgrader
    # A room that was closed to other servers must not open up by its upgrade.
    for key, kind in (("type", str), ("m.federate", bool)):
        if isinstance(old_create.content.get(key), kind):
            content[key] = old_create.content[key]
    if version.auth.privileged_creators and additional_creators:
        content["additional_creators"] = list(dict.fromkeys(additional_creators))
    return content


def power_levels(old: Mapping[str, Any], version: RoomVersion, creators: Iterable[str]) -> dict[str, Any]:
    """The old room's power levels in the form that `version` demands; creators of v12 stand in no list.

    Keys that nobody defines go over as they are, if the new room can hold them.
    """
    content = {key: value for key, value in old.items() if key not in (*_NAMED, *_MAPS) and _is_strict(value)}
    for name in _NAMED:
        if (level := _number(old.get(name))) is not None:
            content[name] = level
    for name in _MAPS:
        table = old.get(name)
        if isinstance(table, dict):
            levels = ((key, _number(value)) for key, value in table.items() if name != "users" or is_user_id(key))
            content[name] = {key: level for key, level in levels if level is not None}
    if version.auth.privileged_creators:
        for creator in creators:
            content.get("users", {}).pop(creator, None)
        raise_tombstone(content)
    return content


def raise_tombstone(levels: dict[str, Any], least: int | None = None) -> None:
    """From v12 on replacing a room takes more than ordinary state, and not less than `least`.

    spec: client-server-api#post_matrixclientv3createroom
    """
    default = levels.get("state_default", 50)
    events = levels.get("events", {})
    if not isinstance(events, dict) or type(default) is not int:
        return  # refused with the event
    known = events.get(TOMBSTONE)
    if known is None or (type(known) is int and (known <= default or (least is not None and known < least))):
        levels["events"] = {**events, TOMBSTONE: max(CREATORS_ONLY, default + 50)}


def closed_levels(levels: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """Power levels of a room that was replaced: ordinary members neither write nor invite any more."""
    users_default = parse_level(levels.get("users_default"), version) or 0
    floor = max(50, users_default + 1)
    raised = {name: max(parse_level(levels.get(name), version) or 0, floor) for name in ("events_default", "invite")}
    return {**levels, **raised}


def _is_strict(value: Any) -> bool:
    """Whether a value fits into events of every version: the first ones held numbers of any size."""
    try:
        check_strict(value)
    except MatrixError:
        return False
    return True


def _number(value: Any) -> int | None:
    """A level as any version would write it: old rooms also hold strings."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    return None


def _privileged(old: Sequence[Event]) -> list[str]:
    """The creators of the old room, if its version gave them power that no event shows."""
    create = next((event for event in old if event.type == "m.room.create"), None)
    return [] if create is None else sorted(privileged_creators(create))


def _with_power(levels: dict[str, Any], user_id: str) -> dict[str, Any]:
    """The levels with `user_id` able to send everything the new room begins with."""
    wanted = [_ENOUGH, levels.get("state_default", 50), levels.get("ban", 50), *levels.get("events", {}).values()]
    users = levels.get("users", {})
    if users.get(user_id, levels.get("users_default", 0)) >= max(wanted):
        return levels
    return {**levels, "users": {**users, user_id: max(wanted)}}


def _order(event: Event) -> int:
    # Join rules and what else protects the room come before names and children.
    return TRANSFERRED.index(event.type) if event.type in TRANSFERRED else len(TRANSFERRED)


def _content(event: Event, version: RoomVersion) -> dict[str, Any] | None:
    """What the new room says in place of `event`; None if nothing."""
    content = event.content
    if event.type == "m.room.member":
        if event.membership != "ban":
            return None
        content = {key: content[key] for key in ("membership", "reason") if key in content}
    elif event.type == SPACE_CHILD:
        if not isinstance(content.get("via"), list):
            return None
    elif event.type not in TRANSFERRED or event.state_key != "":
        return None
    elif event.type == "m.room.join_rules":
        content = _join_rules(content, version)
    try:
        check_client_content(event.type, event.state_key, content, version)
    except MatrixError:
        return None
    return content


def _join_rules(content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """Join rules; one that the version does not know would lock everybody out, so that it becomes `invite`."""
    rules = version.auth
    known = {"knock": rules.knock, "restricted": rules.restricted, "knock_restricted": rules.knock_restricted}
    return content if known.get(content.get("join_rule", ""), True) else {"join_rule": "invite"}
