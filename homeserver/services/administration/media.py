"""Media as administrators see and end it: `services/media/control` with a record of each act."""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.media import Media, Selection
from homeserver.ports.requester import Requester
from homeserver.services.audit import Audit
from homeserver.services.media.control import MediaControl

MEDIA_ORDERS = (
    "created_ts",
    "last_access_ts",
    "media_id",
    "media_length",
    "media_type",
    "quarantined_by",
    "safe_from_quarantine",
    "upload_name",
)
_FIELDS = {
    "created_ts": "created_ms",
    "last_access_ts": "accessed_ms",
    "media_length": "size",
    "media_type": "content_type",
    "safe_from_quarantine": "protected",
}
_NUMBERS = frozenset({"created_ms", "accessed_ms", "size", "protected"})
_AT_ONCE = 1_000


class MediaAdministration:
    """Lists, quarantines, protects and deletes media. Whoever calls this has been found to be an administrator.

    These acts are done in many steps, files included, so each is written down before its first step.
    """

    def __init__(self, control: MediaControl, audit: Audit, server_name: str, *, most: int) -> None:
        """Lists are of the first `most` media of a user."""
        self._control = control
        self._audit = audit
        self._server_name = server_name
        self._most = most

    async def page(
        self, user_id: str, offset: int, limit: int, *, order_by: str, descending: bool
    ) -> tuple[list[Media], int]:
        """A page of what a user has uploaded, and how much there is altogether."""
        found = await self._of_user(user_id, order_by, descending)
        return found[offset : offset + limit], len(found)

    async def _of_user(self, user_id: str, order_by: str, descending: bool) -> list[Media]:
        found: list[Media] = []
        async for media in self._control.select(Selection(("upload",), user_id=user_id, with_protected=True)):
            found.append(media)
            if len(found) >= self._most:
                break
        name = _FIELDS.get(order_by, order_by)
        empty: int | str = 0 if name in _NUMBERS else ""
        found.sort(key=lambda media: (getattr(media, name) or empty, media.media_id), reverse=descending)
        return found

    async def delete_page(
        self, who: Requester, user_id: str, offset: int, limit: int, *, order_by: str, descending: bool
    ) -> list[str]:
        """Delete a page of what a user has uploaded, protected or not; returns the media ids."""
        page, _ = await self.page(user_id, offset, min(limit, _AT_ONCE), order_by=order_by, descending=descending)
        if page:
            await self._audit.record(who, "media.delete_by_user", user_id, count=len(page))
        return await self._delete(page)

    async def delete(self, who: Requester, server_name: str, media_id: str) -> list[str]:
        """Delete one media id. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        media = await self._control.existing(server_name, media_id)
        await self._audit.record(who, "media.delete", _uri(media), user_id=media.user_id)
        return await self._delete([media])

    async def _delete(self, page: Sequence[Media]) -> list[str]:
        gone = []
        for media in page:
            try:
                await self._control.delete(media.origin, media.media_id)
            except MatrixError as error:
                if error.code is not ErrCode.NOT_FOUND:  # else somebody was faster
                    raise
            gone.append(media.media_id)
        return gone

    async def set_quarantine(self, who: Requester, server_name: str, media_id: str, quarantined: bool) -> None:
        """Let nobody have this content any more, or lift that. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        media = await self._control.existing(server_name, media_id)
        await self._audit.record(who, "media.quarantine" if quarantined else "media.release", _uri(media))
        if quarantined:
            await self._control.quarantine(media.origin, media.media_id, who.user_id)
        else:
            await self._control.release(media.origin, media.media_id)

    async def quarantine_user(self, who: Requester, user_id: str) -> int:
        """Quarantine all that a user has uploaded and that is not protected; how many media ids that is."""
        await self._audit.record(who, "media.quarantine_by_user", user_id)
        return await self._control.quarantine_user(user_id, who.user_id)

    async def protect(self, who: Requester, media_id: str, protected: bool) -> None:
        """Keep media of this server from quarantine, or lift that. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        media = await self._control.existing(self._server_name, media_id)
        await self._audit.record(who, "media.protect" if protected else "media.unprotect", _uri(media))
        await self._control.protect(media.origin, media.media_id, protected)


def _uri(media: Media) -> str:
    return f"mxc://{media.origin}/{media.media_id}"
