"""What the handlers of the Client-Server API work with. Built by `homeserver.boot`, and only there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from homeserver.core.versions import DEFAULT_ROOM_VERSION
from homeserver.ports.ratelimits import RateLimits
from homeserver.services.accounts.container import AccountServices
from homeserver.services.administration.container import AdministrationServices
from homeserver.services.appservices.queries import AppServiceQueries
from homeserver.services.e2e.container import E2eServices
from homeserver.services.personal.container import PersonalServices
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.reports import Reports
from homeserver.services.rooms import RoomServices
from homeserver.services.rooms.search import Search
from homeserver.services.support.messages import VisitorMessages
from homeserver.services.sync.peek import Peeks
from homeserver.services.sync.service import SyncService
from homeserver.services.sync.stream import Sockets

# COMPAT(clients): stable in released versions or never to be, but asked for by these names. Each has a test, which
# tests/architecture/test_versions.py names.
UNSTABLE_FEATURES = (
    "fi.mau.msc2246.stable",  # uploads whose content comes later
    "org.matrix.e2e_cross_signing",
    "org.matrix.msc2285.stable",  # private read receipts
    "fi.mau.msc2659.stable",  # pings of application services
    "org.matrix.msc3440.stable",  # threads
    "org.matrix.msc3771",  # receipts of threads
    "org.matrix.msc3773",  # unread counts of threads
    "org.matrix.msc3827.stable",  # room types in the directory
    "org.matrix.msc3881",  # pushers of other devices, switched on and off
    "org.matrix.msc3916.stable",  # media for whoever is logged in
    "org.matrix.msc3981",  # recursive relations
    "org.matrix.msc4380.stable",  # who wants no invites
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    "uk.tcpip.msc4133",  # custom profile fields
    "uk.tcpip.msc4133.stable",
    "uk.timedout.msc4323.stable",  # locking and suspending
)


@dataclass(frozen=True, slots=True)
class PublicInfo:
    """What the server says about itself to everybody."""

    server_name: str
    base_url: str
    support_contacts: tuple[dict[str, str], ...] = ()
    support_page: str | None = None
    unstable_features: tuple[str, ...] = UNSTABLE_FEATURES
    encrypt_by_default: str = "off"
    default_room_version: str = DEFAULT_ROOM_VERSION.id
    can_change_password: bool = True
    can_set_displayname: bool = True
    can_set_avatar_url: bool = True
    can_change_3pids: bool = False
    can_get_login_token: bool = False
    visitor_message_bytes: int = 8_192
    extra_well_known: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClientServices:
    """The services of the Client-Server API; handlers get it as `api`."""

    info: PublicInfo
    accounts: AccountServices
    appservices: AppServiceQueries
    administration: AdministrationServices
    e2e: E2eServices
    personal: PersonalServices
    search: Search
    rooms: RoomServices
    sync: SyncService
    peeks: Peeks
    sockets: Sockets
    ignored: IgnoredUsers
    reports: Reports
    limits: RateLimits
    visitor_messages: VisitorMessages
