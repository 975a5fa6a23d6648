"""What visitors may upload: as much and of the kinds that their site's settings say."""

from __future__ import annotations

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.ratelimits import RateLimits
from homeserver.ports.requester import Requester
from homeserver.services.support.site import files_rate
from homeserver.services.support.sites import Sites


class VisitorFiles:
    """Asked before an upload is read."""

    def __init__(self, sites: Sites, limits: RateLimits) -> None:
        self._sites = sites
        self._limits = limits

    async def limit(self, who: Requester, content_type: str | None) -> int | None:
        """Most bytes of this type that a visitor may upload; None for others.

        Raises MatrixError: FORBIDDEN, LIMIT_EXCEEDED where the site has a bound of its own (the server's was asked).
        """
        if who.site_id is None:
            return None
        site = await self._sites.get(who.site_id)
        files = site.config.files
        kind = (content_type or "").partition(";")[0].strip().lower()
        # Of an encrypted file nobody here knows what is in it; its size still counts.
        sealed = site.config.encryption == "on" and kind == "application/octet-stream"
        if not files.max_bytes or (kind not in files.types and not sealed):
            raise MatrixError(ErrCode.FORBIDDEN, f"Files of the type {kind[:60] or 'unknown'} may not be sent here")
        if (rate := files_rate(site.config.limits)) is not None:
            self._limits.take("support_uploads", f"{site.id} {who.user_id}", within=rate)
        return files.max_bytes
