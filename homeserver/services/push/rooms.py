"""What push rules and notifications ask of rooms, read for all members at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core.auth.power import PowerLevels
from homeserver.core.event import Event
from homeserver.core.pushmatch import RoomFacts
from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction

_STATE = ("m.room.create", "m.room.power_levels", "m.room.name", "m.room.canonical_alias", "m.room.encryption")


@dataclass(frozen=True, slots=True)
class PushRoom:
    """A room as it is now, and the member events of those asked about."""

    state: Mapping[tuple[str, str], Event]
    members: Mapping[str, StoredEvent]
    joined: int

    def get(self, event_type: str, state_key: str, /) -> Event | None:
        """A state event, as the rules of authorisation look at it."""
        return self.state.get((event_type, state_key))

    def facts(self, user_id: str, sender: str) -> RoomFacts:
        """What the rules of a user ask, for an event of this sender."""
        levels = PowerLevels.of(self, self.state["m.room.create", ""].version)
        power = self.get("m.room.power_levels", "")
        notifications = power.content.get("notifications") if power is not None else None
        return RoomFacts(
            self.joined,
            levels.user(sender),
            notifications if isinstance(notifications, dict) else {},
            self.display_name(user_id),
        )

    def display_name(self, user_id: str) -> str | None:
        """Of a member, in the room."""
        member = self.members.get(user_id)
        return _text(member.event.content.get("displayname")) if member is not None else None

    @property
    def name(self) -> str | None:
        """The room's name."""
        event = self.get("m.room.name", "")
        return _text(event.content.get("name")) if event is not None else None

    @property
    def is_encrypted(self) -> bool:
        """Whether what is said here is encrypted by the devices."""
        return self.get("m.room.encryption", "") is not None

    @property
    def alias(self) -> str | None:
        """The room's canonical alias."""
        event = self.get("m.room.canonical_alias", "")
        return _text(event.content.get("alias")) if event is not None else None


async def push_rooms(tx: Transaction, wanted: Mapping[int, Collection[str]]) -> dict[int, PushRoom]:
    """Rooms by internal id, with these of their members: three statements."""
    counts = await tx.rooms.member_counts(list(wanted))
    members = await tx.rooms.member_events({room_nid: list(users) for room_nid, users in wanted.items()})
    state = await tx.rooms.current_state(list(wanted), types=_STATE)
    return {
        room_nid: PushRoom(
            {stored.event.key: stored.event for stored in state[room_nid]},
            {str(stored.event.state_key): stored for stored in members.get(room_nid, ())},
            counts[room_nid].get("join", 0),
        )
        for room_nid in wanted
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
