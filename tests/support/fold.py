"""What a client knows after its syncs: a fold over /sync answers, written from the specification alone.

The law that it checks: an initial sync, folded with the incremental syncs behind it, equals a new initial sync.
spec: client-server-api#syncing
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.client import Json

MEMBERSHIP_SECTIONS = ("join", "invite", "knock", "leave")


@dataclass
class JoinedRoom:
    """A room as a joined client knows it."""

    state: dict[tuple[str, str], tuple[str, Json]] = field(default_factory=dict)
    timeline: list[str] = field(default_factory=list)
    limited: bool = False
    account_data: dict[str, Json] = field(default_factory=dict)
    unread: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    receipts: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)


@dataclass
class View:
    """Everything a client knows."""

    joined: dict[str, JoinedRoom] = field(default_factory=dict)
    invited: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)
    knocked: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)
    account_data: dict[str, Json] = field(default_factory=dict)
    next_batch: str | None = None

    def apply(self, answer: Json) -> View:
        """Take in one /sync answer."""
        self.next_batch = answer["next_batch"]
        _take_account_data(self.account_data, answer)
        sections = answer.get("rooms", {})
        seen = [room for section in MEMBERSHIP_SECTIONS for room in sections.get(section, {})]
        assert len(seen) == len(set(seen)), f"a room is in two sections: {seen}"
        for room, left in sections.get("leave", {}).items():
            assert left is not None
            self._forget(room)
        for room, invite in sections.get("invite", {}).items():
            self._forget(room)
            self.invited[room] = _stripped(invite["invite_state"])
        for room, knock in sections.get("knock", {}).items():
            self._forget(room)
            self.knocked[room] = _stripped(knock["knock_state"])
        for room, joined in sections.get("join", {}).items():
            self.invited.pop(room, None)
            self.knocked.pop(room, None)
            self._apply_joined(self.joined.setdefault(room, JoinedRoom()), joined)
        return self

    def _apply_joined(self, room: JoinedRoom, answer: Json) -> None:
        timeline = answer.get("timeline", {})
        after = answer.get("state_after", answer.get("org.matrix.msc4222.state_after"))
        for event in (after or answer.get("state", {})).get("events", []):
            room.state[event["type"], event["state_key"]] = (event["event_id"], event["content"])
        if timeline.get("limited"):
            room.timeline.clear()
            room.limited = True
        for event in timeline.get("events", []):
            assert event["event_id"] not in room.timeline, f"{event['event_id']} came twice"
            room.timeline.append(event["event_id"])
            if "state_key" in event and after is None:
                room.state[event["type"], event["state_key"]] = (event["event_id"], event["content"])
            self._redact(room, event)
        _take_account_data(room.account_data, answer)
        _take_receipts(room.receipts, answer)
        if "unread_notifications" in answer:
            room.unread = answer["unread_notifications"]
        room.summary.update(answer.get("summary", {}))

    def _redact(self, room: JoinedRoom, event: Json) -> None:
        """Apply a redaction to the state that the client holds.

        What a redaction keeps depends on the room version; the tests redact topics and names, which lose everything.
        """
        if event["type"] != "m.room.redaction":
            return
        target = event["content"].get("redacts", event.get("redacts"))
        for key, (event_id, _) in room.state.items():
            if event_id == target:
                room.state[key] = (event_id, {})

    def _forget(self, room: str) -> None:
        for section in (self.joined, self.invited, self.knocked):
            section.pop(room, None)


def difference(folded: View, initial: View) -> list[str]:
    """How what a client folded differs from what a new one gets; nothing if the law holds."""
    found = _compare("joined rooms", set(folded.joined), set(initial.joined))
    found += _compare("invites", folded.invited, initial.invited)
    found += _compare("knocks", folded.knocked, initial.knocked)
    found += _compare("account data", folded.account_data, initial.account_data)
    for room in set(folded.joined) & set(initial.joined):
        ours, theirs = folded.joined[room], initial.joined[room]
        for name in ("state", "account_data", "unread", "receipts"):
            found += _compare(f"{name} of {room}", getattr(ours, name), getattr(theirs, name))
        for name in ("m.joined_member_count", "m.invited_member_count"):
            found += _compare(f"{name} of {room}", ours.summary.get(name, 0), theirs.summary.get(name, 0))
        found += _compare(f"heroes of {room}", _heroes(ours), _heroes(theirs))
        length = min(len(ours.timeline), len(theirs.timeline))
        if length:
            found += _compare(f"timeline of {room}", ours.timeline[-length:], theirs.timeline[-length:])
    return found


def _heroes(room: JoinedRoom) -> list[str]:
    return sorted(room.summary.get("m.heroes", []))


def _compare(what: str, folded: Any, initial: Any) -> list[str]:
    if folded == initial:
        return []
    if isinstance(folded, dict) and isinstance(initial, dict):
        keys = {key for key in (*folded, *initial) if folded.get(key) != initial.get(key)}
        return [f"{what}[{key}]: folded {folded.get(key)}, initial {initial.get(key)}" for key in sorted(keys, key=str)]
    return [f"{what}: folded {folded}, initial {initial}"]


def _take_account_data(known: dict[str, Json], answer: Json) -> None:
    for event in answer.get("account_data", {}).get("events", []):
        known[event["type"]] = event["content"]


def _take_receipts(known: dict[tuple[str, str, str], tuple[str, int]], answer: Json) -> None:
    for event in answer.get("ephemeral", {}).get("events", []):
        if event["type"] != "m.receipt":
            continue
        for event_id, kinds in event["content"].items():
            for kind, users in kinds.items():
                for user, data in users.items():
                    known[kind, user, data.get("thread_id", "")] = (event_id, data["ts"])


def _stripped(section: Json) -> set[tuple[str, str, str]]:
    return {(event["type"], event["state_key"], repr(sorted(event["content"].items()))) for event in section["events"]}
