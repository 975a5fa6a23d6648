"""Makes transactions for application services out of entries of the log.

spec: application-service-api#pushing-events
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from homeserver.ports.clock import Clock
from homeserver.ports.e2e import DeviceName
from homeserver.ports.events import HIDDEN, StoredEvent
from homeserver.ports.log import (
    DeviceListEntry,
    EventEntry,
    KeyCountsEntry,
    LogEntry,
    ReceiptEntry,
    StateEntry,
    ToDeviceEntry,
)
from homeserver.ports.receipts import ReceiptChanged
from homeserver.ports.store import Store, StoreUnavailable, Transaction
from homeserver.services.appservices.interest import Interest
from homeserver.services.appservices.registration import Registration
from homeserver.services.rooms.histories import HistoryCache
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.rooms.render import STRIPPED_TYPES, for_recipient, stripped
from homeserver.services.rooms.visibility import has_quotes, joined_all_along, unfiltered_quotes

_log = structlog.get_logger(__name__)

_MOST_ROOMS = 200
"""Of somebody in more rooms than these it is taken for granted that they share one with the service."""
# COMPAT(bridges): names from before the specification, which are read by those made then.
_EPHEMERAL = ("ephemeral", "de.sorunome.msc2409.ephemeral")
_TO_DEVICE = ("to_device", "de.sorunome.msc2409.to_device")
_LISTS = ("device_lists", "org.matrix.msc3202.device_lists")
_COUNTS = ("device_one_time_keys_count", "org.matrix.msc3202.device_one_time_keys_count")
_COUNTS_AS_ONCE_MISSPELT = "org.matrix.msc3202.device_one_time_key_counts"
_FALLBACK = ("device_unused_fallback_key_types", "org.matrix.msc3202.device_unused_fallback_key_types")


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """How large a transaction may become."""

    events: int = 100
    bytes: int = 2 * 1024 * 1024


@dataclass(slots=True)
class TransactionDraft:
    """A transaction in the making: everything of interest with `low < position <= position`."""

    low: int
    position: int
    events: list[bytes] = field(default_factory=list)
    size: int = 0
    receipts: dict[tuple[str, str, str, str | None], ReceiptChanged] = field(default_factory=dict)
    extra: list[dict[str, Any]] = field(default_factory=list)
    """Ephemeral events that the log does not hold."""
    devices: dict[DeviceName, None] = field(default_factory=dict)
    """Devices that messages came for."""
    messages: int = 0
    counted: dict[DeviceName, None] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    left: dict[str, None] = field(default_factory=dict)

    def is_full(self, limits: TransactionLimits) -> bool:
        """Whether the rest is for the next one."""
        others = len(self.receipts) + self.messages + len(self.changed) + len(self.counted)
        return len(self.events) >= limits.events or self.size >= limits.bytes or others >= limits.events

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (
            self.events or self.receipts or self.extra or self.devices or self.counted or self.changed or self.left
        )


class TransactionMaker:
    """Makes the transactions of one application service."""

    def __init__(
        self,
        service: Registration,
        interest: Interest,
        store: Store,
        histories: HistoryCache,
        lists: RoomLists,
        clock: Clock,
        limits: TransactionLimits,
    ) -> None:
        self._service = service
        self.interest = interest
        self._store = store
        self._histories = histories
        self._lists = lists
        self._clock = clock
        self.limits = limits

    async def extend(self, draft: TransactionDraft, entries: Sequence[LogEntry]) -> None:
        """Add entries that follow the draft's position, as many as fit; the position says how far it came."""
        users = self._telling_of_devices(entries)
        rooms = {
            nid: room_id for entry in entries for nid, room_id in (_room_of(entry),) if nid is not None
        } | await self._rooms_of(users)
        await self._load(rooms, draft.position)
        for entry in entries:
            await self._add(draft, entry)
            self.interest.move_on(entry)
            draft.position = entry.position
            if draft.is_full(self.limits):
                return

    async def extend_from_store(self, draft: TransactionDraft, upto: int) -> None:
        """As `extend`, where entries are gone: with what there is still.

        Of what was pruned, events, messages to devices and whose device lists changed are kept elsewhere. Receipts
        that are older are not told any more.
        """
        async with self._store.read() as tx:
            entries = {entry.position: entry for entry in await tx.log.remaining(draft.position, upto)}
            messages = await tx.to_device.between(draft.position, upto, self.limits.events)
        if len(messages) == self.limits.events:
            upto = max(messages)
        for position, devices in messages.items():
            entries.setdefault(position, ToDeviceEntry(position, devices))
        await self.extend(draft, [entries[position] for position in sorted(entries) if position <= upto])
        if not draft.is_full(self.limits):
            draft.position = upto

    async def add_typing(self, draft: TransactionDraft, rooms: dict[str, list[str]]) -> None:
        """Add who is typing, in those of the rooms that are of interest."""
        async with self._store.read() as tx:
            nids = await tx.rooms.room_nids(rooms)
            await self.interest.load(tx, {nid: room_id for room_id, nid in nids.items()}, draft.position)
        for room_id, users in rooms.items():
            if room_id in nids and self.interest.room(nids[room_id]) is not None:
                draft.extra.append({"type": "m.typing", "room_id": room_id, "content": {"user_ids": users}})

    async def add_presence(self, draft: TransactionDraft, presence: dict[str, dict[str, Any]]) -> None:
        """Add the presence of those of the users who share a room with the service."""
        await self._load(await self._rooms_of(presence), draft.position)
        for user_id, content in presence.items():
            if await self._shares(user_id):
                draft.extra.append({"type": "m.presence", "sender": user_id, "content": content})

    async def finish(self, draft: TransactionDraft) -> bytes | None:
        """The body of the transaction; None if there is nothing to tell."""
        if draft.is_empty:
            return None
        parts: dict[str, bytes] = {}
        ephemeral = [*_receipts(draft.receipts.values()), *draft.extra]
        if ephemeral:
            parts |= dict.fromkeys(_EPHEMERAL, orjson.dumps(ephemeral))
        async with self._store.read() as tx:
            if draft.devices and (messages := await self._messages(tx, draft)):
                parts |= dict.fromkeys(_TO_DEVICE, b"[" + b",".join(messages) + b"]")
            if self._service.encrypts:
                parts |= await _keys(tx, draft)
        if draft.changed or draft.left:
            lists = {"changed": list(draft.changed), "left": list(draft.left)}
            parts |= dict.fromkeys(_LISTS, orjson.dumps(lists))
        if not draft.events and not parts:
            return None
        body = [b'{"events":[', b",".join(draft.events), b"]"]
        for name, part in parts.items():
            body += [b",", orjson.dumps(name), b":", part]
        return b"".join([*body, b"}"])

    # What single entries mean

    async def _add(self, draft: TransactionDraft, entry: LogEntry) -> None:
        """Add what an entry means. One that cannot be told must not keep those behind it from being told."""
        try:
            if isinstance(entry, EventEntry):
                await self._add_event(draft, entry.stored)
            elif isinstance(entry, ReceiptEntry):
                self._add_receipt(draft, entry.receipt)
            elif isinstance(entry, ToDeviceEntry | KeyCountsEntry):
                self._add_devices(draft, entry)
            elif isinstance(entry, StateEntry):
                await self._note_correction(draft, entry)
            elif isinstance(entry, DeviceListEntry):
                if self._service.encrypts and entry.reader is None and await self._shares(entry.user_id):
                    draft.changed[entry.user_id] = None
                    draft.left.pop(entry.user_id, None)
        except StoreUnavailable:
            raise
        except Exception as error:
            _log.error("appservice_entry_left_out", id=self._service.id, position=entry.position, exc_info=error)

    def _add_devices(self, draft: TransactionDraft, entry: ToDeviceEntry | KeyCountsEntry) -> None:
        is_message = isinstance(entry, ToDeviceEntry)
        if not (self._hears_devices if is_message else self._service.encrypts):
            return
        for device in entry.devices:
            if self.interest.covers(device[0]):
                draft.counted[device] = None
                if is_message:
                    draft.devices[device] = None
                    draft.messages += 1

    async def _add_event(self, draft: TransactionDraft, stored: StoredEvent) -> None:
        if stored.order is None or (stored.flags and stored.flags & HIDDEN) or not self.interest.wants(stored):
            return
        rendered = await self._rendered(stored)
        draft.events.append(rendered)
        draft.size += len(rendered)
        if self._service.encrypts and stored.event.type == "m.room.member":
            await self._note_move(draft, stored)

    async def _rendered(self, stored: StoredEvent) -> bytes:
        """The client form, with its age and with what the service's user sees of other events."""
        event = stored.event
        extra: dict[str, Any] = {"age": max(self._clock.now_ms() - event.origin_server_ts, 0)}
        if has_quotes(stored):
            observer = self.interest.observer(stored)
            if observer is None:
                extra |= unfiltered_quotes(stored)
            else:
                extra |= (await self._histories.fetch(stored.room_nid, observer, self._store)).quotes(stored)
        if (
            event.type == "m.room.member"
            and event.membership == "invite"
            and self.interest.covers(event.state_key or "")
        ):
            async with self._store.read() as tx:
                state = (await tx.rooms.current_state([stored.room_nid], types=STRIPPED_TYPES))[stored.room_nid]
                inviter = (await tx.rooms.member_events({stored.room_nid: [event.sender]})).get(stored.room_nid, ())
            extra["invite_room_state"] = [stripped(item) for item in (*state, *inviter)]
        return for_recipient(joined_all_along([stored])[0], extra)

    def _add_receipt(self, draft: TransactionDraft, receipt: ReceiptChanged) -> None:
        if not self._service.receive_ephemeral:
            return
        if receipt.is_private:
            wanted = self.interest.covers(receipt.user_id)
        else:
            wanted = self.interest.room(receipt.room_nid) is not None
        if wanted:
            draft.receipts[(receipt.room_id, receipt.user_id, receipt.type, receipt.thread_id)] = receipt

    async def _note_move(self, draft: TransactionDraft, stored: StoredEvent) -> None:
        """Somebody came to a room of the service or left it: keys to ask for, or to forget."""
        before = None if stored.replaces is None else stored.replaces.membership
        is_joined = stored.event.membership == "join"
        if is_joined != (before == "join"):
            await self._note_moved(draft, stored.event.state_key or "", stored.room_nid, is_joined=is_joined)

    async def _note_correction(self, draft: TransactionDraft, entry: StateEntry) -> None:
        """State resolution moved people without an event. It does not say from where: one look too many is no harm."""
        room_nid = entry.correction.room_nid
        if not self._service.encrypts or self.interest.room(room_nid) is None:
            return
        for user_id, member in entry.subjects.items():
            is_joined = member is not None and member.event.membership == "join"
            await self._note_moved(draft, user_id, room_nid, is_joined=is_joined)

    async def _note_moved(self, draft: TransactionDraft, user_id: str, room_nid: int, *, is_joined: bool) -> None:
        if self.interest.covers(user_id):
            return
        if is_joined:
            draft.changed[user_id] = None
            draft.left.pop(user_id, None)
        elif not await self._shares(user_id, besides=room_nid):
            draft.left[user_id] = None
            draft.changed.pop(user_id, None)

    @property
    def _hears_devices(self) -> bool:
        return self._service.receive_ephemeral or self._service.encrypts

    # Who shares a room with the service

    def _telling_of_devices(self, entries: Iterable[LogEntry]) -> set[str]:
        if not self._service.encrypts:
            return set()
        users = {entry.user_id for entry in entries if isinstance(entry, DeviceListEntry) and entry.reader is None}
        for entry in entries:
            if isinstance(entry, EventEntry) and entry.stored.event.membership in ("leave", "ban"):
                users.add(entry.stored.event.state_key or "")
            elif isinstance(entry, StateEntry):
                users.update(entry.subjects)
        return {user_id for user_id in users if not self.interest.covers(user_id)}

    async def _load(self, rooms: Mapping[int, str], position: int) -> None:
        if not self.interest.knows(rooms):
            async with self._store.read() as tx:
                await self.interest.load(tx, rooms, position)

    async def _rooms_of(self, users: Collection[str]) -> dict[int, str]:
        found: dict[int, str] = {}
        for user_id in users:
            joined = await self._joined(user_id)
            if len(joined) <= _MOST_ROOMS:
                found |= joined
        return found

    async def _joined(self, user_id: str) -> dict[int, str]:
        rooms = await self._lists.of(user_id)
        return {at.room_nid: room_id for room_id, at in rooms.items() if at.membership == "join"}

    async def _shares(self, user_id: str, besides: int | None = None) -> bool:
        """Whether a user is in a room of the service; its rooms must be loaded."""
        if self.interest.covers(user_id):
            return True
        joined = await self._joined(user_id)
        if len(joined) > _MOST_ROOMS:
            return True
        return any(self.interest.room(room_nid) is not None for room_nid in joined if room_nid != besides)

    async def _messages(self, tx: Transaction, draft: TransactionDraft) -> list[bytes]:
        """Messages to devices of the draft's stretch of the log, in order, with whom they are for."""
        found: list[tuple[int, bytes]] = []
        for device in draft.devices:
            named = b'"to_user_id":' + orjson.dumps(device[0]) + b',"to_device_id":' + orjson.dumps(device[1]) + b"}"
            for message in await tx.to_device.waiting(device, draft.low, draft.position, draft.messages):
                opened = message.json.rstrip()[:-1].rstrip()
                found.append((message.position, opened + (b"" if opened.endswith(b"{") else b",") + named))
        return [json for _, json in sorted(found)]


def _room_of(entry: LogEntry) -> tuple[int | None, str]:
    if isinstance(entry, EventEntry):
        return entry.stored.room_nid, entry.room_id
    if isinstance(entry, ReceiptEntry):
        return entry.receipt.room_nid, entry.receipt.room_id
    if isinstance(entry, StateEntry):
        return entry.correction.room_nid, entry.room_id
    return None, ""


def _receipts(receipts: Iterable[ReceiptChanged]) -> list[dict[str, Any]]:
    """One m.receipt event for each room.  spec: client-server-api#mreceipt"""
    rooms: dict[str, dict[str, Any]] = {}
    for receipt in receipts:
        content = rooms.setdefault(receipt.room_id, {})
        shown: dict[str, Any] = {"ts": receipt.ts}
        if receipt.thread_id is not None:
            shown["thread_id"] = receipt.thread_id
        content.setdefault(receipt.event_id, {}).setdefault(receipt.type, {})[receipt.user_id] = shown
    return [{"type": "m.receipt", "room_id": room_id, "content": content} for room_id, content in rooms.items()]


async def _keys(tx: Transaction, draft: TransactionDraft) -> dict[str, bytes]:
    """What is left of the keys of the devices concerned."""
    counts: dict[str, dict[str, Any]] = {}
    fallback: dict[str, dict[str, Any]] = {}
    for user_id, device_id in draft.counted:
        known = await tx.keys.counts((user_id, device_id))
        # All algorithms that were ever used are named; a count of zero is what matters most.
        counts.setdefault(user_id, {})[device_id] = {"signed_curve25519": 0, **known.one_time}
        fallback.setdefault(user_id, {})[device_id] = list(known.unused_fallback)
    if not counts:
        return {}
    names = (*_COUNTS, _COUNTS_AS_ONCE_MISSPELT)
    return dict.fromkeys(names, orjson.dumps(counts)) | dict.fromkeys(_FALLBACK, orjson.dumps(fallback))
