"""From a window to a response: which rooms go into which section, and what of them.

Law, tested after every kind of action: initial(t0) + delta(t0 → t1) = initial(t1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.core.event import StateKey
from homeserver.core.filters import RoomEventFilter
from homeserver.ports.events import Membership, StoredEvent, order_of
from homeserver.ports.store import Transaction
from homeserver.services.personal.receipts import receipt_events, typing_event
from homeserver.services.rooms.filtered import select
from homeserver.services.rooms.lists import Rooms
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.visibility import Visible, joined_all_along, stands_apart
from homeserver.services.sync import snapshot
from homeserver.services.sync import window as windows
from homeserver.services.sync.body import RoomSection, SyncBody, Timeline
from homeserver.services.sync.lazy import SentMembers
from homeserver.services.sync.request import RoomReads, SyncRequest, wants_account_data, without_ignored
from homeserver.services.sync.window import RoomNews, Window

_MEMBER = "m.room.member"
_SUMMARISED = {_MEMBER, "m.room.name", "m.room.canonical_alias"}


@dataclass(slots=True)
class Plan:
    """The rooms of a response by how they are told."""

    whole: list[Membership] = field(default_factory=list)  # joined anew, or full_state: all of their state
    changed: list[Membership] = field(default_factory=list)  # joined before and now
    left: list[Membership] = field(default_factory=list)
    invited: list[Membership] = field(default_factory=list)
    knocked: list[Membership] = field(default_factory=list)

    @property
    def needs_store(self) -> bool:
        """Whether answering takes more than the window itself."""
        return bool(self.whole or self.left)


def plan_delta(request: SyncRequest, window: Window, rooms: Rooms) -> Plan:
    """Sort the rooms that the window touches (and all joined ones for full_state)."""
    plan = Plan()
    touched = set(window.rooms) | set(window.own_members) | window.corrected
    touched.update(changed.room_id for changed in window.account_data if changed.room_id is not None)
    touched.update(window.receipts, window.typing)
    if request.full_state:
        touched.update(room_id for room_id, membership in rooms.items() if membership.membership == "join")
    for room_id in touched:
        membership = rooms.get(room_id)
        if membership is None or not request.filter.room.matches_room(room_id):
            continue
        own = window.own_members.get(room_id, ())
        is_corrected = room_id in window.corrected
        has_moved = bool(own) or is_corrected
        match membership.membership:
            case "join":
                stayed = _stayed(own) and not is_corrected
                (plan.changed if stayed and not request.full_state else plan.whole).append(membership)
            case "leave" | "ban":
                # Also if forgotten since: a client that still shows the room must learn that it has gone.
                if has_moved:
                    plan.left.append(membership)
            case "invite":
                if has_moved and membership.sender not in request.ignored:
                    plan.invited.append(membership)
            case "knock":
                if has_moved:
                    plan.knocked.append(membership)
    return plan


def plan_initial(request: SyncRequest, rooms: Rooms) -> Plan:
    """Sort all rooms of the user for an initial sync."""
    plan = Plan()
    for room_id, membership in rooms.items():
        if membership.forgotten or not request.filter.room.matches_room(room_id):
            continue
        match membership.membership:
            case "join":
                plan.whole.append(membership)
            case "leave" | "ban":
                if request.filter.room.include_leave:
                    plan.left.append(membership)
            case "invite":
                if membership.sender not in request.ignored:
                    plan.invited.append(membership)
            case "knock":
                plan.knocked.append(membership)
    return plan


class DeltaBuilder:
    """Fills a SyncBody from a plan and a window."""

    def __init__(self, reads: RoomReads, sent: SentMembers) -> None:
        self._reads = reads
        self._sent = sent

    def sections(self, request: SyncRequest, plan: Plan, window: Window, body: SyncBody) -> None:
        """Timeline and state of the rooms the user was and is joined to."""
        for membership in plan.changed:
            room = window.rooms.get(membership.room_id)
            section = RoomSection()
            if room is not None:
                section = changed_room(request, membership.room_id, room, window.high)
            body.joined[membership.room_id] = section

    def knows(self, request: SyncRequest, members: Iterable[tuple[str, str]], low: int) -> bool:
        """Whether the device, being at `low`, needs no member events of these (room, user) to read their messages."""
        if request.device_id is None or request.filter.room.state.include_redundant_members:
            return False
        device = (request.user_id, request.device_id)
        return all(self._sent.is_known(device, member, low) for member in members)

    async def note_renamed(self, window: Window) -> None:
        """Note in the window which of its redactions took away what a room's summary depends on."""
        if redactions := windows.redactions(window):
            targets = await self._reads.events({stored.event.redacts or "" for stored in redactions})
            for stored in redactions:
                target = targets.get(stored.event.redacts or "")
                if target is not None and target.event.is_state and target.event.type in _SUMMARISED:
                    window.renamed.add(stored.event.room_id)

    async def told_apart(self, request: SyncRequest, plan: Plan, window: Window, body: SyncBody) -> None:
        """What goes to one user or device only: members that it lacks, and account data.

        No statement unless a member event of the timeline is not in memory.
        """
        await self._redact_erased(request, plan, window, body)
        await self._withhold_apart(request, plan, body)
        if request.lazy or request.wishes:
            await self._add_lazy_members(request, body, window)
        wanted = request.filter.room.account_data
        for changed in window.account_data:
            if changed.room_id is None:
                if request.filter.account_data.matches(changed.type, None):
                    body.account_data.append(changed)
            elif changed.room_id in body.joined and wants_account_data(wanted, changed):
                section = body.joined[changed.room_id]
                if not any(known.type == changed.type for known in section.account_data):
                    section.account_data.append(changed)

    async def summaries(
        self, tx: Transaction, request: SyncRequest, plan: Plan, window: Window, body: SyncBody
    ) -> None:
        """New summaries for rooms whose members or names changed."""
        moved = [membership for membership in plan.changed if summary_moved(window, membership.room_id)]
        if not moved:
            return
        rooms = {membership.room_nid: membership.room_id for membership in moved}
        named = {nid for nid, room_id in rooms.items() if await self._reads.is_named(room_id)}
        summaries = await snapshot.summarise(tx, rooms, request.user_id, named)
        heroes: dict[str, set[str]] = {}
        for nid, room_id in rooms.items():
            body.joined[room_id].summary = summaries[nid]
            heroes[room_id] = set(summaries[nid]["m.heroes"])
        if needed := {room_id: users for room_id, users in heroes.items() if request.is_lazy_in(room_id)}:
            await self._add_members(request, body, window, needed)

    async def whole_rooms(
        self,
        tx: Transaction,
        request: SyncRequest,
        plan: Plan,
        window: Window,
        body: SyncBody,
    ) -> None:
        """Rooms told with all their state, and rooms left."""
        if nids := [membership.room_nid for membership in (*plan.whole, *plan.left)]:
            body.histories.update(await self._reads.histories(tx, request.user_id, nids))
        timelines: dict[int, Timeline] | None = None
        if request.since is not None and request.full_state:
            # The state is whole, but the timeline still starts at the token.
            # Whoever came in meanwhile does not get what was before, as when there is no full_state.
            timelines = {}
            for membership in plan.whole:
                if not _stayed(window.own_members.get(membership.room_id, ())):
                    continue
                room = window.rooms.get(membership.room_id, RoomNews())
                timeline = changed_room(request, membership.room_id, room, window.high).timeline
                timeline.events = body.histories[membership.room_nid].without_apart(timeline.events)
                timelines[membership.room_nid] = timeline
        if plan.whole:
            # The window of an initial sync has all that there is.
            known = window.account_data if request.since is None else None
            account_data = known if known is not None else await tx.account_data.after(request.user_id, 0)
            body.joined.update(
                await snapshot.joined_rooms(
                    tx, body.histories, request, plan.whole, window.high, account_data, timelines
                )
            )
        for membership in plan.left:
            if request.since is not None and not request.full_state and (inside := _while_inside(window, membership)):
                section = changed_room(request, membership.room_id, inside, membership.position)
                section.timeline.events = body.histories[membership.room_nid].without_apart(section.timeline.events)
                body.left[membership.room_id] = section
                continue
            events = _until_left(window, membership) if request.since is not None else None
            history = body.histories[membership.room_nid]
            body.left[membership.room_id] = await snapshot.left_room(tx, history, request, membership, events)
        if (request.lazy or request.wishes) and request.device_id is not None:
            for room_id, section in body.joined.items():
                self._note_members(request, room_id, section, window.high)

    async def relations(self, tx: Transaction, request: SyncRequest, body: SyncBody) -> None:
        """What is bundled with events of limited timelines; of others the client has seen everything itself."""
        if related := bundling(body):
            recipient = Recipient(request.user_id, request.device_id, request.ignored)
            body.relations = await self._reads.relations(tx, recipient, related)

    async def histories(self, tx: Transaction | None, request: SyncRequest, body: SyncBody) -> None:
        """What the user may see of what the body's events quote."""
        if rooms := body.quoting():
            body.histories.update(await self._reads.histories(tx, request.user_id, rooms))

    async def stripped(self, request: SyncRequest, plan: Plan, body: SyncBody) -> None:
        """Invites, of which users who block them hear nothing, and knocks."""
        invited = plan.invited if plan.invited and not await self._reads.blocks_invites(request.user_id) else []
        for membership in invited:
            body.invited[membership.room_id] = await self._reads.stripped_state(membership)
        for membership in plan.knocked:
            body.knocked[membership.room_id] = await self._reads.stripped_state(membership)

    async def _redact_erased(self, request: SyncRequest, plan: Plan, window: Window, body: SyncBody) -> None:
        """State that resolution brought back may be from before the user came, and its sender erased since."""
        for membership in plan.changed:
            room = window.rooms.get(membership.room_id)
            if room is not None and room.settled:
                history = (await self._reads.histories(None, request.user_id, [membership.room_nid]))[
                    membership.room_nid
                ]
                section = body.joined[membership.room_id]
                section.state = history.known(section.state)

    async def _withhold_apart(self, request: SyncRequest, plan: Plan, body: SyncBody) -> None:
        """Take out events of forks in whose own state the user may not see them; state among them is still told."""
        for membership in plan.changed:
            section = body.joined[membership.room_id]
            if not stands_apart(section.timeline.events):
                continue
            nid = membership.room_nid
            history = (await self._reads.histories(None, request.user_id, [nid]))[nid]
            kept = history.without_apart(section.timeline.events)
            if not request.state_field.is_after:
                hidden = {seen.event.event_id for seen in section.timeline.events} - {
                    seen.event.event_id for seen in kept
                }
                newest = {seen.event.key: seen for seen in section.timeline.events if seen.event.is_state}
                state = [seen for seen in newest.values() if seen.event.event_id in hidden]
                section.state.extend(request.wanted_state(membership.room_id, history.known(state)))
            section.timeline.events = kept

    async def _add_lazy_members(self, request: SyncRequest, body: SyncBody, window: Window) -> None:
        senders = {
            room_id: {stored.event.sender for stored in section.timeline.events}
            for room_id, section in body.joined.items()
            if request.is_lazy_in(room_id)
        }
        await self._add_members(request, body, window, senders)

    async def _add_members(
        self, request: SyncRequest, body: SyncBody, window: Window, wanted: Mapping[str, set[str]]
    ) -> None:
        """Add the member events of `wanted` users by room, but for those the response or the client has already."""
        device = (request.user_id, request.device_id or "")
        redundant = request.filter.room.state.include_redundant_members or request.device_id is None
        needed: dict[str, set[str]] = {}
        for room_id, users in wanted.items():
            section = body.joined[room_id]
            told = {
                stored.event.state_key
                for stored in (*section.state, *section.timeline.events)
                if stored.event.type == _MEMBER
            }
            missing = {
                user
                for user in users - told
                if redundant or not self._sent.is_known(device, (room_id, user), window.low)
            }
            if missing:
                needed[room_id] = missing
        if not needed:
            return
        for room_id, members in (await self._reads.members(needed)).items():
            body.joined[room_id].state.extend(await self._known_members(request.user_id, members))
            for stored in members:
                self._sent.note(device, (room_id, stored.event.state_key or ""), window.high)

    async def _known_members(self, user_id: str, members: Sequence[StoredEvent]) -> list[Visible]:
        """Member events of one room; who is joined was not erased, so that the hot path asks for no history."""
        if all(stored.event.membership == "join" for stored in members):
            return joined_all_along(members)
        room_nid = members[0].room_nid
        return (await self._reads.histories(None, user_id, [room_nid]))[room_nid].known(members)

    def _note_members(self, request: SyncRequest, room_id: str, section: RoomSection, at: int) -> None:
        device = (request.user_id, request.device_id or "")
        for stored in section.state:
            if stored.event.type == _MEMBER:
                self._sent.note(device, (room_id, stored.event.state_key or ""), at)


def add_ephemeral(request: SyncRequest, window: Window, body: SyncBody) -> None:
    """Receipts and typing of the joined rooms in the body."""
    wanted = request.filter.room.ephemeral
    for room_id, section in body.joined.items():
        if (receipts := window.receipts.get(room_id)) and _wants_ephemeral(wanted, "m.receipt", room_id):
            section.ephemeral.extend(receipt_events(receipts))
        users = window.typing.get(room_id)
        if users is not None and _wants_ephemeral(wanted, "m.typing", room_id):
            section.ephemeral.append(typing_event(users))


def bundling(body: SyncBody) -> list[StoredEvent]:
    """The events of limited timelines to which others relate.

    spec: client-server-api#aggregations-of-child-events
    """
    return [
        stored
        for section in (*body.joined.values(), *body.left.values())
        if section.timeline.limited
        for stored in section.timeline.events
        if stored.is_related_to
    ]


def changed_room(request: SyncRequest, room_id: str, room: RoomNews, high: int) -> RoomSection:
    """Timeline and state of a room out of its window, in which the user was joined all along."""
    wanted = request.filter.room.timeline
    limit = request.timeline_limit_of(room_id)
    kept = select(wanted, without_ignored(joined_all_along(room.events), request.ignored))
    cut = kept[-limit:] if limit else []
    timeline = Timeline(cut, limited=room.more or len(kept) > len(cut), before=order_of(high))
    if room.more and len(kept) < limit and room.events:
        timeline.read_from = room.events[0].order
    if not request.wants_all or room.settled:
        newest: dict[StateKey, StoredEvent | None] = {
            stored.event.key: stored for stored in room.events if stored.event.is_state
        }
        if not request.state_field.is_after:
            newest |= room.settled
        snapshot.begin_after_gaps(timeline, newest)
        cut = timeline.events
    shown = {stored.event.event_id for stored in cut}
    state: dict[StateKey, StoredEvent] = dict(room.earlier_state)
    for stored in room.events:
        # A state event that the timeline does not show (cut off or filtered) still changes the state.
        if stored.event.is_state and (request.state_field.is_after or stored.event.event_id not in shown):
            state[stored.event.key] = stored
    for key, winner in room.settled.items():
        if winner is not None:
            state[key] = winner
    return RoomSection(timeline, request.wanted_state(room_id, joined_all_along(state.values())))


def _wants_ephemeral(event_filter: RoomEventFilter, event_type: str, room_id: str) -> bool:
    return event_filter.matches_room(room_id) and event_filter.events.matches(event_type, None)


def summary_moved(window: Window, room_id: str) -> bool:
    """Whether the window changes the room's member counts, its heroes or whether clients need them."""
    room = window.rooms.get(room_id)
    if room is None:
        return False
    if room_id in window.renamed:
        return True
    return any(stored.event.is_state and stored.event.type in _SUMMARISED for stored in room.events) or any(
        event_type in _SUMMARISED for event_type, _ in (*room.earlier_state, *room.settled)
    )


def _stayed(own: Sequence[StoredEvent]) -> bool:
    """Whether the user was joined all through the window: all that happened in it is theirs to see."""
    return _was_joined(own) and all(stored.event.membership == "join" for stored in own)


def _was_joined(own: Sequence[StoredEvent]) -> bool:
    """Whether the user was joined when the window began, judged by their first member event inside it."""
    if not own:
        return True
    return own[0].replaces is not None and own[0].replaces.membership == "join"


def _while_inside(window: Window, membership: Membership) -> RoomNews | None:
    """A left room's window up to the leaving, if the user was joined until then: they need only what changed."""
    own = window.own_members.get(membership.room_id, [])
    room = window.rooms.get(membership.room_id)
    if room is None or not own or not _was_joined(own) or any(item.event.membership != "join" for item in own[:-1]):
        return None
    last = order_of(membership.position)
    events = [stored for stored in room.events if (stored.order or 0) <= last]
    return RoomNews(events, room.more, room.earlier_state)


def _until_left(window: Window, membership: Membership) -> list[StoredEvent]:
    """The window's events of a room up to the user's leaving; only their own if they were not in it."""
    room = window.rooms.get(membership.room_id)
    own = window.own_members.get(membership.room_id, [])
    inside = _was_joined(own) or any(stored.event.membership == "join" for stored in own)
    if room is None:
        return own
    last = order_of(membership.position)
    return [stored for stored in room.events if (stored.order or 0) <= last and (inside or stored in own)]
