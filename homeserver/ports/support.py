"""Support chats on other websites, as the store knows them: sites, their visitors, their cases.

See docs/subsystems/widget.md.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

NEW, OPEN, PENDING, RESOLVED, BLOCKED = "new", "open", "pending", "resolved", "blocked"
"""What a case is: nobody has taken it, somebody has, it waits for the visitor, it is done, the visitor is shut out."""


@dataclass(frozen=True, slots=True)
class Site:
    """A website with a support chat. `config` is JSON (`services.support.site.SiteConfig`)."""

    site_id: str
    config: bytes
    bot: str
    space_id: str
    desk_id: str
    created_ms: int
    last_case: int = 0
    """The number of the newest case."""
    turn: int = 0
    """How many cases were given to agents in turn."""
    seen_ms: int | None = None
    """When a page last showed the chat's frame, within a minute; None if none ever did."""
    seen_origin: str | None = None
    """The origin of that page."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who wrote on a site. `subject` is who they are there, if the site has vouched for them."""

    user_id: str
    site_id: str
    created_ms: int
    seen_ms: int
    name: str = ""
    email: str = ""
    subject: str | None = None
    begun: bytes | None = None
    """Digest of the browser's key for the request that made the account, so that its repetition makes no other."""
    room_id: str | None = None
    """Where they write now."""
    notice: str = ""
    """What is known of them besides, JSON: the form's other answers, attributes that the site has signed."""


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation with a visitor, and its card on the desk."""

    room_id: str
    site_id: str
    number: int
    visitor_id: str
    opened_ms: int
    changed_ms: int
    status: str = NEW
    assignee: str | None = None
    offered: str | None = None
    """The agent whose turn it is to take the case."""
    offered_ms: int | None = None
    card_id: str | None = None
    page: str = ""
    title: str = ""
    excerpt: str = ""
    """The beginning of the visitor's first message."""
    priority: str = ""
    tags: str = ""
    answered_ms: int | None = None
    """When staff first wrote."""
    resolved_ms: int | None = None
    rating: int | None = None
    waiting: bool = True
    """Whether the visitor wrote last."""
    renewed: int = 0
    """How often the card was replaced by another one."""
    said_ms: int | None = None
    """When staff last wrote."""
    mailed_ms: int | None = None
    """Up to which moment what staff said was sent on, or needed no letter."""
    blocked_ms: int | None = None
    """Since when its visitor is shut out."""
    blocked_by: str | None = None
    """Who of staff has shut them out."""


@dataclass(frozen=True, slots=True)
class CaseTimes:
    """What figures need of a case: when it began, was first answered, and how it was rated."""

    opened_ms: int
    answered_ms: int | None
    rating: int | None


class SupportRepo(Protocol):
    """Sites, visitors and cases."""

    async def add_site(self, site: Site) -> None:
        """Insert it. Raises UniqueViolation."""
        ...

    async def site(self, site_id: str) -> Site | None:
        """One site."""
        ...

    async def sites(self) -> list[Site]:
        """All sites, by id."""
        ...

    async def set_config(self, site_id: str, config: bytes) -> bool:
        """Replace a site's settings; False if there is no such site."""
        ...

    async def seen_site(self, site_id: str, now_ms: int, origin: str) -> None:
        """A page of that origin shows the chat."""
        ...

    async def next_case(self, site_id: str) -> int:
        """The number of a new case of the site."""
        ...

    async def next_turn(self, site_id: str) -> int:
        """Count a case given to an agent in turn; returns how many there were before."""
        ...

    async def delete_site(self, site_id: str) -> None:
        """Forget the site and its cases; visitors' rows go when their accounts do."""
        ...

    async def put_visitor(self, visitor: Visitor) -> None:
        """Insert or replace. Raises UniqueViolation if another account has the subject or the key."""
        ...

    async def visitor(self, user_id: str) -> Visitor | None:
        """One visitor."""
        ...

    async def visitor_of(self, site_id: str, subject: str) -> Visitor | None:
        """The account of somebody whom the site knows."""
        ...

    async def visitor_begun(self, begun: bytes) -> Visitor | None:
        """The account that a request has made."""
        ...

    async def idle_visitors(self, site_id: str, before_ms: int, limit: int) -> list[Visitor]:
        """Those not seen since, longest first."""
        ...

    async def idle_sessions(self, site_id: str, before_ms: int, limit: int) -> list[Visitor]:
        """Anonymous ones not seen since who are logged in somewhere all the same, longest first."""
        ...

    async def visitors_of(self, site_id: str, limit: int) -> list[Visitor]:
        """Some of the site's visitors."""
        ...

    async def delete_visitor(self, user_id: str) -> None:
        """Forget who they were."""
        ...

    async def put_case(self, case: Case) -> None:
        """Insert or replace."""
        ...

    async def case(self, room_id: str) -> Case | None:
        """The case of a room."""
        ...

    async def lock_case(self, room_id: str) -> Case | None:
        """As `case`, kept from other writers until the transaction ends."""
        ...

    async def cases(self, room_ids: Collection[str]) -> list[Case]:
        """Those of these rooms that are cases."""
        ...

    async def case_of_card(self, card_id: str) -> Case | None:
        """The case that a card on the desk stands for."""
        ...

    async def case_numbered(self, site_id: str, number: int) -> Case | None:
        """A case by its number."""
        ...

    async def open_cases(self, site_id: str) -> list[Case]:
        """Those neither resolved nor blocked, oldest first, at most 1,000."""
        ...

    async def blocked_cases(self, site_id: str, below: int | None, limit: int) -> list[Case]:
        """Those whose visitor is shut out, the highest number first, of those below one."""
        ...

    async def recent_cases(self, site_id: str, since_ms: int, limit: int) -> list[CaseTimes]:
        """Those begun since, newest first."""
        ...

    async def unmailed_cases(self, site_id: str, since_ms: int, before_ms: int, limit: int) -> list[Case]:
        """Those in which staff last wrote between two moments, and which `set_mailed` does not cover yet."""
        ...

    async def set_mailed(self, room_id: str, said_ms: int) -> None:
        """What staff said until then is sent on, or need not be; it never goes back."""
        ...

    async def ended_cases(self, site_id: str, before_ms: int, limit: int) -> list[Case]:
        """Resolved ones that were not changed since, the oldest first; blocked ones, too, if nobody knows the visitor
        any more."""
        ...

    async def delete_case(self, case: Case) -> bool:
        """Forget a case, also as where its visitor writes; False if it is not as it was."""
        ...

    async def case_rooms(self) -> list[str]:
        """The rooms of all cases."""
        ...

    async def cases_of(self, visitor_id: str) -> list[Case]:
        """All cases of a visitor, newest first, at most 100."""
        ...

    async def use_jti(self, site_id: str, jti: str, expires_ms: int, now_ms: int) -> bool:
        """Use the id of a site's token up; False if it was used before. Forgets expired ones."""
        ...

    async def block_address(self, site_id: str, digest: str, number: int, until_ms: int) -> None:
        """Let nobody new in from an address until then, because of a case."""
        ...

    async def unblock_addresses(self, site_id: str, number: int) -> None:
        """Undo that for all addresses of the case."""
        ...

    async def blocked_until(self, site_id: str, digest: str) -> int:
        """Until when nobody new is let in from an address; 0 if that is not so."""
        ...

    async def blocked_by_case(self, site_id: str) -> dict[int, int]:
        """The numbers of the cases because of which addresses are shut out, and until when they are."""
        ...

    async def has_addresses_due(self, now_ms: int) -> bool:
        """Whether an address is kept longer than it counts."""
        ...

    async def forget_addresses(self, now_ms: int) -> None:
        """Forget the addresses whose time is over."""
        ...

    async def cursor(self) -> int | None:
        """Up to which position of the log the desk has come."""
        ...

    async def set_cursor(self, position: int) -> None:
        """Remember it."""
        ...
