"""Measurements: how long operations took, how many there were, and what they cost the server and its database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

# What a server does after it has answered (notifying, purging caches) belongs to the operations too.
SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds since the start."""

    server: float
    database: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.server - other.server, self.database - other.database)


class Metered(Protocol):
    """Something whose cost and size can be read at any moment."""

    def cost(self) -> Cost:
        """CPU seconds spent so far."""

    def database_bytes(self) -> int:
        """Bytes the database takes now."""


@dataclass(frozen=True)
class Measurement:
    """What one scenario measured on one server. Latencies are in milliseconds."""

    scenario: str
    operations: int
    wall_s: float
    server_cpu_s: float
    database_cpu_s: float
    latencies: dict[str, float]
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of server and database for one operation."""
        return (self.server_cpu_s + self.database_cpu_s) * 1000 / self.operations if self.operations else 0.0

    @property
    def rate(self) -> float:
        """Operations in a second."""
        return self.operations / self.wall_s if self.wall_s else 0.0

    def to_json(self) -> dict[str, Any]:
        """All figures, the derived ones included."""
        return asdict(self) | {"cpu_ms": self.cpu_ms, "rate": self.rate}


@dataclass(frozen=True, slots=True)
class Bounds:
    """A scenario ends after this many operations or seconds, whichever comes first."""

    operations: int
    seconds: float


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed; 0.0 of no values."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of latencies, in milliseconds."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: percentile(seconds, share) * 1000 for name, share in shares.items()}


class Meter:
    """Counts operations between `start` and `finish`."""

    def __init__(self, scenario: str, metered: Metered) -> None:
        self.latencies: list[float] = []
        self.extra: dict[str, float] = {}
        self._scenario = scenario
        self._metered = metered
        self._before = Cost(0, 0)
        self._started = 0.0
        self._ended = 0.0

    async def start(self) -> None:
        """Let what came before settle, then begin to count."""
        await asyncio.sleep(SETTLE_S)
        self._before = self._metered.cost()
        self._started = time.perf_counter()

    def mark_end(self) -> None:
        """The last operation has been answered: the wall clock stops here."""
        self._ended = time.perf_counter()

    async def finish(self) -> Measurement:
        """Let the operations settle and return what they cost."""
        if not self._ended:
            self.mark_end()
        await asyncio.sleep(SETTLE_S)
        spent = self._metered.cost() - self._before
        return Measurement(
            self._scenario,
            len(self.latencies),
            self._ended - self._started,
            spent.server,
            spent.database,
            summary(self.latencies),
            self.extra,
        )


async def drive(
    meter: Meter, workers: int, bounds: Bounds, operation: Callable[[int], Awaitable[object]], warm_up: int = 0
) -> None:
    """Run `operation(worker)` over and over in `workers` tasks until the bounds are reached, timing each run.

    `warm_up` runs in each task come first and are not counted.
    """

    async def repeat(worker: int, times: int) -> None:
        for _ in range(times):
            await operation(worker)

    await asyncio.gather(*(repeat(worker, warm_up) for worker in range(workers)))
    await meter.start()
    deadline = time.perf_counter() + bounds.seconds
    left = bounds.operations

    async def work(worker: int) -> None:
        nonlocal left
        while left > 0 and time.perf_counter() < deadline:
            left -= 1
            began = time.perf_counter()
            await operation(worker)
            meter.latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(work(worker) for worker in range(workers)))
    meter.mark_end()


async def each(items: Sequence[Any], operation: Callable[[Any], Awaitable[Any]], at_once: int) -> list[Any]:
    """`operation` of every item, `at_once` at a time; the results in the order of the items."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: Any) -> Any:
        async with gate:
            return await operation(item)

    return list(await asyncio.gather(*(one(item) for item in items)))
