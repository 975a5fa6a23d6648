"""Rate limits as services and handlers see them: named buckets, one per key.  spec: client-server-api#rate-limiting"""

from __future__ import annotations

from typing import Protocol


class RateLimits(Protocol):
    """Token buckets by name (a field of the `rate_limits` configuration) and key (user, address, room …)."""

    def take(self, bucket: str, key: str, cost: float = 1.0) -> None:
        """Take `cost` tokens. Raises LimitExceeded, which takes nothing, if the bucket holds fewer."""
        ...
