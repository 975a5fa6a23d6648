"""What the handlers of the content repository work with. Built by `homeserver.boot`, and only there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from homeserver.ports.requester import Requester
from homeserver.services.media.library import Library
from homeserver.services.media.previews import Previews
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import Uploads
from homeserver.services.support.files import VisitorFiles
from media_repo.delivery import Readers


class MediaCookies(Protocol):
    """Makes the value of the cookie with which a device's pages read media."""

    def media_cookie(self, who: Requester) -> str:
        """The value for the requester's session."""
        ...


@dataclass(frozen=True, slots=True)
class MediaServices:
    """The services of the content repository; handlers get it as `api`."""

    library: Library
    uploads: Uploads
    thumbnails: Thumbnails
    previews: Previews | None
    """None where none are made."""
    readers: Readers
    cookies: MediaCookies
    visitor_files: VisitorFiles
    legacy_before_ms: int
    """Media from before this moment is given to everybody, by the old paths."""
    links: bool
    """Whether clients are sent to the store itself, where it can be."""
    is_secure: bool
    """Whether clients come over HTTPS, as far as the configuration says."""
