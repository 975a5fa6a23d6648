"""Rate limits as services and handlers see them: named buckets, one per key.  spec: client-server-api#rate-limiting"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` tokens flow into a bucket that holds `burst`; written `0.2/10`."""

    per_second: float
    burst: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `0.2/10`. Raises ValueError."""
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)/([1-9][0-9]{0,8})", text, re.ASCII)
        if match is None or float(match[1]) <= 0:
            raise ValueError("expected per_second/burst, such as 0.2/10")
        return cls(float(match[1]), int(match[2]))

    def tighter(self, other: Rate | None) -> Rate:
        """What keeps to both."""
        if other is None:
            return self
        return Rate(min(self.per_second, other.per_second), min(self.burst, other.burst))

    def __str__(self) -> str:
        return f"{self.per_second:g}/{self.burst}"


class RateLimits(Protocol):
    """Token buckets by name (a field of the `rate_limits` configuration) and key (user, address, room …)."""

    def take(self, bucket: str, key: str, cost: float = 1.0, *, within: Rate | None = None) -> None:
        """Take `cost` tokens. Raises LimitExceeded, which takes nothing, if the bucket holds fewer.

        `within` is a rate of this key's own; it counts where it is tighter than the bucket's.
        """
        ...

    def give_back(self, bucket: str, key: str, cost: float = 1.0) -> None:
        """Put back what was taken for something that did not happen."""
        ...
