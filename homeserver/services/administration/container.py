"""All services of administrators, as they are handed on together."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.services.administration.media import MediaAdministration
from homeserver.services.administration.moderation import ReportAdministration, TokenAdministration
from homeserver.services.administration.rooms import RoomAdministration
from homeserver.services.administration.sites import SiteAdministration
from homeserver.services.administration.users import UserAdministration
from homeserver.services.audit import Audit


@dataclass(frozen=True, slots=True)
class AdministrationServices:
    """Services for administrators of the server."""

    audit: Audit
    users: UserAdministration
    tokens: TokenAdministration
    reports: ReportAdministration
    rooms: RoomAdministration
    sites: SiteAdministration
    media: MediaAdministration | None
    """None in a process without the role `media`."""
    version: str
    """Of this software."""
    max_page: int
    """Most entries of one page of a list."""
