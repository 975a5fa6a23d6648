"""How fast the visitors of one site may write, all of them together."""

from __future__ import annotations

from homeserver.ports.ratelimits import RateLimits
from homeserver.ports.requester import Requester
from homeserver.services.support.site import messages_rate
from homeserver.services.support.sites import Sites


class VisitorMessages:
    """Asked before a message is sent."""

    def __init__(self, sites: Sites, limits: RateLimits) -> None:
        self._sites = sites
        self._limits = limits

    async def count(self, who: Requester) -> None:
        """Count a message of a visitor, beside their own limit; others are not counted here.

        Raises MatrixError: LIMIT_EXCEEDED.
        """
        if who.site_id is None:
            return
        site = await self._sites.get(who.site_id)
        self._limits.take("support_messages_site", site.id, within=messages_rate(site.config.limits))
