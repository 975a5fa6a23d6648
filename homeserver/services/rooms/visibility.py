"""The one filter between events and users: history visibility for one user in one room.

Nothing but `Visible` can be rendered (`rooms.render`), and nothing but this module makes an event `Visible`; the
architecture tests see to that. What an event quotes of others (the content it replaced, the redaction that hit it) is
no part of the shared form: `History.quotes` says what of it a reader may see.

Whose account was erased is seen by those who had seen them; to whoever came later their events are redacted copies.

A user's membership and the room's history visibility change rarely, so both histories are read whole, and whether an
event may be seen is then a look at the two values around it.
spec: client-server-api#room-history-visibility
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import intern
from typing import Any, NewType, cast

import orjson

from homeserver.core import canonical
from homeserver.core.event import Event, StateKey
from homeserver.core.redact import redact
from homeserver.core.visibility import HISTORY_VISIBILITY, allows
from homeserver.ports.events import EventFlags, StoredEvent
from homeserver.ports.relations import Span
from homeserver.ports.store import Transaction
from homeserver.ports.sync import ViewChange

_FAR = 2**62
"""Beyond all orders."""
_MOST_SPANS = 1_000
"""Of somebody who came and went more often, the oldest stretches are left out of counts."""

_ROOMS_OWN = frozenset(
    {
        "m.room.create", "m.room.name", "m.room.topic", "m.room.avatar", "m.room.canonical_alias", "m.room.aliases",
        "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "m.room.encryption",
        "m.room.power_levels", "m.room.pinned_events", "m.room.server_acl", "m.room.tombstone", "m.space.child",
        "m.space.parent", "m.room.third_party_invite", "m.policy.rule.user", "m.policy.rule.room",
        "m.policy.rule.server",
    }
)  # fmt: skip
"""State that rooms work by, whoever set it: a room without `m.room.encryption` would be written into in the clear."""

Visible = NewType("Visible", StoredEvent)
"""An event that its reader may see. Costs nothing: only types know the difference."""


@dataclass(slots=True)
class ValueHistory:
    """A value over the life of a room: from each order on, until the next."""

    orders: array[int] = field(default_factory=lambda: array("q"))
    values: list[str] = field(default_factory=list)

    def add(self, order: int, value: str) -> None:
        """The value from `order` on. What stays as it is takes no memory: names change more often than memberships."""
        if value != self.last:
            self.orders.append(order)
            self.values.append(intern(value))

    def around(self, order: int) -> tuple[str | None, str | None]:
        """The values just before and just after the event at `order`; they differ only if it set a new one."""
        before = bisect_left(self.orders, order)
        after = bisect_right(self.orders, order)
        return (
            self.values[before - 1] if before else None,
            self.values[after - 1] if after else None,
        )

    def at(self, order: int) -> str | None:
        """The value just after the event at `order`."""
        if self.orders and order >= self.orders[-1]:  # nearly always
            return self.values[-1]
        after = bisect_right(self.orders, order)
        return self.values[after - 1] if after else None

    @property
    def last(self) -> str | None:
        """The value now."""
        return self.values[-1] if self.values else None


@dataclass(slots=True)
class History:
    """What decides which events of a room a user may see. Shared by all readers: treat as immutable."""

    user_id: str
    """Empty if the user has never been there."""
    visibility: ValueHistory
    memberships: ValueHistory
    left: ViewChange | None
    """The event by which the user last went from joined to something else, if they are not joined now."""
    erased: Mapping[str, int] = field(default_factory=dict)
    """Whose accounts were erased, and the order at which."""
    apart: Mapping[int, Mapping[bool, str]] = field(default_factory=dict)
    """Of events of forks, by order: the membership (True) and the visibility (False) that their own state has, where
    that is not the timeline's."""

    @property
    def membership(self) -> str | None:
        """The user's membership now; None if they never had one."""
        return self.memberships.last

    @property
    def changes(self) -> int:
        """How many values it remembers, of 16 bytes each."""
        return len(self.visibility.orders) + len(self.memberships.orders) + len(self.erased) + len(self.apart)

    @property
    def is_world_readable(self) -> bool:
        """Whether anyone may look into the room as it is now."""
        return self.visibility.last == "world_readable"

    def membership_at(self, stored: StoredEvent) -> str:
        """The user's membership after the event, `leave` if they had none: for `unsigned.membership`."""
        if stored.order is None:
            return "leave"
        own = self.apart[stored.order].get(True) if self.apart and stored.order in self.apart else None
        if own is not None and _key(stored) != ("m.room.member", self.user_id):
            return own
        return self.memberships.at(stored.order) or "leave"

    def memberships_at(self, events: Sequence[StoredEvent]) -> list[str]:
        """As `membership_at` of each of the events: mostly what it is now."""
        if self.apart or not self.memberships.orders:
            return [self.membership_at(stored) for stored in events]
        since, now = self.memberships.orders[-1], self.memberships.values[-1]
        return [
            now if stored.order is not None and stored.order >= since else self.membership_at(stored)
            for stored in events
        ]

    def visible(self, stored: StoredEvent) -> bool:
        """Whether the user may see the event."""
        return stored.order is not None and self.sees_at(stored.order, _key(stored))

    def sees_at(self, order: int, key: StateKey | None) -> bool:
        """Whether the user may see the event at `order`, with this key if it is a state event."""
        before, after = self.visibility.around(order)
        membership, membership_after = self.memberships.around(order)
        joined_later = self._joined_after(order)
        if self.apart and (own := self.apart.get(order)) is not None:
            joined_later = joined_later or membership == "join"  # here they had joined before it came
            before, membership = own.get(False, before), own.get(True, membership)
        visibilities, memberships = {before or "shared"}, {membership or "leave"}
        # For these two the specification lets what holds before or after the event allow it.
        if key == HISTORY_VISIBILITY and after is not None:
            visibilities.add(after)
        elif key == ("m.room.member", self.user_id) and membership_after is not None:
            memberships.add(membership_after)
        return allows(visibilities, memberships, joined_later=joined_later)

    def shown(self, events: Iterable[StoredEvent], end: int | None = None) -> list[Visible]:
        """Those of the events that the user may see, up to the order `end`."""
        shown: list[Visible] = []
        low = high = 0  # between these orders nothing changes that decides, so all or none are seen
        seen = False
        for stored in events:
            order = stored.order
            if order is None or (end is not None and order > end):
                continue
            if not low < order < high:
                low, high = self._unchanged_around(order)
                seen = self.sees_at(order, _key(stored))
            if seen:
                shown.append(self._told(stored) if self.erased else Visible(stored))
        return shown

    def invitation(self, stored: StoredEvent) -> Visible | None:
        """The event if it invites the user: they are told of it (`invite_state`) whatever else the room hides.

        spec: client-server-api#stripped-state
        """
        is_theirs = _key(stored) == ("m.room.member", self.user_id) and stored.event.membership == "invite"
        return self._told(stored) if is_theirs else None

    def quotes(self, stored: StoredEvent) -> dict[str, Any]:
        """What of other events the user sees in the event's `unsigned`: of the state it replaced, of its redaction."""
        quoted: dict[str, Any] = {}
        replaces = stored.replaces
        if stored.unsigned and replaces is not None and replaces.order is not None:
            hidden = self.erased and self._is_erased(
                stored.unsigned.get("prev_sender"), stored.event.type, replaces.order
            )
            if self.sees_at(replaces.order, _key(stored)) and not hidden:
                quoted.update(stored.unsigned)
        if stored.redaction_json is not None and stored.redaction_order is not None:
            if self.sees_at(stored.redaction_order, None):
                quoted["redacted_because"] = self._why(stored.redaction_json, stored.redaction_order)
        return quoted

    def without_apart(self, events: Iterable[Visible]) -> list[Visible]:
        """What `joined_all_along` gave, but for events of forks that the user may not see."""
        return [seen for seen in events if not (seen.flags and seen.flags & EventFlags.APART) or self.visible(seen)]

    def known(self, events: Iterable[StoredEvent]) -> list[Visible]:
        """State of the room at a point that the user may know, whenever it was set.

        spec: client-server-api#room-history-visibility
        """
        if not self.erased:  # nearly always
            return cast("list[Visible]", list(events))
        return [self._told(stored) for stored in events]

    def _told(self, stored: StoredEvent) -> Visible:
        """The event as the user gets it.  spec: client-server-api#account-deactivation"""
        if self.erased and self._is_erased(stored.event.sender, stored.event.type, stored.order):
            return Visible(_erased(stored))
        return Visible(stored)

    def _is_erased(self, sender: str | None, event_type: str, order: int | None) -> bool:
        """Whether what `sender` sent at `order` is redacted for the user: they did not see it before.

        They did if they were in the room then, or came in before the account was erased.
        """
        at = None if sender is None else self.erased.get(sender)
        if at is None or event_type in _ROOMS_OWN:
            return False
        order = -_FAR if order is None else order
        visibility, membership = self.visibility.around(order)[0], self.memberships.around(order)[0]
        if membership == "join" or (membership == "invite" and visibility == "invited"):
            return False
        first, last = bisect_right(self.memberships.orders, order), bisect_right(self.memberships.orders, at)
        return "join" not in self.memberships.values[first:last]

    def _why(self, redaction_json: bytes, order: int) -> orjson.Fragment:
        """A redaction as the user gets it with what it redacted."""
        if self.erased:
            redaction = orjson.loads(redaction_json)
            if self._is_erased(redaction["sender"], redaction["type"], order):
                redaction["content"] = {k: value for k, value in redaction["content"].items() if k == "redacts"}
                return orjson.Fragment(orjson.dumps(redaction))
        return orjson.Fragment(redaction_json)

    def spans(self, room_nid: int, end: int | None = None) -> list[Span]:
        """The stretches of the timeline whose messages the user may see, oldest first, up to the order `end`.

        What statements over the events of a room ask by, where they count or pick before any event is in memory.
        """
        limit = _FAR if end is None else end
        # What holds before an event changes behind the one that sets it; whether they join later, with the join.
        turns = {*self.visibility.orders, *self.memberships.orders, *(order - 1 for order in self.memberships.orders)}
        joins = [
            o for o, value in zip(self.memberships.orders, self.memberships.values, strict=True) if value == "join"
        ]
        last_join = joins[-1] if joins else -_FAR
        spans: list[Span] = []
        low = -_FAR
        for high in [*sorted(turn for turn in turns if turn < limit), limit]:
            visibility, membership = self.visibility.around(high)[0], self.memberships.around(high)[0]
            if allows({visibility or "shared"}, {membership or "leave"}, joined_later=last_join > high):
                if spans and spans[-1].high == low:
                    low = spans.pop().low
                spans.append(Span(room_nid, low, high))
            low = high
        for order in sorted(self.apart):
            if order <= limit:
                _set_apart(spans, room_nid, order, is_seen=self.sees_at(order, None))
        return spans[-_MOST_SPANS:]

    def _unchanged_around(self, order: int) -> tuple[int, int]:
        """The orders around `order` between which all events are seen alike; the same one twice where none are."""
        low, high = -_FAR, _FAR
        if self.apart:
            return order, order
        for orders in (self.visibility.orders, self.memberships.orders):
            after = bisect_left(orders, order)
            if after < len(orders):
                if orders[after] == order:
                    return order, order
                high = min(high, orders[after])
            if after:
                low = max(low, orders[after - 1])
        return low, high

    def _joined_after(self, order: int) -> bool:
        first = bisect_right(self.memberships.orders, order)
        return "join" in self.memberships.values[first:]


def _set_apart(spans: list[Span], room_nid: int, order: int, *, is_seen: bool) -> None:
    """Put the event at `order` into the stretches, or take it out."""
    at = bisect_left(spans, order, key=lambda span: span.high)
    inside = at < len(spans) and spans[at].low < order
    if inside == is_seen:
        return
    if is_seen:
        spans.insert(at, Span(room_nid, order - 1, order))
        return
    span = spans[at]
    spans[at : at + 1] = [
        part for part in (Span(room_nid, span.low, order - 1), Span(room_nid, order, span.high)) if part.low < part.high
    ]


def has_quotes(stored: StoredEvent) -> bool:
    """Whether `History.quotes` may have anything to say: few events have."""
    return stored.unsigned is not None or stored.redaction_json is not None


def unfiltered_quotes(stored: StoredEvent) -> dict[str, Any]:
    """As `History.quotes`, for an application service that the operator lets see everything in the room."""
    quoted: dict[str, Any] = dict(stored.unsigned or {})
    if stored.redaction_json is not None:
        quoted["redacted_because"] = orjson.Fragment(stored.redaction_json)
    return quoted


def joined_all_along(events: Iterable[StoredEvent]) -> list[Visible]:
    """Events from after a reader's join and before they left, who may see them all, erased since or not.

    Of events that stand apart (`EventFlags.APART`) only their own state says so: see `History.without_apart`.
    """
    return cast("list[Visible]", list(events))


def stands_apart(events: Iterable[StoredEvent]) -> bool:
    """Whether one of the events has another state than the timeline says (`EventFlags.APART`)."""
    return any(stored.flags and stored.flags & EventFlags.APART for stored in events)


def _erased(stored: StoredEvent) -> StoredEvent:
    """A redacted copy of an event; the redactions among them still say what they redact."""
    event = stored.event
    pdu = redact(event.pdu, event.version)
    if event.redacts is not None and not event.version.redaction.redacts_in_content:
        pdu["redacts"] = event.redacts
    copy = Event.stored(canonical.encode(pdu), event.version, event.event_id, event.room_id)
    return replace(stored, event=copy, client_json=None)


def _key(stored: StoredEvent) -> StateKey | None:
    return stored.event.key if stored.event.state_key is not None else None


async def load_history(tx: Transaction, room_nid: int, user_id: str) -> History:
    """Read what decides on a user's view of a room."""
    return history_of(user_id, (await tx.sync.visibility_histories([room_nid], user_id))[room_nid])


def history_of(user_id: str, decisive: Iterable[ViewChange]) -> History:
    """The user's history out of what decides it, in timeline order."""
    visibility, memberships = ValueHistory(), ValueHistory()
    left: ViewChange | None = None
    erased: dict[str, int] = {}
    apart: dict[int, dict[bool, str]] = {}
    for event in decisive:
        if event.apart:
            apart.setdefault(event.order, {})[event.is_member] = event.value
            continue
        if event.erased is not None:
            erased[event.erased] = event.order
            continue
        if not event.is_member:
            visibility.add(event.order, event.value)
            continue
        if memberships.last == "join" and event.value != "join":
            left = event
        memberships.add(event.order, event.value)
    return History(user_id if memberships.last is not None else "", visibility, memberships, left, erased, apart)
