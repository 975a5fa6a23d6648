"""Application services as others see them: whose token is it, whose names are they, what they make when asked.

spec: application-service-api#registration
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


class AppService(Protocol):
    """A registered application service."""

    @property
    def id(self) -> str:
        """Its unique name."""
        ...

    def covers(self, user_id: str) -> bool:
        """True if the user id is its own or in one of its user namespaces."""
        ...


class AppServices(Protocol):
    """All registered application services."""

    def by_token(self, token: str) -> AppService | None:
        """The application service that authenticates with `as_token` `token`."""
        ...

    def exclusive(self, user_id: str) -> AppService | None:
        """The application service that alone may make this user."""
        ...

    def exclusive_alias(self, alias: str) -> AppService | None:
        """The application service that alone may make this room alias."""
        ...


class Makers(Protocol):
    """Application services that make what is asked for: users and aliases of their namespaces.

    spec: application-service-api#querying
    """

    async def make_alias(self, alias: str) -> bool:
        """Ask whoever has this alias in a namespace to make it; whether somebody says that they did."""
        ...

    def may_make(self, user_id: str) -> bool:
        """Whether somebody has this user id in a namespace."""
        ...

    async def make_user(self, user_id: str) -> bool:
        """Ask whoever has this user id in a namespace to make it; whether somebody says that they did."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far an application service has been told, and the transaction that it has not acknowledged yet.

    `version` counts the writes of the row: whoever finds another one than they left is not its owner any more.
    """

    service: str
    version: int
    position: int
    """Everything up to here is acknowledged, of no interest, or in `body`."""
    txn_id: str | None = None
    body: bytes | None = None
    """Sent as it is until it is acknowledged, whatever happens meanwhile."""


class AppServiceRepo(Protocol):
    """What is kept for application services."""

    async def delivery(self, service: str) -> Delivery | None:
        """How far the application service is; None if it was never told anything."""
        ...

    async def put_delivery(self, delivery: Delivery) -> bool:
        """Write `delivery` over the row with the version before it (insert version 1). False if that is not there."""
        ...

    async def list_room(self, service: str, network: str, room_nid: int) -> None:
        """Publish a room in the directory of one of the service's networks."""
        ...

    async def unlist_room(self, service: str, network: str, room_nid: int) -> None:
        """Take it out."""
        ...

    async def listed_rooms(self, instance: tuple[str, str] | None) -> list[tuple[int, str]]:
        """(room_nid, room_id) of the rooms published on one network (service, network), or on any of them."""
        ...

    async def local_memberships(self, room_nids: Collection[int]) -> list[tuple[int, str, str, int]]:
        """(room_nid, user, membership, position of the membership) of local users in rooms, in one statement."""
        ...
