"""What may be known of rooms before joining them: their summaries, and who gets to see which.

One set of rules for summaries of single rooms and for the trees of spaces; the published directory, whose rooms
anybody may know, takes the summaries only.
spec: client-server-api#get_matrixclientv1room_summaryroomidoralias, client-server-api#discovering-rooms-within-spaces
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction
from homeserver.services.rooms.replacement import SPACE_CHILD

SHOWN = (
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
)
_OPEN_RULES = ("public", "knock", "knock_restricted")
_RESTRICTED_RULES = ("restricted", "knock_restricted")


@dataclass(frozen=True, slots=True)
class Preview:
    """A room as somebody outside may see it."""

    room_id: str
    summary: dict[str, Any]
    children: Sequence[StoredEvent]
    """Its m.space.child events, if it is a space."""

    @property
    def is_space(self) -> bool:
        return self.summary.get("room_type") == "m.space"


async def previews(tx: Transaction, room_ids: Collection[str], mine: Mapping[str, str]) -> dict[str, Preview]:
    """Those of the rooms that exist and that a user with memberships `mine` (by room id) may know of.

    Four statements, whatever the number of rooms.
    """
    nids = await tx.rooms.room_nids(room_ids)
    if not nids:
        return {}
    states = await tx.rooms.current_state(nids.values(), types=SHOWN)
    counts = await tx.rooms.member_counts(nids.values())
    known: dict[str, Preview] = {}
    spaces = []
    for room_id, room_nid in nids.items():
        summary = summarise(room_id, states.get(room_nid, []), counts.get(room_nid, {}))
        if _may_know(summary, room_id, mine):
            known[room_id] = Preview(room_id, summary, ())
            if known[room_id].is_space:
                spaces.append(room_id)
    children = await tx.rooms.current_state([nids[space] for space in spaces], types=[SPACE_CHILD]) if spaces else {}
    for space in spaces:
        known[space] = Preview(space, known[space].summary, children.get(nids[space], []))
    return known


def summarise(room_id: str, state: Sequence[StoredEvent], counts: Mapping[str, int]) -> dict[str, Any]:
    """The summary of a room out of its state of the types `SHOWN`, with the room version."""
    content = {stored.event.type: stored.event.content for stored in state if stored.event.state_key == ""}

    def text(event_type: str, key: str) -> str | None:
        value = content.get(event_type, {}).get(key)
        return value if isinstance(value, str) and value else None

    optional = {
        "name": text("m.room.name", "name"),
        "topic": text("m.room.topic", "topic"),
        "avatar_url": text("m.room.avatar", "url"),
        "canonical_alias": text("m.room.canonical_alias", "alias"),
        "join_rule": text("m.room.join_rules", "join_rule"),
        "room_type": text("m.room.create", "type"),
        "encryption": text("m.room.encryption", "algorithm"),
        "allowed_room_ids": _allowed(content.get("m.room.join_rules", {})) or None,
    }
    return {
        "room_id": room_id,
        "room_version": text("m.room.create", "room_version") or "1",
        "num_joined_members": counts.get("join", 0),
        "world_readable": text("m.room.history_visibility", "history_visibility") == "world_readable",
        "guest_can_join": text("m.room.guest_access", "guest_access") == "can_join",
        **{key: value for key, value in optional.items() if value is not None},
    }


def _allowed(join_rules: Mapping[str, Any]) -> list[str]:
    """Rooms whose members may join a restricted room.  spec: client-server-api#restricted-rooms"""
    allow = join_rules.get("allow")
    if join_rules.get("join_rule") not in _RESTRICTED_RULES or not isinstance(allow, list):
        return []
    rooms = [c.get("room_id") for c in allow if isinstance(c, dict) and c.get("type") == "m.room_membership"]
    return [room_id for room_id in rooms if isinstance(room_id, str)]


def _may_know(summary: Mapping[str, Any], room_id: str, mine: Mapping[str, str]) -> bool:
    if mine.get(room_id) == "ban":
        return bool(summary["world_readable"])
    if summary["world_readable"] or mine.get(room_id) in ("join", "invite", "knock"):
        return True
    rule = summary.get("join_rule")
    if rule in _OPEN_RULES:
        return True
    version = ROOM_VERSIONS.get(summary["room_version"])
    if rule != "restricted" or version is None or not version.auth.restricted:
        return False
    return any(mine.get(allowed) == "join" for allowed in summary.get("allowed_room_ids", ()))
