"""What sync reads of rooms, from the rooms services' memory where it holds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from homeserver.ports.events import Membership, StoredEvent
from homeserver.ports.store import Store, Transaction
from homeserver.services.rooms.invites import InvitePermission
from homeserver.services.rooms.present import Recipient, bundled
from homeserver.services.rooms.render import STRIPPED_TYPES, stripped
from homeserver.services.rooms.visibility import History
from homeserver.services.rooms.writer import RoomMemory
from homeserver.services.sync.snapshot import NAME_TYPES, is_name

_MEMBER = "m.room.member"


class RoomMemoryReads:
    """Implements `request.RoomReads`."""

    def __init__(self, store: Store, memory: RoomMemory) -> None:
        self._store = store
        self._memory = memory
        self._invites = InvitePermission(store)

    async def histories(self, tx: Transaction | None, user_id: str, room_nids: Collection[int]) -> dict[int, History]:
        """See the protocol."""
        return await self._memory.histories.fetch_many(room_nids, user_id, self._store, tx)

    def known_histories(self, user_id: str, room_nids: Collection[int]) -> dict[int, History] | None:
        """See the protocol."""
        return self._memory.histories.known(room_nids, user_id)

    async def relations(
        self, tx: Transaction, recipient: Recipient, events: Sequence[StoredEvent]
    ) -> dict[str, dict[str, Any]]:
        """See the protocol."""
        histories = await self.histories(tx, recipient.user_id, {stored.room_nid for stored in events})
        return await bundled(tx, recipient, histories, events)

    async def members(self, rooms: Mapping[str, Collection[str]]) -> dict[str, list[StoredEvent]]:
        """See the protocol. No statement where the room's head and the member events are in memory."""
        found: dict[str, list[StoredEvent]] = {}
        wanted: dict[str, str] = {}  # member event id → room id
        unknown: dict[str, Collection[str]] = {}
        for room_id, users in rooms.items():
            head = self._memory.heads.peek(room_id)
            if head is None or head.state.unknown((_MEMBER, user) for user in users):
                unknown[room_id] = users
                continue
            for user in users:
                if (event_id := head.state.get((_MEMBER, user))) is not None:
                    wanted[event_id] = room_id
        for stored in (await self._memory.events.fetch(wanted, self._store)).values():
            found.setdefault(stored.event.room_id, []).append(stored)
        if unknown:
            async with self._store.read() as tx:
                nids = await tx.rooms.room_nids(unknown)
                members = await tx.rooms.member_events({nids[room_id]: users for room_id, users in unknown.items()})
            found.update({room_id: members.get(nid, []) for room_id, nid in nids.items()})
        return found

    async def is_named(self, room_id: str) -> bool:
        """See the protocol."""
        head = await self._memory.heads.fetch(room_id, self._store)
        if head is None:
            return False
        found = await self._memory.read_events(head.state, [(kind, "") for kind in NAME_TYPES])
        return any(is_name(stored) for stored in found.values())

    async def blocks_invites(self, user_id: str) -> bool:
        """See the protocol."""
        return await self._invites.blocked_by(user_id)

    async def stripped_state(self, membership: Membership) -> list[dict[str, Any]]:
        """See the protocol."""
        head = await self._memory.heads.fetch(membership.room_id, self._store)
        if head is None:
            return []
        keys, own = [(kind, "") for kind in STRIPPED_TYPES], membership.event_id
        if membership.membership == "invite":
            keys.append(("m.room.member", membership.sender))
        ids = [event_id for event_id in (await self._memory.read(head.state, keys)).values() if event_id != own]
        found = await self._memory.events.fetch([*ids, own], self._store)
        return [stripped(found[event_id]) for event_id in [*ids, own] if event_id in found]

    async def events(self, event_ids: Collection[str]) -> Mapping[str, StoredEvent]:
        """See the protocol."""
        return await self._memory.events.fetch(event_ids, self._store)
