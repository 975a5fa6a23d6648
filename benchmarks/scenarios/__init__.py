"""The scenarios: what each does, what it needs, and which figures it yields."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.measure import Measurement
from benchmarks.scenarios import accounts, encryption, fanout, life, media, media_bounds, rooms, sending, syncing
from benchmarks.world import Need, World


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario; it may yield several measurements."""

    run: Callable[[World], Awaitable[list[Measurement]]]
    needs: tuple[Need, ...] = ()
    streams: bool = False
    """Only for servers that stream over a WebSocket (`Homeserver.streams`)."""


# In the order they run: what must find empty caches comes first, what must find full ones last.
SCENARIOS: dict[str, Scenario] = {
    "history": Scenario(rooms.history, (Need.HISTORY,)),
    "memory-idle": Scenario(life.memory_idle),
    "send-rooms": Scenario(sending.many_rooms, (Need.SENDERS,)),
    "send-room": Scenario(sending.one_room, (Need.CLUB,)),
    "receipts": Scenario(sending.receipts, (Need.CLUB,)),
    "typing": Scenario(sending.typing, (Need.CLUB,)),
    "fanout": Scenario(fanout.long_poll, (Need.LISTENERS,)),
    "fanout-ws": Scenario(fanout.websocket, (Need.LISTENERS,), streams=True),
    "fanout-ws-fast": Scenario(fanout.websocket_fast, (Need.LISTENERS,), streams=True),
    "sync-initial": Scenario(syncing.initial, (Need.SHELVES,)),
    "sync-nothing": Scenario(syncing.nothing_new, (Need.SENDERS,)),
    "join": Scenario(rooms.join, (Need.HALL,)),
    "join-cold": Scenario(rooms.join_cold, (Need.HALL,)),
    "join-one-by-one": Scenario(rooms.join_one_by_one, (Need.HALL,)),
    "joined-members": Scenario(rooms.joined_members, (Need.HALL,)),
    "members": Scenario(rooms.members, (Need.HALL,)),
    "create-room": Scenario(rooms.create, (Need.SENDERS,)),
    "login": Scenario(accounts.login),
    "register": Scenario(accounts.register),
    "keys": Scenario(encryption.keys, (Need.SENDERS,)),
    "device-lists": Scenario(fanout.device_lists, (Need.LISTENERS, Need.HALL)),
    "media": Scenario(media.transfer, (Need.SENDERS,)),
    "thumbnails": Scenario(media.thumbnails, (Need.SENDERS,)),
    "media-bounds": Scenario(media_bounds.bounds, (Need.SENDERS,)),
    "media-pauses": Scenario(media_bounds.pauses, (Need.SENDERS,)),
    "memory-loaded": Scenario(life.memory_loaded),
    "cold-start": Scenario(life.cold_start),
}
