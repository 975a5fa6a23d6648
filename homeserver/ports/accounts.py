"""Users, devices, sessions and what belongs to them, as the store knows it.

Records are immutable snapshots of rows. Secrets never appear here in the clear: tokens are digests, passwords
Argon2id hashes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class User:
    """A local account."""

    user_id: str
    created_ms: int
    password_hash: str | None = None
    appservice_id: str | None = None
    is_admin: bool = False
    is_guest: bool = False
    locked: bool = False
    suspended: bool = False
    deactivated: bool = False
    erased: bool = False
    site_id: str | None = None
    """The website whose support chat this account was made for; such a visitor is a guest as well."""


@dataclass(frozen=True, slots=True)
class UserFlags:
    """A change of a user's flags; None leaves a flag as it is."""

    is_admin: bool | None = None
    locked: bool | None = None
    suspended: bool | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a local user.  spec: client-server-api#get_matrixclientv3devices"""

    user_id: str
    device_id: str
    created_ms: int
    display_name: str | None = None
    seen_ms: int | None = None
    seen_ip: str | None = None
    seen_agent: str | None = None
    """What its client calls itself in HTTP."""


@dataclass(frozen=True, slots=True)
class Session:
    """What an access token stands for: one login of one device. A device has at most one session.

    Each refresh starts a new generation of tokens. `confirmed` is the newest generation the client has used;
    tokens of older generations are dead, newer ones wait for their first use. Several of those can exist when
    answers were lost: the first to be used ends the others.
    """

    session_id: str
    user_id: str
    device_id: str
    refreshable: bool
    confirmed: int = 0
    issued: int = 0


@dataclass(frozen=True, slots=True)
class InteractiveSession:
    """A user-interactive authentication in progress.  spec: client-server-api#user-interactive-authentication-api"""

    digest: bytes
    operation: str
    user_id: str | None
    body_mac: bytes | None
    completed: Mapping[str, str]
    used: bool
    expires_ms: int
    body: bytes | None = None  # sealed with a key that nobody has who does not know the session's id


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """A token that lets people register.  spec: client-server-api#token-authenticated-registration"""

    token: str
    uses_allowed: int | None = None
    pending: int = 0
    completed: int = 0
    expires_ms: int | None = None

    def usable(self, now_ms: int) -> bool:
        """True if one more registration may begin with the token."""
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return False
        return self.uses_allowed is None or self.pending + self.completed < self.uses_allowed


@dataclass(frozen=True, slots=True)
class AccountDataChanged:
    """Account data of one type as it is now. `room_id` None is global."""

    user_id: str
    room_id: str | None
    type: str
    content: bytes  # JSON object


class UserRepo(Protocol):
    """Local accounts."""

    async def create(self, user: User) -> None:
        """Insert the account. Raises UniqueViolation (at the latest when the transaction ends) if the id is taken."""
        ...

    async def claim_first(self) -> bool:
        """True for exactly one committed caller ever: the one who makes the server's first account."""
        ...

    async def any(self) -> bool:
        """True if the first account has been made."""
        ...

    async def get(self, user_id: str) -> User | None:
        """The account, deactivated ones included."""
        ...

    async def lock(self, user_id: str) -> User | None:
        """The account, kept from other writers until the transaction ends."""
        ...

    async def page(self, *, after: str = "", limit: int = 100) -> list[User]:
        """Accounts in the order of their ids, beginning behind `after`."""
        ...

    async def set_password(self, user_id: str, password_hash: str | None) -> None:
        """Replace the password; None removes it."""
        ...

    async def upgrade_guest(self, user_id: str, password_hash: str | None) -> None:
        """Make a guest, or a visitor of a support chat, an ordinary user."""
        ...

    async def set_flags(self, user_id: str, flags: UserFlags) -> None:
        """Change some flags."""
        ...

    async def deactivate(self, user_id: str, *, erase: bool) -> None:
        """Mark the account as deactivated, for good; its name stays taken.

        The password stays unless erased, so that its owner can be told what happened.
        """
        ...

    async def erase_events(self, user_id: str, order: int) -> None:
        """Remember that the user's events in all their rooms are redacted for those who were not there by `order`."""
        ...

    async def still_in_rooms(self, limit: int) -> list[str]:
        """Deactivated users who are joined or invited to a room, or knocking."""
        ...

    async def announce(self) -> None:
        """Let servers that run on this database know that accounts or sessions were changed beside them."""
        ...

    async def announced(self) -> int:
        """How often that was announced."""
        ...


class DeviceRepo(Protocol):
    """Devices of local users."""

    async def of_user(self, user_id: str) -> list[Device]:
        """All devices of the user, oldest first."""
        ...

    async def get(self, user_id: str, device_id: str) -> Device | None:
        """One device."""
        ...

    async def count(self, user_id: str) -> int:
        """How many devices the user has."""
        ...

    async def create(self, device: Device) -> None:
        """Insert a device."""
        ...

    async def rename(self, user_id: str, device_id: str, display_name: str | None) -> bool:
        """Set the display name; False if there is no such device."""
        ...

    async def delete(self, user_id: str, device_ids: Collection[str] | None) -> None:
        """Delete devices, all of the user's if `device_ids` is None."""
        ...

    async def seen(self, devices_seen: Sequence[Device]) -> None:
        """Store `seen_ms`, `seen_ip` and, where there is one, `seen_agent` of many devices at once."""
        ...


class SessionRepo(Protocol):
    """Sessions, refresh tokens and login tokens."""

    async def create(self, session: Session) -> None:
        """Insert a session."""
        ...

    async def get(self, session_id: str) -> tuple[Session, User] | None:
        """The session and its user, in one statement."""
        ...

    async def delete(
        self, user_id: str, *, device_ids: Collection[str] | None = None, but: str | None = None
    ) -> list[Session]:
        """Delete the user's sessions (of these devices; all but session `but`) with their refresh tokens."""
        ...

    async def existing(self, session_ids: Collection[str]) -> set[str]:
        """Which of these sessions exist, in one statement."""
        ...

    async def lock(self, session_id: str) -> Session | None:
        """The session, kept from other writers until the transaction ends."""
        ...

    async def confirm(self, session_id: str, generation: int) -> bool:
        """Record that the client uses this generation, and forget those given out beside it.

        False, and nothing changes, if the generation is itself one of those forgotten.
        """
        ...

    async def issue(self, session_id: str, generation: int, digest: bytes, *, expires_ms: int, keep: int) -> None:
        """Record a new refresh token and its generation; forget those more than `keep` generations older."""
        ...

    async def by_refresh_token(self, digest: bytes, now_ms: int) -> tuple[str, int] | None:
        """(session id, generation) of a refresh token that has not expired."""
        ...

    async def add_login_token(self, digest: bytes, user_id: str, expires_ms: int, now_ms: int) -> None:
        """Store a login token and forget expired ones."""
        ...

    async def take_login_token(self, digest: bytes, now_ms: int) -> str | None:
        """Use a login token up; returns its user. Exactly one caller gets it."""
        ...

    async def prune(self, now_ms: int, limit: int) -> int:
        """Forget at most `limit` each of expired login tokens and expired refresh tokens, and the sessions that
        these were the last of; devices stay. Returns how many rows are gone, at most `limit`."""
        ...


class InteractiveRepo(Protocol):
    """User-interactive authentication sessions."""

    async def create(self, session: InteractiveSession) -> None:
        """Insert a session."""
        ...

    async def get(self, digest: bytes) -> InteractiveSession | None:
        """The session, expired and used ones included."""
        ...

    async def save(
        self, digest: bytes, completed: Mapping[str, str], body_mac: bytes | None, body: bytes | None
    ) -> bool:
        """Store progress of a session that has not been used; False if it has, or is gone."""
        ...

    async def claim(self, digest: bytes) -> bool:
        """Use the session up. Exactly one caller gets True."""
        ...

    async def purge(self, now_ms: int, keep: int, *, limit: int) -> list[InteractiveSession]:
        """Delete expired sessions and all but the newest `keep`, at most `limit`, the oldest first; returns them."""
        ...


class RegistrationTokenRepo(Protocol):
    """Registration tokens. Counts change atomically: a token never makes more accounts than allowed."""

    async def get(self, token: str) -> RegistrationToken | None:
        """The token."""
        ...

    async def all(self) -> list[RegistrationToken]:
        """All tokens."""
        ...

    async def put(self, token: RegistrationToken) -> None:
        """Insert the token, or replace its limits (counts stay)."""
        ...

    async def delete(self, token: str) -> bool:
        """Delete it; False if unknown."""
        ...

    async def reserve(self, token: str, now_ms: int) -> bool:
        """Count a registration in progress; False if the token is unknown, expired or used up."""
        ...

    async def release(self, token: str, *, completed: bool) -> None:
        """End a reservation, with an account made or without."""
        ...


class ProfileRepo(Protocol):
    """Profiles of local users: field name → JSON value."""

    async def get(self, user_id: str) -> dict[str, bytes]:
        """All fields."""
        ...

    async def get_many(self, user_ids: Collection[str], names: Collection[str]) -> dict[str, dict[str, bytes]]:
        """Some fields of many users, in one statement."""
        ...

    async def put(self, user_id: str, name: str, value: bytes) -> None:
        """Set a field."""
        ...

    async def delete(self, user_id: str, name: str | None) -> None:
        """Remove a field, or all of them."""
        ...


class AccountDataRepo(Protocol):
    """Account data. The empty room id stands for global account data in the store only."""

    async def get(self, user_id: str, room_id: str | None, type_: str) -> bytes | None:
        """Content of one type."""
        ...

    async def after(self, user_id: str, position: int) -> list[AccountDataChanged]:
        """Everything of the user that changed after a log position (0: everything), in order."""
        ...

    async def usage(self, user_id: str) -> tuple[int, int]:
        """How many items the user has, and how many bytes of content together."""
        ...

    async def put(self, data: AccountDataChanged, position: int) -> None:
        """Set content at a log position."""
        ...

    async def delete_all(self, user_id: str) -> None:
        """Forget all account data of the user."""
        ...


class FilterRepo(Protocol):
    """Stored filters."""

    async def get(self, user_id: str, filter_id: int) -> bytes | None:
        """The definition."""
        ...

    async def find(self, user_id: str, digest: bytes) -> int | None:
        """Id of an equal filter."""
        ...

    async def add(self, user_id: str, digest: bytes, definition: bytes) -> int:
        """Store a filter; returns its id, counted from 0 per user."""
        ...

    async def size(self, user_id: str) -> int:
        """Bytes of all the user's filters."""
        ...
