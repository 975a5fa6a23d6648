"""Pushers, as the store knows them.  spec: client-server-api#push-notifications"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

PusherName = tuple[str, str, str]
"""User id, app id and push key: there is one pusher for each."""


@dataclass(frozen=True, slots=True)
class Pusher:
    """Where a user wants to be told of events."""

    user_id: str
    app_id: str
    pushkey: str
    kind: str
    device_id: str | None
    app_display_name: str
    device_display_name: str
    profile_tag: str | None
    lang: str
    data: bytes  # JSON object
    set_ms: int
    enabled: bool = True
    position: int = 0
    """Log position of the last event it was told of, or at which it began."""
    failing_ms: int | None = None
    """Since when its gateway takes nothing."""
    confirmed: bool = True
    """Whether the owner of an e-mail address has agreed."""
    mails: int = 0
    """Letters since its user last read or said something."""
    mailed_ms: int | None = None
    """When the last letter went."""

    @property
    def name(self) -> PusherName:
        """What it is called."""
        return self.user_id, self.app_id, self.pushkey


class PusherRepo(Protocol):
    """Pushers, and how far they have come."""

    async def of_users(self, user_ids: Collection[str]) -> list[Pusher]:
        """The pushers of the users, in one statement, oldest first."""
        ...

    async def get(self, name: PusherName) -> Pusher | None:
        """One pusher."""
        ...

    async def users(self) -> list[str]:
        """Users who have a pusher."""
        ...

    async def first_position(self) -> int | None:
        """The lowest position of a pusher; None if there is none. Before it, nobody is to be told of anything."""
        ...

    async def failing(self) -> list[Pusher]:
        """Those whose gateway took nothing when it was last asked."""
        ...

    async def put(self, pusher: Pusher) -> None:
        """Store a pusher. One of this name keeps its position and what is known of letters.

        An e-mail address that has not agreed is to be asked again: no letter has gone there since.
        """
        ...

    async def of_kind(self, kind: str) -> list[Pusher]:
        """All of a kind."""
        ...

    async def confirm(self, name: PusherName, position: int) -> None:
        """The owner of the address has agreed: what happens behind the position is told."""
        ...

    async def mailed(self, name: PusherName, *, mails: int, at_ms: int | None = None) -> None:
        """So many letters since its user was there; the last one now, if there is a time."""
        ...

    async def delete(self, name: PusherName) -> bool:
        """Delete it; False if there is none."""
        ...

    async def delete_of_others(self, name: PusherName) -> None:
        """Delete those with the same app id and push key of other users."""
        ...

    async def delete_devices(self, user_id: str, device_ids: Collection[str] | None) -> None:
        """Delete those that the devices set; all of the user's if None."""
        ...

    async def delete_others_than(self, user_id: str, device_id: str | None) -> None:
        """Delete the user's pushers but those that this device set."""
        ...

    async def advance(self, told: Sequence[tuple[PusherName, int, int | None]]) -> None:
        """Pushers have come to a position; then since when they fail, or None."""
        ...

    async def cursor(self) -> int | None:
        """Up to where all pushers that do not fail have been told of everything."""
        ...

    async def set_cursor(self, position: int) -> None:
        """Move it on."""
        ...
