"""Login providers: where the accounts of people live who log in with what they have elsewhere.

docs/bridges/login.md. A provider judges names and passwords; it never makes accounts here, and learns of none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


class Verdict(Enum):
    """What a provider says of a name and a password."""

    UNKNOWN = auto()
    """It has nobody of that name: the next provider is asked."""
    WRONG = auto()
    DISABLED = auto()
    """The password is right, but its owner may not log in."""
    RIGHT = auto()


class ProviderUnavailable(Exception):
    """The provider does not answer, or not as it should: nothing is known about anybody. No secrets in the message."""


@dataclass(frozen=True, slots=True)
class SitePerson:
    """Somebody as their provider has them."""

    key: str
    """What the provider finds them by, as long as they are there."""
    localpart: str
    """What their user id is made of when they come first; empty if nothing can be."""
    logins: tuple[str, ...] = ()
    """What they may give as their user name."""
    displayname: str | None = None
    email: str | None = None
    is_enabled: bool = True
    stamp: str = ""
    """Another one when what is shown of them has changed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to a login. `person` is there unless the verdict is UNKNOWN."""

    verdict: Verdict
    person: SitePerson | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """An account here and whose it is there."""

    provider: str
    key: str
    user_id: str
    stamp: str = ""
    disabled: bool = False


class LoginProvider(Protocol):
    """Judges logins. All methods but `close` raise ProviderUnavailable."""

    name: str
    """What accounts remember it by: it never changes."""
    title: str
    """What people call it."""
    password_url: str
    """Where its people change their passwords; empty if nobody said."""

    async def judge(self, login: str, key: str | None, password: str) -> Judgement:
        """Whether the password is that of who logs in as `login` or, if given, of who has `key`."""
        ...

    async def pretend(self, password: str) -> None:
        """Take as long as for somebody who is known."""
        ...

    async def people(self, keys: Collection[str]) -> Mapping[str, SitePerson] | None:
        """Who of these is still there, by key. None: it cannot be asked."""
        ...

    def everybody(self, page: int) -> AsyncIterator[Sequence[SitePerson]] | None:
        """All its people, in pages. None: it cannot be asked."""
        ...

    async def examine(self) -> str:
        """What there is, for people."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


class IdentityRepo(Protocol):
    """Whose accounts are whose at login providers."""

    async def add(self, identity: Identity) -> None:
        """Insert. Raises UniqueViolation if person or account have a counterpart already."""
        ...

    async def get(self, provider: str, key: str) -> Identity | None:
        """The account of somebody."""
        ...

    async def of_user(self, user_id: str) -> Identity | None:
        """Who an account belongs to."""
        ...

    async def page(self, provider: str, after: str, limit: int) -> list[Identity]:
        """A provider's, in the order of their keys, behind `after`."""
        ...

    async def update(self, provider: str, key: str, stamp: str, *, disabled: bool) -> None:
        """Remember what was last seen of somebody."""
        ...
