"""The list of what a user was told of, or would have been: /notifications, newest first over all their rooms.

Nothing is stored for it. The timelines of the rooms that the user is in are walked backwards, with the invitations that
wait for an answer, and their push rules, as they are now, are asked again; so it agrees with the unread counts, and
works without pushers.
spec: client-server-api#listing-notifications; see docs/subsystems/push.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.pushbits import HIGHLIGHTS, NOTIFIES
from homeserver.core.pushmatch import PushMatcher, PushOutcome
from homeserver.core.pushrules import default_rules
from homeserver.ports.events import Membership, order_of
from homeserver.ports.store import Store, Transaction
from homeserver.ports.unread import PastEvent
from homeserver.services.push.rooms import PushRoom, push_rooms
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms.access import RoomAccess, RoomWindow
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.rooms.present import Recipient, present
from homeserver.services.rooms.render import client_json
from homeserver.services.rooms.tokens import timeline_order, timeline_token
from homeserver.services.rooms.visibility import Visible

_NEWEST = 2**62
_STEP = 200  # events looked at by one statement
_MOST_READ = 2_000
"""Events one request looks at, however few of them told anything."""


@dataclass(frozen=True, slots=True)
class Notification:
    """An event that the user was told of."""

    order: int
    event: bytes  # in client format
    room_id: str
    actions: list[Any]
    read: bool
    ts: int


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """Newest first; `next_token` is None at the end."""

    notifications: Sequence[Notification]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class _Told:
    """An event that meets a rule, in its room."""

    stored: Visible
    order: int
    room_id: str
    outcome: PushOutcome


class Notifications:
    """Reads what users were told of."""

    def __init__(
        self, store: Store, access: RoomAccess, lists: RoomLists, unread: UnreadCounts, *, max_page: int
    ) -> None:
        """`max_page`: most notifications of one answer."""
        self._store = store
        self._access = access
        self._lists = lists
        self._unread = unread
        self._max_page = max_page

    async def page(self, who: Recipient, start: str | None, limit: int, *, only_highlights: bool) -> NotificationPage:
        """A page of them. A short one with a token says that there is more behind what told nothing.

        Raises MatrixError(INVALID_PARAM).  spec: client-server-api#get_matrixclientv3notifications
        """
        if limit < 1:
            raise MatrixError(ErrCode.INVALID_PARAM, "limit must be at least 1")
        before: int | None = _NEWEST if start is None else timeline_order(start)
        limit = min(limit, self._max_page)
        memberships = (await self._lists.of(who.user_id)).values()
        rooms = {one.room_nid: one.room_id for one in memberships if one.membership == "join"}
        invited = _newest_first([one for one in memberships if one.membership == "invite"])
        windows: dict[int, RoomWindow] = {}
        found: list[_Told] = []
        looked = 0
        while before is not None and len(found) < limit and looked < _MOST_READ:
            async with self._store.read() as tx:
                past = await tx.unread.past(who.user_id, rooms, before, _STEP)
            told = await self._told(who, past, rooms, windows, only_highlights)
            end = past[-1].order if len(past) == _STEP else 0
            invitations = [one for one in invited if end <= order_of(one.position) < before][:_STEP]
            if len(invitations) == _STEP:
                end = order_of(invitations[-1].position)
                told = [one for one in told if one.order >= end]
            told += await self._pending(who, invitations, windows, only_highlights)
            told.sort(key=lambda one: one.order, reverse=True)
            looked += len(past) + len(invitations)
            before = end or None
            if len(found) + len(told) > limit:
                told = told[: limit - len(found)]
                before = told[-1].order
            found += told
        return NotificationPage(
            await self._shown(who, found, windows), None if before is None else timeline_token(before)
        )

    async def _told(
        self,
        who: Recipient,
        past: Sequence[PastEvent],
        rooms: Mapping[int, str],
        windows: dict[int, RoomWindow],
        only_highlights: bool,
    ) -> list[_Told]:
        """Those of the events that the user was told of, in the same order."""
        async with self._store.read() as tx:
            own_rules = await self._unread.matcher(tx, who.user_id)
        wanted = [one for one in past if _may_tell(one, who, own_rules is not None, only_highlights)]
        for room_nid in {one.room_nid for one in wanted} - windows.keys():
            windows[room_nid] = await self._access.window(rooms[room_nid], who.user_id)
        async with self._store.read() as tx:
            events = {stored.nid: stored for stored in await tx.events.by_nids([one.nid for one in wanted])}
            facts = await push_rooms(tx, {one.room_nid: [who.user_id] for one in wanted}) if wanted else {}
        matcher = own_rules or PushMatcher(who.user_id, default_rules(who.user_id))
        told: list[_Told] = []
        for one in wanted:
            window = windows[one.room_nid]
            for stored in window.shown([events[one.nid]]) if one.nid in events else ():
                if not _was_there(window, one.order) and stored.event.membership != "invite":
                    continue
                outcome = _outcome(matcher, stored, facts[one.room_nid], who.user_id)
                if outcome.notify and (outcome.highlight or not only_highlights):
                    told.append(_Told(stored, one.order, rooms[one.room_nid], outcome))
        return told

    async def _pending(
        self,
        who: Recipient,
        invitations: Sequence[Membership],
        windows: dict[int, RoomWindow],
        only_highlights: bool,
    ) -> list[_Told]:
        """Those of the invitations, which have no answer yet, that the user was told of."""
        seen: list[tuple[RoomWindow, Visible]] = []
        for one in invitations:
            if one.sender not in who.ignored and (found := await self._access.invitation(one)) is not None:
                seen.append(found)
        if not seen:
            return []
        async with self._store.read() as tx:
            matcher = await self._unread.matcher(tx, who.user_id)
            facts = await push_rooms(tx, {window.room_nid: [who.user_id] for window, _ in seen})
        matcher = matcher or PushMatcher(who.user_id, default_rules(who.user_id))
        told: list[_Told] = []
        for window, stored in seen:
            outcome = _outcome(matcher, stored, facts[window.room_nid], who.user_id)
            if outcome.notify and (outcome.highlight or not only_highlights):
                windows[window.room_nid] = window
                told.append(_Told(stored, window.end, window.room_id, outcome))
        return told

    async def _shown(
        self, who: Recipient, found: Sequence[_Told], windows: Mapping[int, RoomWindow]
    ) -> list[Notification]:
        rendered: dict[int, bytes] = {}
        by_room: dict[int, list[Visible]] = {}
        for told in found:
            by_room.setdefault(told.stored.room_nid, []).append(told.stored)
        async with self._store.read() as tx:
            for room_nid, events in by_room.items():
                forms = await present(tx, windows[room_nid], who, events)
                rendered.update(zip((stored.nid for stored in events), forms, strict=True))
            unread = await self._unread_of(tx, who, found, by_room)
        unread.update(told.stored.nid for told in found if windows[told.stored.room_nid].history.membership == "invite")
        return [
            Notification(
                told.order,
                rendered[told.stored.nid],
                told.room_id,
                _actions(told.outcome),
                told.stored.nid not in unread,
                told.stored.event.origin_server_ts,
            )
            for told in found
        ]

    async def _unread_of(
        self, tx: Transaction, who: Recipient, found: Sequence[_Told], rooms: Mapping[int, object]
    ) -> set[int]:
        nids = [told.stored.nid for told in found]
        return await tx.unread.unread_among(who.user_id, list(rooms), nids, who.ignored, self._unread.most)


def _newest_first(memberships: Iterable[Membership]) -> list[Membership]:
    return sorted(memberships, key=lambda one: one.position, reverse=True)


def _may_tell(one: PastEvent, who: Recipient, has_own_rules: bool, only_highlights: bool) -> bool:
    """Whether it is worth reading: what the default rules make of an event was decided when it was stored."""
    if one.is_redacted or one.sender == who.user_id or one.sender in who.ignored:
        return False
    if has_own_rules or one.mentioned:
        return True
    return bool(one.push & HIGHLIGHTS) if only_highlights else bool(one.push & NOTIFIES) or one.invites


def _was_there(window: RoomWindow, order: int) -> bool:
    """Whether the user was in the room when it happened: nobody is told of what was before they came."""
    return window.history.memberships.around(order)[0] == "join"


def _outcome(matcher: PushMatcher, stored: Visible, room: PushRoom, user_id: str) -> PushOutcome:
    return matcher.match(orjson.loads(client_json(stored)), room.facts(user_id, stored.event.sender))


def _actions(outcome: PushOutcome) -> list[Any]:
    """As a rule would have them."""
    tweaks = [
        {"set_tweak": name} if value is None or value is True else {"set_tweak": name, "value": value}
        for name, value in outcome.tweaks.items()
    ]
    return ["notify", *tweaks]
