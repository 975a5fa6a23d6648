"""Searching what people wrote: the index finds candidates, the one history filter decides which of them are shown.

Candidates come newest first and in bounded numbers, so that a word of every message costs no more than a rare one. Each
is held against the text as its reader sees it: redacted, edited by others' leave or written before they came, it is not
found. An edit is found as the message that it edits.
spec: client-server-api#server-side-search; see docs/subsystems/search.md
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.filters import RoomEventFilter
from homeserver.core.relations import relation_of
from homeserver.core.searching import Kind, highlights_of, rank_of, searchable, terms_of
from homeserver.ports.events import StoredEvent
from homeserver.ports.search import IndexQuery
from homeserver.ports.store import Store
from homeserver.services.rooms.access import RoomAccess, RoomWindow
from homeserver.services.rooms.filtered import ignores, select
from homeserver.services.rooms.history import Neighbours, RoomHistory
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.rooms.present import Recipient, present
from homeserver.services.rooms.visibility import Visible

Order = Literal["rank", "recent"]
GroupKey = Literal["room_id", "sender"]

_NEWEST = 2**62
_STEP = 100  # candidates looked at by one statement
_MOST_READ = 1_000
"""Candidates one request looks at, however few of them it may show; of so many the closest are ranked."""


class _Place(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Where a page ended: behind a row id, and (ranked) how many of those behind it were shown."""

    before: int
    shown: int = 0
    key: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """How many events around each result are wanted, and whether with their senders' profiles of that time."""

    before: int = 5
    after: int = 5
    profiles: bool = False


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What /search asks for in rooms."""

    term: str
    kinds: frozenset[Kind] = frozenset(Kind)
    order: Order = "rank"
    filter: RoomEventFilter = field(default_factory=RoomEventFilter)
    context: ContextRequest | None = None
    group_by: tuple[GroupKey, ...] = ()
    start: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """An event that was found, rendered."""

    event_id: str
    room_id: str
    sender: str
    rank: float
    event: bytes
    context: Neighbours | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Results that have a room or a sender in common."""

    event_ids: list[str]
    order: int
    next_batch: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of results."""

    results: list[Result] = field(default_factory=list)
    count: int = 0
    highlights: list[str] = field(default_factory=list)
    groups: Mapping[GroupKey, Mapping[str, Group]] = field(default_factory=dict)
    next_batch: str | None = None


@dataclass(frozen=True, slots=True)
class _Hit:
    nid: int  # of the row that was found: that of an edit, where `stored` is what it edits
    stored: Visible
    window: RoomWindow
    rank: float
    text: str


class Search:
    """Full-text search over the rooms that a user is or was in."""

    def __init__(
        self, store: Store, access: RoomAccess, lists: RoomLists, history: RoomHistory, *, max_page: int, enabled: bool
    ) -> None:
        """`max_page` results at most make a page; without `enabled` there is no index, and nothing is found."""
        self._store = store
        self._access = access
        self._lists = lists
        self._history = history
        self._max_page = max_page
        self._enabled = enabled

    async def rooms(self, who: Recipient, request: SearchRequest) -> Found:
        """A page of the events that hold every word of the term, as far as the user may see them.

        Raises MatrixError: INVALID_PARAM, UNRECOGNIZED if the server keeps no index.
        spec: client-server-api#post_matrixclientv3search
        """
        if not self._enabled:
            raise MatrixError(ErrCode.UNRECOGNIZED, "This server does not search messages")
        place = _place(request.start)
        terms = terms_of(request.term)
        memberships = await self._lists.of(who.user_id)
        rooms = {
            one.room_nid: room_id
            for room_id, one in memberships.items()
            if one.membership in ("join", "leave", "ban") and not one.forgotten and request.filter.matches_room(room_id)
        }
        if place.key == "room_id":
            rooms = {nid: room_id for nid, room_id in rooms.items() if room_id == place.group}
        if not terms or not rooms or not request.kinds:
            return Found()
        query = IndexQuery(terms, request.kinds, list(rooms))
        limit = min(self._max_page, self._max_page if request.filter.limit is None else request.filter.limit)
        reading = _Reading(self, who, request, query, rooms, place)
        if request.order == "recent":
            hits, end = await reading.newest(limit)
        else:
            hits, end = await reading.closest(limit)
        return Found(
            await self._results(who, request, hits),
            reading.count,
            sorted({word for hit in hits for word in highlights_of(terms, hit.text)} | {term.text for term in terms}),
            {key: _grouped(key, hits, end) for key in request.group_by},
            None if end is None else _token(end),
        )

    async def _results(self, who: Recipient, request: SearchRequest, hits: Sequence[_Hit]) -> list[Result]:
        rendered: dict[str, bytes] = {}
        by_room: dict[str, list[_Hit]] = {}
        for hit in hits:
            by_room.setdefault(hit.window.room_id, []).append(hit)
        async with self._store.read() as tx:
            for in_room in by_room.values():
                events = [hit.stored for hit in in_room]
                forms = await present(tx, in_room[0].window, who, events)
                rendered.update(zip((stored.event.event_id for stored in events), forms, strict=True))
        results: list[Result] = []
        for hit in hits:
            event, context = hit.stored.event, request.context
            around = None
            if context is not None:
                around = await self._history.neighbours(
                    who, hit.window, hit.stored, (context.before, context.after), profiles=context.profiles
                )
            results.append(
                Result(event.event_id, event.room_id, event.sender, hit.rank, rendered[event.event_id], around)
            )
        return results

    async def candidates(self, query: IndexQuery, before: int, limit: int = _STEP) -> list[StoredEvent]:
        """The next events that the index finds, newest first."""
        async with self._store.read() as tx:
            return await tx.events.by_nids(await tx.search.find(query, before, limit))

    async def edited(self, events: Iterable[StoredEvent]) -> dict[str, StoredEvent]:
        """What those of the events that are edits edit, by the edits' ids."""
        targets = {
            stored.event.event_id: relation.event_id
            for stored in events
            if not stored.event.is_state
            and (relation := relation_of(stored.event.content)) is not None
            and relation.rel_type == "m.replace"
        }
        if not targets:
            return {}
        async with self._store.read() as tx:
            found = await tx.events.get_many(list(targets.values()))
        return {edit: found[target] for edit, target in targets.items() if target in found}

    async def window(self, room_id: str, user_id: str) -> RoomWindow | None:
        """What the user may see of a room; None: nothing (banned without ever having been there, or just forgotten)."""
        try:
            return await self._access.window(room_id, user_id)
        except NotAllowed:
            return None


class _Reading:
    """One request's way through the candidates."""

    def __init__(
        self,
        search: Search,
        who: Recipient,
        request: SearchRequest,
        query: IndexQuery,
        rooms: Mapping[int, str],
        place: _Place,
    ) -> None:
        self._search = search
        self._who = who
        self._request = request
        self._query = query
        self._rooms = rooms
        self._place = place
        self._windows: dict[int, RoomWindow | None] = {}
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        """How many were found on the way. Of what the user may not see even the number would say what is in it."""
        return len(self._seen)

    async def newest(self, limit: int) -> tuple[list[_Hit], _Place | None]:
        """Up to `limit` of them, and where to go on (None: there are no more)."""
        hits: list[_Hit] = []
        before, looked = self._place.before, 0
        while looked < _MOST_READ:
            found = await self._search.candidates(self._query, before)
            looked += len(found)
            for hit in await self._hits(found):
                if len(hits) == limit:
                    return hits, self._behind(hits[-1].nid if hits else before)
                hits.append(hit)
            if len(found) < _STEP:
                return hits, None
            before = found[-1].nid
        return hits, self._behind(before)

    async def closest(self, limit: int) -> tuple[list[_Hit], _Place | None]:
        """Of the newest _MOST_READ candidates the closest `limit` that were not shown yet."""
        hits: list[_Hit] = []
        # Of a frequent beginning each statement gathers all matches anew, so one asks for all.
        found = await self._search.candidates(self._query, self._place.before, _MOST_READ)
        if self._place.before == _NEWEST and found:
            # What comes meanwhile must not move what the next page counts from.
            self._place.before = found[0].nid + 1
        for start in range(0, len(found), _STEP):
            hits += await self._hits(found[start : start + _STEP])
            await asyncio.sleep(0)  # others wait no longer than for these
        hits.sort(key=lambda hit: (-hit.rank, -hit.nid))
        shown = self._place.shown
        page, rest = hits[shown : shown + limit], hits[shown + limit :]
        if not rest:
            return page, None
        return page, _Place(self._place.before, shown + limit, self._place.key, self._place.group)

    def _behind(self, nid: int) -> _Place:
        return _Place(nid, 0, self._place.key, self._place.group)

    async def _hits(self, found: Sequence[StoredEvent]) -> list[_Hit]:
        """Those of the candidates that the user may see and that match as they see them."""
        edited = await self._search.edited(found)
        hits: list[_Hit] = []
        for stored in found:
            window = await self._window(stored.room_nid)
            if window is None:
                continue
            target = edited.get(stored.event.event_id, stored)
            if target is not stored and not _edits(stored, target):
                continue
            shown = select(self._request.filter, window.shown([target]))
            told = window.shown([stored])
            if not shown or not told or ignores(self._who.ignored, stored) or target.event.event_id in self._seen:
                continue
            if self._place.key == "sender" and target.event.sender != self._place.group:
                continue
            said = searchable(told[0].event)
            rank = 0.0 if said is None else rank_of(self._query.terms, said[1])
            if said is not None and rank > 0:
                self._seen.add(target.event.event_id)
                hits.append(_Hit(stored.nid, shown[0], window, rank, said[1]))
        return hits

    async def _window(self, room_nid: int) -> RoomWindow | None:
        if room_nid not in self._windows:
            self._windows[room_nid] = await self._search.window(self._rooms[room_nid], self._who.user_id)
        return self._windows[room_nid]


def _edits(edit: StoredEvent, target: StoredEvent) -> bool:
    # spec: client-server-api#validity-of-replacement-events
    return (edit.room_nid, edit.event.sender, edit.event.type) == (
        target.room_nid,
        target.event.sender,
        target.event.type,
    ) and target.redacted_by is None


def _grouped(key: GroupKey, hits: Sequence[_Hit], end: _Place | None) -> dict[str, Group]:
    members: dict[str, list[str]] = {}
    for hit in hits:
        event = hit.stored.event
        members.setdefault(event.room_id if key == "room_id" else event.sender, []).append(event.event_id)
    groups: dict[str, Group] = {}
    for order, (name, event_ids) in enumerate(members.items()):
        following = None
        if end is not None:
            # A group goes on where the page does, with those that have this in common: behind a row, or ranked ones.
            following = _token(_Place(end.before, len(event_ids) if end.shown else 0, key, name))
        groups[name] = Group(event_ids, order, following)
    return groups


def _token(place: _Place) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _place(token: str | None) -> _Place:
    if token is None:
        return _Place(_NEWEST)
    try:
        place = msgspec.json.decode(urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=_Place)
    except (BadBase64, ValueError) as error:
        raise MatrixError(ErrCode.INVALID_PARAM, "The pagination token is not one of this server's") from error
    if abs(place.before) > _NEWEST or not 0 <= place.shown <= _MOST_READ or place.key not in ("", "room_id", "sender"):
        raise MatrixError(ErrCode.INVALID_PARAM, "The pagination token is not one of this server's")
    return place
