"""The rooms of a support chat: a space and a desk for each site, a room for each case. The site's bot makes them all.

Whoever is on the desk may join every case's room without being invited, and reads it from its beginning. Visitors may
write in their room and nothing else; they see neither space nor desk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from homeserver.core.event import Event
from homeserver.core.ids import UserID
from homeserver.core.versions import DEFAULT_ROOM_VERSION
from homeserver.ports.events import NewRoom
from homeserver.ports.relations import RelationQuery
from homeserver.services.rooms.create import topic_content
from homeserver.services.rooms.drafts import Draft, Existing, RoomView
from homeserver.services.rooms.profiles import MemberProfiles
from homeserver.services.rooms.transactions import transaction
from homeserver.services.rooms.writer import RoomMemory, RoomWriter
from homeserver.services.support.names import is_visitor
from homeserver.services.support.template import AGENT_POWER, RoomTemplate, levels_of

CASE_TYPE = "chat.hromada.support"
TICKET = "chat.hromada.support.ticket"
CANNED = "chat.hromada.support.canned"
RATING = "chat.hromada.support.rating"
MEMBER = "m.room.member"
ENCRYPTION = "m.room.encryption"
_PAGE = 100
_MOST_PAGES = 50
_BOT_DEVICE = "support"


@dataclass(frozen=True, slots=True)
class Staff:
    """Somebody on a desk, or invited to it."""

    user_id: str
    name: str
    membership: str


class SupportRooms:
    """Makes rooms and writes in them as the site's bot."""

    def __init__(self, writer: RoomWriter, memory: RoomMemory, profiles: MemberProfiles, server_name: str) -> None:
        self._writer = writer
        self._memory = memory
        self._profiles = profiles
        self._server_name = server_name

    async def make_desk(self, bot: str, name: str, agents: list[str]) -> tuple[str, str]:
        """A site's space and desk; returns their ids. `agents` are invited to both."""
        levels = {"events": {CANNED: 0, "m.room.pinned_events": 0}, "invite": AGENT_POWER, "users_default": 0}
        desk = await self._make(
            bot,
            {},
            [
                ("m.room.power_levels", "", levels),
                ("m.room.join_rules", "", {"join_rule": "invite"}),
                ("m.room.history_visibility", "", {"history_visibility": "shared"}),
                ("m.room.guest_access", "", {"guest_access": "forbidden"}),
                ("m.room.name", "", {"name": f"{name} · desk"}),
                ("m.room.topic", "", topic_content("Cases of the website. React to a card, or write !help.")),
            ],
            agents,
        )
        space = await self._make(
            bot,
            {"type": "m.space"},
            [
                ("m.room.power_levels", "", {"events_default": 100, "invite": AGENT_POWER}),
                ("m.room.join_rules", "", _members_of(desk)),
                ("m.room.history_visibility", "", {"history_visibility": "shared"}),
                ("m.room.guest_access", "", {"guest_access": "forbidden"}),
                ("m.room.name", "", {"name": name}),
                ("m.space.child", desk, {"via": [self._server_name], "order": " ", "suggested": True}),
            ],
            agents,
        )
        await self.set_state(bot, desk, "m.space.parent", space, {"via": [self._server_name], "canonical": True})
        return space, desk

    async def make_case(
        self,
        bot: str,
        space: str,
        desk: str,
        visitor: str,
        called: tuple[str, str],
        ticket: dict[str, Any],
        template: RoomTemplate,
        *,
        encrypted: bool,
    ) -> str:
        """A case's room with the visitor in it; returns its id. Its name and topic (`called`) are filled in already."""
        name, topic = called
        room_id = await self._make(
            bot,
            {"type": CASE_TYPE},
            [
                ("m.room.power_levels", "", levels_of(template)),
                ("m.room.join_rules", "", _members_of(desk)),
                ("m.room.history_visibility", "", {"history_visibility": "shared"}),
                ("m.room.guest_access", "", {"guest_access": "can_join"}),
                ("m.space.parent", space, {"via": [self._server_name], "canonical": True}),
                (TICKET, "", ticket),
                ("m.room.name", "", {"name": name}),
                *([("m.room.topic", "", topic_content(topic))] if topic else []),
                *([(ENCRYPTION, "", {"algorithm": "m.megolm.v1.aes-sha2"})] if encrypted else []),
                *((piece.type, piece.state_key, piece.content) for piece in template.initial_state),
            ],
            [visitor],
            joins=True,
        )
        await self.list_case(bot, space, room_id, listed=True)
        return room_id

    async def list_case(self, bot: str, space: str, room_id: str, *, listed: bool) -> None:
        """Show a case in the space, or take it out."""
        await self.set_state(bot, space, "m.space.child", room_id, {"via": [self._server_name]} if listed else {})

    async def _make(
        self,
        bot: str,
        create: dict[str, Any],
        state: list[tuple[str, str, dict[str, Any]]],
        invited: list[str],
        *,
        joins: bool = False,
    ) -> str:
        version = DEFAULT_ROOM_VERSION
        content = {**create, "room_version": version.id, "m.federate": False}
        me = {**await self._profiles.member_profile(bot), "membership": "join"}
        drafts = [Draft(bot, "m.room.create", content, ""), Draft(bot, "m.room.member", me, bot)]
        drafts += [Draft(bot, kind, dict(value), key) for kind, key, value in state]
        for user_id in invited:
            shown = await self._profiles.member_profile(user_id)
            drafts.append(Draft(bot, "m.room.member", {**shown, "membership": "invite"}, user_id))
            if joins:
                drafts.append(Draft(user_id, "m.room.member", {**shown, "membership": "join"}, user_id))
        return await self._writer.create(version, drafts, NewRoom("", version, UserID(bot), False))

    async def state(self, room_id: str, kind: str, key: str = "") -> dict[str, Any]:
        """The content of a piece of state; empty if there is none."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is None:
            return {}
        found = (await self._memory.read_events(head.state, [(kind, key)])).get((kind, key))
        return {} if found is None else dict(found.event.content)

    async def encrypted(self, room_ids: Sequence[str]) -> tuple[str, ...]:
        """Those of the rooms in which messages are encrypted."""
        return tuple([room_id for room_id in room_ids if await self.state(room_id, ENCRYPTION)])

    async def members(self, room_id: str) -> list[str]:
        """Who is joined, of this server."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is None:
            return []
        async with self._memory.store.read_committed() as tx:
            return list(await tx.rooms.joined_local_users(head.room_nid))

    async def has(self, room_id: str, user_id: str) -> bool:
        """Whether somebody is in a room, or invited to it."""
        return (await self.state(room_id, MEMBER, user_id)).get("membership") in ("join", "invite")

    async def staff(self, room_id: str) -> list[Staff]:
        """Who is joined or invited, those who are joined first."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is None:
            return []
        async with self._memory.store.read() as tx:
            members = await tx.rooms.current_members(head.room_nid, ["join", "invite"])
        found = []
        for stored in members:
            content, user_id = stored.event.content, stored.event.state_key or ""
            name = content.get("displayname")
            found.append(Staff(user_id, name if isinstance(name, str) else user_id, str(content.get("membership"))))
        return sorted(found, key=lambda one: (one.membership != "join", one.name, one.user_id))

    async def known(self, room_id: str, whose: Callable[[str], bool]) -> set[str]:
        """Those who are or were in a room, of those who are meant."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is None:
            return set()
        async with self._memory.store.read() as tx:
            members = await tx.rooms.current_members(head.room_nid, ["join", "invite", "leave", "ban"])
        found = {stored.event.state_key or "" for stored in members}
        return {user_id for user_id in found if whose(user_id)}

    async def set_state(self, bot: str, room_id: str, kind: str, key: str, content: dict[str, Any]) -> None:
        """Set a piece of state."""
        await self._writer.send(room_id, Draft(bot, kind, content, key))

    async def say(
        self,
        bot: str,
        room_id: str,
        content: dict[str, Any],
        once: str,
        kind: str = "m.room.message",
        *,
        at_ms: int | None = None,
    ) -> str:
        """Send an event, the same for the same `once`, as of now or of `at_ms`; returns its id."""
        txn = transaction(bot, _BOT_DEVICE, room_id, kind, once)
        return await self._writer.send(room_id, Draft(bot, kind, content, txn=txn, origin_server_ts=at_ms))

    async def said_once(self, bot: str, room_id: str, once: str) -> Event | None:
        """The message that `say` has sent for the same `once`, if that is known still."""
        if (txn := transaction(bot, _BOT_DEVICE, room_id, "m.room.message", once)) is None:
            return None
        async with self._memory.store.read() as tx:
            event_id = (await tx.events.by_txns([txn.key])).get(txn.key)
            found = {} if event_id is None else await tx.events.get_many([event_id])
        return found[event_id].event if event_id in found else None

    async def redact(self, bot: str, room_id: str, event_id: str, once: str) -> None:
        """Take an event of anybody's back."""
        txn = transaction(bot, _BOT_DEVICE, room_id, f"redact {event_id}", once)
        await self._writer.send(room_id, Draft(bot, "m.room.redaction", {}, redacts=event_id, txn=txn))

    async def children(self, room_id: str, event_id: str, sender: str | None) -> list[str]:
        """What somebody (None: anybody) has said of an event: edits, notes in its thread, reactions; 5,000 at most."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        found: list[str] = []
        if head is None:
            return found
        start: int | None = None
        for _ in range(_MOST_PAGES):
            query = RelationQuery(event_id, start=start, backwards=True, limit=_PAGE)
            async with self._memory.store.read() as tx:
                page = await tx.relations.children(head.room_nid, query)
            found += [stored.event.event_id for stored in page.events if sender in (None, stored.event.sender)]
            start = page.end
            if start is None:
                break
        return found

    async def redact_all(self, bot: str, room_id: str, whose: Callable[[str], bool]) -> set[str]:
        """Take back everything that those have said who are meant; who they are, also where it was done before.

        What the bot itself has said stays: these are the redactions.
        """
        found: set[str] = set()
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is None:
            return found
        after: int | None = None
        while True:
            async with self._memory.store.read() as tx:
                page = await tx.events.timeline(head.room_nid, start=after, stop=None, backwards=False, limit=_PAGE)
            for stored in page.events:
                event = stored.event
                if event.sender == bot or not whose(event.sender) or event.state_key is not None:
                    continue
                found.add(event.sender)
                if stored.redacted_by is None:
                    await self.redact(bot, room_id, event.event_id, "erase")
            if page.end is None:
                return found
            after = page.end

    async def member(self, bot: str, room_id: str, user_id: str, membership: str, by: str | None = None) -> None:
        """Invite, remove or ban somebody, or let them join or leave (`by` them)."""
        shown = await self._profiles.member_profile(user_id) if membership in ("invite", "join") else {}
        content = {**shown, "membership": membership}
        await self._writer.send(room_id, Draft(by or bot, MEMBER, content, user_id))

    async def invite(self, bot: str, room_id: str, user_id: str, reason: str, once: str | None = None) -> None:
        """Invite somebody who is neither in the room nor invited; of two for the same `once` the second does nothing,
        whatever has become of the first.
        """
        content = {**await self._profiles.member_profile(user_id), "membership": "invite", "reason": reason}

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            member = room.get(MEMBER, user_id)
            return Existing(member.event_id) if member and member.membership in ("join", "invite") else content

        txn = transaction(bot, _BOT_DEVICE, room_id, MEMBER, once)
        await self._writer.send(room_id, Draft(bot, MEMBER, {}, user_id, txn=txn, decide=decide))

    async def withdraw(self, bot: str, room_id: str, kept: Collection[str | None], reason: str) -> None:
        """Take back the bot's invitations of staff that nobody has accepted, but those of `kept`."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is None:
            return
        # In most rooms nobody else is known, and nothing has to be read.
        # A visitor who becomes known, or is let in again, is invited for a moment, too.
        others = [
            (kind, user_id)
            for kind, user_id in await self._memory.read_whole(head.state)
            if kind == MEMBER and user_id != bot and user_id not in kept and not is_visitor(user_id)
        ]
        for (_, user_id), stored in (await self._memory.read_events(head.state, others)).items():
            if stored.event.membership == "invite" and stored.event.sender == bot:
                decide = partial(_taken_back, user_id=user_id, reason=reason)
                await self._writer.send(room_id, Draft(bot, MEMBER, {}, user_id, decide=decide))


def _taken_back(room: RoomView, user_id: str, reason: str) -> dict[str, Any] | Existing:
    member = room.get(MEMBER, user_id)
    if member is not None and member.membership != "invite":  # who accepts at this moment is not put out
        return Existing(member.event_id)
    return {"membership": "leave", "reason": reason}


def _members_of(room_id: str) -> dict[str, Any]:
    """spec: client-server-api#restricted-rooms"""
    return {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": room_id}]}
