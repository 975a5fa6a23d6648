"""Rooms: the one writer of events, what users do in rooms, and what they may read. See docs/subsystems/rooms.md."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.core.build import Signer
from homeserver.core.versions import DEFAULT_ROOM_VERSION, RoomVersion
from homeserver.ports.appservices import AppServices, Makers
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.store import Store
from homeserver.services.commit import Committer
from homeserver.services.log import Log
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.cache import EventCache
from homeserver.services.rooms.create import EncryptByDefault, RoomCreation
from homeserver.services.rooms.decide import Workshop
from homeserver.services.rooms.directory import Directory
from homeserver.services.rooms.guests import GuestAccess
from homeserver.services.rooms.heads import HeadCache
from homeserver.services.rooms.hierarchy import Hierarchy
from homeserver.services.rooms.histories import HistoryCache
from homeserver.services.rooms.history import RoomHistory
from homeserver.services.rooms.invites import InvitePermission
from homeserver.services.rooms.membership import Memberships
from homeserver.services.rooms.profiles import MemberProfiles
from homeserver.services.rooms.relations import Relations
from homeserver.services.rooms.sending import Sending
from homeserver.services.rooms.state import StateReads
from homeserver.services.rooms.upgrade import RoomUpgrades
from homeserver.services.rooms.writer import RoomMemory, RoomWriter


@dataclass(frozen=True, slots=True)
class RoomsConfig:
    """What the composition root knows: the signing identity, time, randomness, defaults."""

    signer: Signer
    clock: Clock
    entropy: Entropy
    default_version: RoomVersion = DEFAULT_ROOM_VERSION
    event_cache_bytes: int = 32 * 1024 * 1024
    head_cache_bytes: int = 32 * 1024 * 1024
    messages_page: int = 1_000
    context_events: int = 100
    aliases_per_user: int = 50
    hierarchy_page: int = 50
    hierarchy_walk: int = 2_000
    encrypt_by_default: EncryptByDefault = "off"
    appservices: AppServices | None = None
    makers: Makers | None = None


@dataclass(frozen=True, slots=True)
class RoomServices:
    """The rooms services, for roles to pick from."""

    memory: RoomMemory
    writer: RoomWriter
    creation: RoomCreation
    sending: Sending
    memberships: Memberships
    aliases: Aliases
    access: RoomAccess
    state: StateReads
    history: RoomHistory
    relations: Relations
    directory: Directory
    hierarchy: Hierarchy
    upgrades: RoomUpgrades


def build_rooms(
    store: Store, log: Log, committer: Committer, profiles: MemberProfiles, config: RoomsConfig
) -> RoomServices:
    """Wire the rooms services and let their caches follow the log."""
    memory = RoomMemory(
        store,
        HeadCache(max_bytes=config.head_cache_bytes),
        EventCache(max_bytes=config.event_cache_bytes),
        HistoryCache(),
    )
    store.remember(memory.events)
    log.listen(memory.follow, memory.forget)
    committer.on_append(memory.heads.appended)
    server_name = config.signer.server_name
    writer = RoomWriter(memory, committer, Workshop(config.signer, config.clock, config.entropy))
    access = RoomAccess(memory, log)
    aliases = Aliases(
        memory,
        access,
        server_name,
        max_per_user=config.aliases_per_user,
        appservices=config.appservices,
        makers=config.makers,
    )
    relations = Relations(memory, access)
    invites = InvitePermission(store, config.makers)
    guests = GuestAccess(memory, writer)
    memberships = Memberships(writer, committer, memory, profiles, aliases, invites, guests, server_name)
    return RoomServices(
        memory=memory,
        writer=writer,
        creation=RoomCreation(
            writer,
            profiles,
            invites,
            server_name,
            config.default_version,
            config.encrypt_by_default,
            max_aliases=config.aliases_per_user,
        ),
        sending=Sending(writer, aliases, memberships, guests),
        memberships=memberships,
        aliases=aliases,
        access=access,
        state=StateReads(memory, access),
        history=RoomHistory(memory, access, max_page=config.messages_page, max_context=config.context_events),
        relations=relations,
        directory=Directory(memory, access),
        hierarchy=Hierarchy(memory, max_page=config.hierarchy_page, max_walk=config.hierarchy_walk),
        upgrades=RoomUpgrades(memory, writer, access, profiles),
    )
