"""Slots that everybody shares: requests worked on, long polls, sockets. Nobody may have them all.

An address is counted from the first byte, a user once known. Addresses of this machine have no share of their own: it
is the machine's owner who asks, or a proxy that does not say for whom (`server.trusted_proxies`).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from homeserver.core.errors import LimitExceeded
from homeserver.web.ratelimit import address_key

_RETRY_MS = 1_000


@dataclass(frozen=True, slots=True)
class ShareSettings:
    """How much of the server one user or address may take up at a time."""

    requests_user: int = 100
    requests_address: int = 500
    held_user: int = 100
    held_address: int = 5_000
    unknown_sockets: int = 100
    """Sockets of one address that have not shown an access token yet."""


class Shares:
    """How many slots of one kind each user or address has taken."""

    __slots__ = ("_most", "_taken")

    def __init__(self, most: int) -> None:
        """`most`: slots of one owner."""
        self._most = most
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        """Owners of at least one slot."""
        return len(self._taken)

    def take(self, owner: str) -> None:
        """Take a slot; give it back with `release`. Raises LimitExceeded, which takes none."""
        taken = self._taken.get(owner, 0)
        if taken >= self._most:
            raise LimitExceeded(_RETRY_MS)
        self._taken[owner] = taken + 1

    def release(self, owner: str) -> None:
        """Give a slot back."""
        left = self._taken[owner] - 1
        if left:
            self._taken[owner] = left
        else:
            del self._taken[owner]


class Slots:
    """The slots of one request or socket, given back together."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: list[tuple[Shares, str]] = []

    def take(self, shares: Shares, owner: str | None) -> None:
        """Take one of `owner`'s slots; None has no share. Raises LimitExceeded."""
        if owner is not None:
            shares.take(owner)
            self._taken.append((shares, owner))

    def release(self) -> None:
        """Give all of them back."""
        while self._taken:
            shares, owner = self._taken.pop()
            shares.release(owner)


def address_owner(address: str) -> str | None:
    """Whose share the requests of an address are counted against; None for this machine's own."""
    if address in ("127.0.0.1", "::1"):
        return None
    try:
        if ip_address(address).is_loopback:
            return None
    except ValueError:
        return address or None
    return address_key(address)
