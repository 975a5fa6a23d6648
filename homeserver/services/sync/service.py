"""The face every transport uses: answer now, or wait until there is something to answer.

`respond` computes one response; `poll` is the long poll. Neither keeps a queue per client: a slow client is an
older cursor (docs/subsystems/sync.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from homeserver import faults
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, Transaction
from homeserver.services.e2e import DeviceUpdates
from homeserver.services.e2e.counts import NO_KEYS
from homeserver.services.e2e.todevice import PER_RESPONSE
from homeserver.services.following import LogFollower
from homeserver.services.personal.typing import TypingTracker
from homeserver.services.push.unread import MOVES_COUNTS, RoomUnread, UnreadCounts
from homeserver.services.rooms.lists import RoomLists, Rooms, rooms_of
from homeserver.services.rooms.visibility import History
from homeserver.services.sync import window as windows
from homeserver.services.sync.body import RoomSection, SyncBody
from homeserver.services.sync.delta import (
    DeltaBuilder,
    Plan,
    add_ephemeral,
    bundling,
    plan_delta,
    plan_initial,
    summary_moved,
)
from homeserver.services.sync.fanout import Audience, Delivery, Stretch, Stretches, Update
from homeserver.services.sync.held import HeldOpen
from homeserver.services.sync.lazy import SentMembers
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.render import encode_for, encode_parts, template_for
from homeserver.services.sync.request import RoomReads, SyncLimits, SyncRequest
from homeserver.services.sync.shared import SharedSections
from homeserver.services.sync.waiter import Bell, Waiters
from homeserver.services.sync.window import Window

_READING = 16


@dataclass(frozen=True, slots=True)
class SyncAnswer:
    """A computed response and the position it brings the client to."""

    body: SyncBody
    token: SyncToken


@dataclass(slots=True)
class Assembly:
    """A response that is being made: of whichever kind, and wherever its window came from."""

    request: SyncRequest
    since: SyncToken | None  # where it begins; for a stream that may be later than its request says
    rooms: Rooms
    window: Window
    plan: Plan
    body: SyncBody
    token: SyncToken

    @property
    def needs_store(self) -> bool:
        """Whether it takes more than the window and what is in memory."""
        return (
            self.plan.needs_store
            or any(summary_moved(self.window, membership.room_id) for membership in self.plan.changed)
            or bool(bundling(self.body))
            or self.window.concerns_keys
            or (self.since is not None and self.since.to_device is not None)
        )


class SyncService:
    """Sync for all transports."""

    def __init__(  # noqa: PLR0913 - one collaborator for each thing that a response tells
        self,
        store: Store,
        follower: LogFollower,
        rooms: RoomLists,
        reads: RoomReads,
        devices: DeviceUpdates,
        unread: UnreadCounts,
        typing: TypingTracker,
        clock: Clock,
        *,
        held: HeldOpen,
        limits: SyncLimits | None = None,
    ) -> None:
        self.limits = limits or SyncLimits()
        log = follower.log
        self._devices = devices
        self._unread = unread
        self._store = store
        self._log = log
        self._follower = follower
        self._clock = clock
        self._reads = reads
        self.rooms = rooms
        self._sent = SentMembers()
        self._builder = DeltaBuilder(reads, self._sent)
        self._shared = SharedSections()
        self._stretches = Stretches()
        self._typing = typing
        self._held = held
        self._waiters = Waiters(log, self.rooms, held)
        # Responses that need the database are computed a few at a time: after a restart all clients ask at once, and
        # if all were let in, each would wait for a connection behind all others, give up and ask again.
        self._reading = asyncio.Semaphore(_READING)
        log.listen(typing.follow, lambda: None)
        typing.on_change(self._waiters.wake_room)

    @property
    def position(self) -> int:
        """The last committed position."""
        return self._log.position

    async def reach(self, token: SyncToken) -> None:
        """See to it that the token can be answered: another process may have given it out just now.

        Raises MatrixError(INVALID_PARAM) for one of a position that nobody has reached, StoreUnavailable.
        """
        await self._follower.reach(token.position)

    @property
    def waiting(self) -> int:
        """Number of long polls being held."""
        return self._waiters.count

    async def poll(self, request: SyncRequest, timeout_ms: int) -> SyncAnswer:
        """Answer as soon as there is something to tell, at the latest after `timeout_ms`."""
        deadline = self._clock.monotonic() + timeout_ms / 1000
        with self._waiters.waiting(request.user_id, request.session_id) as bell:
            while True:
                bell.clear()
                answer = await self.respond(request)
                if request.since is None or request.full_state or not answer.body.is_empty:
                    return answer
                remaining = deadline - self._clock.monotonic()
                if remaining <= 0 or self._held.released:
                    return answer
                request = replace(request, since=answer.token)
                await bell.rung_within(remaining)

    def encode(self, request: SyncRequest, body: SyncBody) -> bytes:
        """The JSON of a response, with the parts that other recipients get too from memory."""
        return encode_for(request, body, self._shared)

    def encode_parts(self, request: SyncRequest, body: SyncBody, whole_bytes: int) -> bytes | list[bytes]:
        """As `encode`, in parts if it is more than `whole_bytes`."""
        return encode_parts(request, body, whole_bytes, self._shared)

    def listening(self, request: SyncRequest, heard: Callable[[], None]) -> AbstractContextManager[Bell]:
        """Call `heard` whenever there may be something to tell, outside of whatever has caused it."""
        return self._waiters.waiting(request.user_id, request.session_id, heard)

    def is_current(self, since: SyncToken) -> bool:
        """Whether nothing at all has happened since then, and nothing is left over from before."""
        return (
            since.position == self._log.position and since.ephemeral == self._typing.serial and since.to_device is None
        )

    def shared(self, request: SyncRequest, since: SyncToken, form: Audience) -> Delivery | None:
        """What the request (at `since`, which may be later than its own) is answered with, if many get that alike.

        `form` is `audience(request)`. None: `respond` has to be asked. What this returns, `respond` would return too.
        """
        rooms = self.rooms.peek(request.user_id)
        counts = self._devices.counts.peek(request.device) if request.device is not None else NO_KEYS
        if rooms is None or counts is None or request.full_state or request.wishes or since.to_device is not None:
            return None
        low, high, serial = since.position, self._log.position, self._typing.serial
        stretch = self._stretches.get(
            (low, high, since.ephemeral, serial),
            lambda: self._log.since(low, high),
            lambda: self._typing.changed_since(since.ephemeral),
        )
        if stretch is None or request.user_id in stretch.personal:
            return None
        joined = tuple([room_id for room_id in stretch.rooms if (at := rooms.get(room_id)) and at.membership == "join"])
        if request.lazy and not self._builder.knows(request, [one for one in stretch.senders if one[0] in joined], low):
            return None
        histories: dict[int, History] = {}
        quoted: tuple[tuple[str, ...], ...] = ()
        if stretch.quoting and (quoting := [stored for stored in stretch.quoting if stored.event.room_id in joined]):
            # Who came later sees less of what these events have replaced.
            known = self._reads.known_histories(request.user_id, {stored.room_nid for stored in quoting})
            if known is None:
                return None
            histories = known
            quoted = tuple([tuple(histories[stored.room_nid].quotes(stored)) for stored in quoting])
        update = stretch.updates.get((form, joined, quoted))
        if update is None:
            update = self._make_shared(request, since, rooms, stretch, histories)
            if update is None:
                return None
            stretch.keep((form, joined, quoted), update)
        unread: dict[str, RoomUnread] = {}
        for room_id in () if update.template is None else update.template.rooms:
            known_counts = self._unread.peek(request.user_id, room_id)
            if known_counts is None:
                return None
            unread[room_id] = known_counts
        return Delivery(update, counts, unread)

    def _make_shared(
        self, request: SyncRequest, since: SyncToken, rooms: Rooms, stretch: Stretch, histories: dict[int, History]
    ) -> Update | None:
        """As `respond`, of a plain stretch that ends now. None if there is something to bundle, for each user apart."""
        who = request.user_id, request.device_id
        window = windows.from_tail(stretch.entries, who, rooms, since.position, self._log.position)
        made = self._begin(request, since, rooms, window)
        if bundling(made.body):
            return None
        made.body.histories = histories
        self._complete(made)
        return Update(None if made.body.is_empty else template_for(request, made.body, self._shared), made.token)

    async def respond(self, request: SyncRequest) -> SyncAnswer:
        """The response as of now. What the request's token acknowledges need not be kept any more."""
        if request.since is not None and request.device is not None:
            self._devices.to_device.acknowledge(request.device, request.since.acknowledged)
        if (
            request.since is None
            or self.rooms.peek(request.user_id) is None
            or request.since.position < self._log.start
        ):
            async with self._reading:
                return await self._respond(request)
        return await self._respond(request)

    async def _respond(self, request: SyncRequest) -> SyncAnswer:
        rooms, since = await self.rooms.of(request.user_id), request.since
        if since is None and request.device is not None:
            self._sent.forget(request.device)
        # No await between reading the position and the room list: both are of the same moment.
        high = self._log.position
        rooms = self.rooms.peek(request.user_id) or rooms
        if since is not None and self.is_current(since) and not request.full_state:
            return SyncAnswer(SyncBody(str(since), key_counts=await self._key_counts(request)), since)
        entries = None if since is None else self._log.since(since.position, high)
        if since is None or entries is None:
            async with self._store.read() as tx:
                if since is None:
                    # All is read as of one moment, which the token names: a position from memory may be older.
                    high = await tx.log.position()
                    known = self.rooms.peek(request.user_id) if high == self._log.position else None
                    rooms = known or rooms_of(await tx.rooms.memberships(request.user_id))
                window = await self._read_window(tx, request, rooms, high)
                await self._builder.note_renamed(window)
                made = self._begin(request, since, rooms, window)
                await self._builder.told_apart(request, made.plan, window, made.body)
                await self._add_stored(tx, made)
            await self._follower.reach(high)
        else:
            window = windows.from_tail(entries, (request.user_id, request.device_id), rooms, since.position, high)
            if redacted := windows.redacted_ids(window):
                windows.replace_events(window, await self._reads.events(redacted))
            await self._builder.note_renamed(window)
            made = self._begin(request, since, rooms, window)
            await self._builder.told_apart(request, made.plan, window, made.body)
            if made.needs_store:
                async with self._store.read() as tx:
                    await self._add_stored(tx, made)
            else:
                await self._add_remembered(made)
        if faults.plan is not None:
            await faults.plan.reach("sync.answer")
        await self._builder.stripped(request, made.plan, made.body)
        self._complete(made)
        await self._add_counts(request, rooms, made.body)
        return SyncAnswer(made.body, made.token)

    @staticmethod
    async def _read_window(tx: Transaction, request: SyncRequest, rooms: Rooms, high: int) -> Window:
        if request.since is None:
            if faults.plan is not None:
                await faults.plan.reach("sync.initial")
            return await windows.from_the_beginning(tx, request, rooms, high)
        if faults.plan is not None:
            await faults.plan.reach("sync.store")
        return await windows.from_store(tx, request, rooms, request.since.position, high)

    def _begin(self, request: SyncRequest, since: SyncToken | None, rooms: Rooms, window: Window) -> Assembly:
        """A response out of a window, as far as that takes nothing else: every response begins so."""
        token = self._add_typing(window, rooms, since)
        plan = plan_initial(request, rooms) if since is None else plan_delta(request, window, rooms)
        body = SyncBody(str(token), with_threads=request.counts_threads)
        self._builder.sections(request, plan, window, body)
        return Assembly(request, since, rooms, window, plan, body, token)

    async def _add_stored(self, tx: Transaction, made: Assembly) -> None:
        """What it takes the database for."""
        request, plan, window, body = made.request, made.plan, made.window, made.body
        await self._builder.summaries(tx, request, plan, window, body)
        await self._builder.whole_rooms(tx, request, plan, window, body)
        await self._builder.relations(tx, request, body)
        await self._builder.histories(tx, request, body)
        await self._add_device_parts(tx, made)

    async def _add_remembered(self, made: Assembly) -> None:
        """The same, where memory has it all."""
        request, body = made.request, made.body
        await self._builder.histories(None, request, body)
        if lists := made.window.device_lists:
            body.device_lists = await self._devices.lists.without_moves(request.user_id, made.rooms, lists)

    @staticmethod
    def _complete(made: Assembly) -> None:
        """What is put in last, and what is left out: every response ends so, but for what is each recipient's own."""
        request, window, body = made.request, made.window, made.body
        add_ephemeral(request, window, body)
        if made.since is None:
            return
        body.counts_changed = window.key_counts
        _mark_moved_counts(request, window, made.rooms, body)
        if not request.full_state:
            body.joined = {room_id: section for room_id, section in body.joined.items() if not section.is_empty}

    async def _add_device_parts(self, tx: Transaction, made: Assembly) -> None:
        """Put in what this device alone is told; the token says how far its messages have come."""
        since, window, device = made.since, made.window, made.request.device
        if since is not None and window.keys:
            lists = self._devices.lists
            made.body.device_lists = await lists.changes(tx, made.request.user_id, made.rooms, window.keys)
        if device is None or not (window.to_device or since is None or since.to_device is not None):
            return
        after = 0 if since is None else since.acknowledged
        messages = await self._devices.to_device.waiting(tx, device, after, window.high)
        made.body.to_device = [message.json for message in messages[:PER_RESPONSE]]
        if len(messages) > PER_RESPONSE:
            made.token = replace(made.token, to_device=messages[PER_RESPONSE - 1].position)
            made.body.next_batch = str(made.token)

    async def _add_counts(self, request: SyncRequest, rooms: Rooms, body: SyncBody) -> None:
        """What is unread and how many keys are left, as of the moment of answering."""
        body.key_counts = await self._key_counts(request)
        wanted = {room_id: at.room_nid for room_id in body.joined if (at := rooms.get(room_id)) is not None}
        if wanted:
            body.unread = await self._unread.of(request.user_id, wanted)

    async def _key_counts(self, request: SyncRequest) -> bytes:
        return NO_KEYS if request.device is None else await self._devices.counts.of(request.device)

    def _add_typing(self, window: Window, rooms: Rooms, since: SyncToken | None) -> SyncToken:
        """Put the typing changes into the window; returns the token that includes them."""
        changed = self._typing.changed_since(0 if since is None else since.ephemeral)
        for room_id in rooms if changed is None else changed:
            membership = rooms.get(room_id)
            if membership is not None and membership.membership == "join":
                users = self._typing.users(room_id)
                if users or since is not None:
                    window.typing[room_id] = users
        return SyncToken(window.high, self._typing.serial)


def _mark_moved_counts(request: SyncRequest, window: Window, rooms: Rooms, body: SyncBody) -> None:
    """Put in the rooms of which nothing is told but that what is unread there may be another number."""
    moved = {
        room_id
        for room_id, receipts in window.receipts.items()
        if any(receipt.user_id == request.user_id for receipt in receipts)
    }
    if any(changed.type in MOVES_COUNTS and changed.room_id is None for changed in window.account_data):
        moved.update(rooms)
    for room_id in moved:
        at = rooms.get(room_id)
        if at is not None and at.membership == "join" and request.filter.room.matches_room(room_id):
            body.joined.setdefault(room_id, RoomSection()).counts_moved = True
