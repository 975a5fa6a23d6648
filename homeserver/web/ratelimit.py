"""Token buckets in memory, and the address a request is counted by.

Each bucket is one number per key: the moment at which it will be full again (GCRA). A key that is full is forgotten,
and the number of keys is bounded.  spec: client-server-api#rate-limiting
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from homeserver.core.errors import LimitExceeded
from homeserver.ports.clock import Clock
from homeserver.ports.ratelimits import Rate, RateLimits

Network = IPv4Network | IPv6Network


class RateLimiter(RateLimits):
    """Buckets by name and key. Implements `ports.ratelimits.RateLimits`."""

    def __init__(
        self, rates: Mapping[str, Rate], clock: Clock, *, enabled: bool = True, max_keys: int = 50_000
    ) -> None:
        """`max_keys` bounds each bucket: beyond it the key unused for longest is forgotten."""
        self._rates = dict(rates)
        self._clock = clock
        self._max_keys = max_keys
        self._full_at: dict[str, OrderedDict[str, float]] = {name: OrderedDict() for name in rates}
        self.enabled = enabled

    def __len__(self) -> int:
        """How many keys are remembered, over all buckets."""
        return sum(len(keys) for keys in self._full_at.values())

    def knows(self, bucket: str) -> bool:
        """Whether a bucket of that name is configured."""
        return bucket in self._rates

    def take(self, bucket: str, key: str, cost: float = 1.0, *, within: Rate | None = None) -> None:
        """Take `cost` tokens. Raises LimitExceeded, which takes nothing; KeyError for an unknown bucket."""
        rate = self._rates[bucket].tighter(within)
        if not self.enabled:
            return
        keys = self._full_at[bucket]
        now = self._clock.monotonic()
        full_at = max(keys.get(key, now), now) + cost / rate.per_second
        wait = full_at - now - rate.burst / rate.per_second
        if wait > 1e-9:  # rounding must not turn the last token of a burst away
            raise LimitExceeded(math.ceil(wait * 1000))
        keys[key] = full_at
        keys.move_to_end(key)
        while len(keys) > self._max_keys or keys[next(iter(keys))] <= now:
            keys.popitem(last=False)

    def give_back(self, bucket: str, key: str, cost: float = 1.0) -> None:
        """KeyError for an unknown bucket."""
        rate = self._rates[bucket]
        keys = self._full_at[bucket]
        if key in keys:
            keys[key] -= cost / rate.per_second


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The address of the client: the last one in `X-Forwarded-For` that is not a trusted proxy.

    The header counts only if the peer itself is trusted; anybody can send it.
    """
    address = peer
    if not trusted or not forwarded_for or not _trusted(peer, trusted):
        return address
    for hop in reversed(forwarded_for.split(",")):
        try:
            address = str(ip_address(hop.strip()))
        except ValueError:
            break
        if not _trusted(address, trusted):
            break
    return address


@lru_cache(4_096)
def address_key(address: str) -> str:
    """What an address is counted as: an IPv6 customer owns a /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, 64), strict=False))


def _trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)
