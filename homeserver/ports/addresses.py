"""E-mail addresses of accounts, and proofs that somebody reads the letters that go there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

EMAIL = "email"

Purpose = Literal["add", "register", "welcome", "password"]
"""What a check of an address is good for, and nothing else: adding it to the account that asked, registering with it,
being added to a new account once the link is followed, or setting a new password."""


@dataclass(frozen=True, slots=True)
class UserAddress:
    """An address of an account. An address belongs to one account at most."""

    medium: str
    address: str
    user_id: str
    validated_ms: int
    added_ms: int


@dataclass(frozen=True, slots=True)
class AddressCheck:
    """A letter that was asked for, and whether its link was followed."""

    sid: str
    key: bytes
    """A digest of the client's secret and of what it asked for: one such check is under way at a time."""
    purpose: Purpose
    medium: str
    address: str
    user_id: str | None
    """Whose address it becomes, if that is known, or whose it was when a new password was asked for."""
    send_attempt: int
    lang: str
    expires_ms: int
    validated_ms: int | None = None


class AddressRepo(Protocol):
    """Addresses and checks. Every "exactly one" holds between processes."""

    async def of_user(self, user_id: str) -> list[UserAddress]:
        """The user's addresses, oldest first."""
        ...

    async def owner(self, medium: str, address: str) -> UserAddress | None:
        """Whose address it is."""
        ...

    async def add(self, address: UserAddress) -> bool:
        """Give the address to its user; False if it is somebody's."""
        ...

    async def remove(self, user_id: str, medium: str, address: str) -> bool:
        """Take the address away; False if it is not the user's."""
        ...

    async def forget_user(self, user_id: str) -> None:
        """Take all addresses and checks of the user away."""
        ...

    async def forget_checks(self, user_id: str, purpose: Purpose) -> None:
        """End checks of the user: what they prove allows nothing any more."""
        ...

    async def begin(self, check: AddressCheck, now_ms: int) -> None:
        """Insert a check, in place of an expired one of its key. Raises UniqueViolation if one is under way."""
        ...

    async def by_key(self, key: bytes, now_ms: int) -> AddressCheck | None:
        """The check under way with this key."""
        ...

    async def ask_again(self, key: bytes, send_attempt: int) -> bool:
        """Record a further letter; False if that one, or a later one, was asked for before."""
        ...

    async def check(self, sid: str, now_ms: int) -> AddressCheck | None:
        """The check under way with this id."""
        ...

    async def confirm(self, sid: str, now_ms: int) -> None:
        """The link was followed."""
        ...

    async def take(self, sid: str, now_ms: int) -> AddressCheck | None:
        """Use up a check whose link was followed. Exactly one caller gets it."""
        ...

    async def prune(self, now_ms: int, keep: int, limit: int) -> int:
        """Forget at most `limit` checks that expired, or are not among the newest `keep`; returns how many."""
        ...
