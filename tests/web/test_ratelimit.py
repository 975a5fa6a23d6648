"""Token buckets: bursts, refill, bounds."""

from __future__ import annotations

import pytest

from homeserver.core.errors import LimitExceeded
from homeserver.ports.ratelimits import Rate
from homeserver.web.ratelimit import RateLimiter, address_key


class ManualClock:
    seconds = 0.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


def taken(limiter: RateLimiter, key: str, times: int, cost: float = 1.0) -> int:
    """How many of `times` attempts were allowed."""
    allowed = 0
    for _ in range(times):
        try:
            limiter.take("b", key, cost)
            allowed += 1
        except LimitExceeded:
            pass
    return allowed


def test_a_burst_then_the_rate() -> None:
    clock = ManualClock()
    limiter = RateLimiter({"b": Rate(0.5, 3)}, clock)
    assert taken(limiter, "k", 10) == 3
    with pytest.raises(LimitExceeded) as caught:
        limiter.take("b", "k")
    assert caught.value.retry_after_ms == 2000
    clock.seconds = 2.0
    assert taken(limiter, "k", 10) == 1
    clock.seconds = 1000.0
    assert taken(limiter, "k", 10) == 3
    assert taken(limiter, "other", 10) == 3


def test_cost_counts_and_a_refusal_takes_nothing() -> None:
    limiter = RateLimiter({"b": Rate(1, 10)}, ManualClock())
    assert taken(limiter, "k", 3, cost=4) == 2
    assert taken(limiter, "k", 5) == 2


def test_a_key_may_have_a_tighter_rate_of_its_own() -> None:
    clock = ManualClock()
    limiter = RateLimiter({"b": Rate(1, 10)}, clock)
    for rate, allowed in ((Rate(0.01, 2), 2), (Rate(100, 1), 1), (Rate(100, 100), 10)):
        key, count = str(rate), 0
        for _ in range(20):
            try:
                limiter.take("b", key, within=rate)
            except LimitExceeded:
                break
            count += 1
        assert count == allowed, rate


def test_off_lets_everything_pass_but_still_knows_its_buckets() -> None:
    limiter = RateLimiter({"b": Rate(1, 1)}, ManualClock(), enabled=False)
    assert taken(limiter, "k", 50) == 50
    with pytest.raises(KeyError):
        limiter.take("none", "k")


def test_the_number_of_keys_is_bounded_and_full_keys_are_forgotten() -> None:
    clock = ManualClock()
    limiter = RateLimiter({"b": Rate(1, 1)}, clock, max_keys=100)
    for number in range(1000):
        limiter.take("b", str(number))
    assert len(limiter) == 100
    clock.seconds = 10.0
    limiter.take("b", "new")
    assert len(limiter) == 1


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix", "unix"),
    ],
)
def test_addresses_are_counted_by_customer(address: str, key: str) -> None:
    assert address_key(address) == key
