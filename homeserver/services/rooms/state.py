"""Reads of a room's state: all of it, one event, the members.

For members this is the current state, for those who left the state at their leaving.
spec: client-server-api#getting-events-for-a-room
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.events import StoredEvent
from homeserver.ports.state import StateMap
from homeserver.services.rooms.access import RoomAccess, RoomWindow
from homeserver.services.rooms.render import client_content, client_json, for_recipient
from homeserver.services.rooms.tokens import timeline_order
from homeserver.services.rooms.visibility import History, Visible, has_quotes
from homeserver.services.rooms.writer import RoomMemory

_MEMBER = "m.room.member"
_MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock")
_PAGE = 1_000
_MAX_PROFILES = 20_000
"""Profiles of joined members kept for whoever asks for the same room again; 300 bytes each."""

StatePages = AsyncGenerator[list[bytes], None]
"""Rendered state events, page by page; a room of up to a thousand is one page."""


class StateReads:
    """State reads for a requester."""

    def __init__(self, memory: RoomMemory, access: RoomAccess) -> None:
        self._memory = memory
        self._access = access
        self._profiles: OrderedDict[tuple[int, int], dict[str, dict[str, Any]]] = OrderedDict()

    async def all(self, user_id: str, room_id: str) -> list[bytes]:
        """Every state event, rendered.  spec: client-server-api#get_matrixclientv3roomsroomidstate"""
        return [event async for page in await self.all_paged(user_id, room_id) for event in page]

    async def all_paged(self, user_id: str, room_id: str) -> StatePages:
        """As `all`, read page by page: a large room's state is never in memory as a whole. Raises before the first."""
        window = await self._access.window(room_id, user_id)
        state = await self._memory.read_whole(window.state)
        return self._pages(window.history, list(state.values()))

    async def one(
        self, user_id: str, room_id: str, event_type: str, state_key: str
    ) -> tuple[dict[str, Any], Callable[[], bytes]]:
        """One state event: its content, and how to render the whole. Raises NotAllowed, MatrixError(NOT_FOUND).

        spec: client-server-api#get_matrixclientv3roomsroomidstateeventtypestatekey
        """
        window = await self._access.window(room_id, user_id)
        key = (event_type, state_key)
        stored = (await self._memory.read_events(window.state, [key])).get(key)
        if stored is None:
            raise MatrixError(ErrCode.NOT_FOUND, "The room has no such state")
        (visible,) = window.history.known([stored])
        return client_content(visible), lambda: _stated(window.history, visible)

    async def members(
        self,
        user_id: str,
        room_id: str,
        *,
        at: str | None = None,
        membership: str | None = None,
        not_membership: str | None = None,
    ) -> StatePages:
        """Member events, now or at a pagination token, rendered; the two conditions are joined by "or".

        Of a point that is not in the user's history they get those members that they may see anyway: in their part
        of the timeline, or in the room's state as they know it.
        They are read page by page, as `all_paged` is.
        spec: client-server-api#get_matrixclientv3roomsroomidmembers
        """
        order = None if at is None else timeline_order(at)
        wanted = _condition(membership, not_membership)
        window = await self._access.window(room_id, user_id)
        if order is None and window.until is None and not window.state.is_whole:
            some = None if membership is None and not_membership is None else list(filter(wanted, _MEMBERSHIPS))
            async with self._memory.store.read_committed() as tx:
                nids = await tx.rooms.current_member_nids(window.room_nid, some)
            return self._rows(window.history, nids)
        within = True
        if order is None:
            state = await self._memory.read_whole(window.state)
        else:
            state, within = await self._state_at(window, order)
        event_ids = [event_id for (event_type, _), event_id in state.items() if event_type == _MEMBER]
        if within:
            return self._pages(window.history, event_ids, lambda stored: wanted(stored.event.membership))
        known = {stored.event.event_id for stored in await self._members(window)}
        return self._pages(
            window.history,
            event_ids,
            lambda stored: wanted(stored.event.membership) and (stored.event.event_id in known or window.sees(stored)),
        )

    async def membership(self, user_id: str, room_id: str) -> str | None:
        """The user's own membership in a room that they may see, as they know it; None if they never had one."""
        return (await self._access.window(room_id, user_id)).history.membership

    async def joined_members(self, user_id: str, room_id: str) -> dict[str, dict[str, Any]]:
        """Joined users and their profiles; for members only.

        spec: client-server-api#get_matrixclientv3roomsroomidjoined_members
        """
        window = await self._access.current(room_id, user_id)
        snapshot = window.state.snapshot
        # The state of a snapshot never changes, but what its events say does, by redaction.
        key = (0 if snapshot is None else snapshot.nid, self._memory.events.mark())
        known = self._profiles.get(key)
        if known is None:
            known = {
                stored.event.state_key or "": _profile(stored)
                for stored in await self._members(window, ["join"])
                if stored.event.membership == "join"
            }
            self._profiles[key] = known
            while sum(map(len, self._profiles.values())) > _MAX_PROFILES:
                self._profiles.popitem(last=False)
        return known

    async def _members(self, window: RoomWindow, memberships: Collection[str] | None = None) -> list[StoredEvent]:
        """Member events as the window has them; of a large room only those of `memberships`."""
        if window.until is None and not window.state.is_whole:
            async with self._memory.store.read_committed() as tx:
                return await tx.rooms.current_members(window.room_nid, memberships)
        # A small room's state is in memory and most of its events are: only the others cost a statement.
        state = await self._memory.read_whole(window.state)
        return await self._load(state, lambda event_type: event_type == _MEMBER)

    async def _pages(
        self, history: History, event_ids: list[str], wanted: Callable[[StoredEvent], bool] = lambda _: True
    ) -> StatePages:
        for start in range(0, len(event_ids), _PAGE):
            found = await self._memory.events.fetch(event_ids[start : start + _PAGE], self._memory.store)
            yield stated(history, history.known([stored for stored in found.values() if wanted(stored)]))

    async def _rows(self, history: History, nids: list[int]) -> StatePages:
        for start in range(0, len(nids), _PAGE):
            async with self._memory.store.read_committed() as tx:
                found = await tx.events.by_nids(nids[start : start + _PAGE])
            yield stated(history, history.known(found))

    async def _load(self, state: StateMap, wanted: Callable[[str], bool] = lambda _: True) -> list[StoredEvent]:
        event_ids = [event_id for (event_type, _), event_id in state.items() if wanted(event_type)]
        return list((await self._memory.events.fetch(event_ids, self._memory.store)).values())

    async def _state_at(self, window: RoomWindow, order: int) -> tuple[StateMap, bool]:
        """The state at a point of the timeline, and whether the point is in the user's history."""
        start = order if window.until is None else min(order, window.until)
        async with self._memory.store.read_committed() as tx:
            page = await tx.events.timeline(window.room_nid, start=start, stop=None, backwards=True, limit=1)
            if not page.events:
                return StateMap(), True
            return await tx.rooms.state_at(page.events[0].snapshot), window.sees(page.events[0])


def stated(history: History, events: Iterable[Visible]) -> list[bytes]:
    """State events as their reader gets them.

    Without the reader's membership at each: it would be most of the work for a large room, and says nothing that
    state is read for. `_stated` has it for one event.
    spec: client-server-api#room-event-format (unsigned.membership, MSC4115)
    """
    return [
        client_json(stored) if not has_quotes(stored) else for_recipient(stored, history.quotes(stored))
        for stored in events
    ]


def _stated(history: History, stored: Visible) -> bytes:
    # spec: client-server-api#room-event-format (unsigned.membership, MSC4115)
    return for_recipient(stored, {"membership": history.membership_at(stored), **history.quotes(stored)})


def _condition(membership: str | None, not_membership: str | None) -> Callable[[str | None], bool]:
    if membership is None and not_membership is None:
        return lambda value: True
    return lambda value: (
        (membership is not None and value == membership) or (not_membership is not None and value != not_membership)
    )


def _profile(stored: StoredEvent) -> dict[str, Any]:
    content = stored.event.content
    names = {"display_name": content.get("displayname"), "avatar_url": content.get("avatar_url")}
    return {key: value for key, value in names.items() if isinstance(value, str)}
