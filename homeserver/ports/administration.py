"""What administrators look through and decide about the server as a whole, and the record of what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from homeserver.ports.accounts import User


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an administrator did."""

    ts: int
    admin: str
    action: str
    target: str
    """About whom or what: a user id, a room id, a token, a report, a media id."""
    detail: str
    """A JSON object; never a secret."""


@dataclass(frozen=True, slots=True)
class ActSearch:
    """Which acts; None does not restrict."""

    admin: str | None = None
    action: str | None = None
    target: str | None = None
    kind: str = ""
    """The beginning of the action's name, up to its dot: `room.`."""
    admin_term: str = ""
    target_term: str = ""
    """Parts, in small letters."""
    from_ms: int = 0
    until_ms: int | None = None
    """Done from one time (included) until another (not included)."""


@dataclass(frozen=True, slots=True)
class UserSearch:
    """Which accounts, and in which order."""

    name: str = ""
    """Part of the user id, the display name or an e-mail address, folded."""
    user_id: str = ""
    """Part of the user id."""
    guests: bool = True
    deactivated: bool = False
    locked: bool = False
    """Whether guests, closed and locked accounts are among them."""
    admins: bool | None = None
    """Administrators only (True), or all others (False)."""
    visitors: bool = False
    suspended: bool = False
    """Only visitors of support chats; only those who are suspended or locked."""
    order_by: str = "name"
    """A key of `USER_ORDERS`."""
    descending: bool = False


USER_ORDERS = (
    "name",
    "displayname",
    "avatar_url",
    "is_guest",
    "admin",
    "deactivated",
    "locked",
    "creation_ts",
    "last_seen_ts",
)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account as a list shows it."""

    user: User
    displayname: bytes | None
    avatar_url: bytes | None
    """JSON."""
    seen_ms: int | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """What belongs to an account: devices, and uploads with their length in bytes."""

    devices: int = 0
    media: int = 0
    media_bytes: int = 0


UPLOADER_ORDERS = ("user_id", "displayname", "media_length", "media_count")


@dataclass(frozen=True, slots=True)
class UploaderSearch:
    """Which uploads count, of which accounts, and in which order."""

    name: str = ""
    """Part of the user id or the display name, folded."""
    from_ms: int = 0
    until_ms: int | None = None
    """Uploaded from one time (included) until another (not included)."""
    order_by: str = "user_id"
    """A key of `UPLOADER_ORDERS`."""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class UploaderRow:
    """Who has uploaded something, and how much."""

    user_id: str
    displayname: bytes | None
    """JSON."""
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class RoomRow:
    """What the database knows of a room without reading its events."""

    room_nid: int
    room_id: str
    room_version: str
    creator: str
    is_public: bool
    is_blocked: bool
    joined_members: int
    joined_local_members: int
    state_events: int
    events: int
    bytes: int
    """As far as `AdministrationRepo.growth` was added up."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What a stretch of the log has brought into rooms."""

    low: int
    high: int
    """Of the positions `low < position <= high`."""
    rooms: Sequence[tuple[int, int, int]]
    """(room, events, bytes)"""


@dataclass(frozen=True, slots=True)
class RoomBlock:
    """Who blocked a room, and when."""

    room_id: str
    blocked_by: str
    ts: int


class AdministrationRepo(Protocol):
    """The administrators' views, the blocked rooms and the record of acts."""

    async def record(self, act: Act) -> None:
        """Store an act."""
        ...

    async def acts(self, search: ActSearch, before: int | None, limit: int) -> list[tuple[int, Act]]:
        """(id, act), the newest first, those with an id below `before`."""
        ...

    async def prune_acts(self, before_ms: int, keep: int, limit: int) -> int:
        """Forget at most `limit` acts that are older than a time, or not among the newest `keep`; how many."""
        ...

    async def accounts(self, search: UserSearch, offset: int, limit: int) -> list[AccountRow]:
        """A page of accounts."""
        ...

    async def count_accounts(self, search: UserSearch) -> int:
        """How many accounts a search finds."""
        ...

    async def account(self, user_id: str) -> AccountRow | None:
        """One account."""
        ...

    async def holdings(self, user_ids: Sequence[str]) -> dict[str, Holdings]:
        """What belongs to each of these accounts; who has nothing is not there."""
        ...

    async def uploaders(self, search: UploaderSearch, offset: int, limit: int) -> tuple[list[UploaderRow], int]:
        """A page of who has uploaded something, and how many there are altogether."""
        ...

    async def rooms(self, limit: int) -> list[RoomRow]:
        """Rooms, the newest first."""
        ...

    async def room(self, room_id: str) -> RoomRow | None:
        """One room."""
        ...

    async def growth(self, limit: int) -> Growth:
        """What the next `limit` positions of the log that are not added up yet have brought; empty at its end."""
        ...

    async def grow(self, growth: Growth) -> bool:
        """Add it up; False if somebody else has meanwhile."""
        ...

    async def joined_local_devices(self, room_nid: int) -> int:
        """How many devices the joined local users have."""
        ...

    async def present_local_users(self, room_nid: int, limit: int) -> list[str]:
        """Local users who are joined or invited, or knock."""
        ...

    async def block(self, block: RoomBlock) -> bool:
        """Block a room; False if it is already."""
        ...

    async def unblock(self, room_id: str) -> bool:
        """Lift a block; False if there is none."""
        ...

    async def blocked(self, room_id: str) -> RoomBlock | None:
        """The block of a room."""
        ...
