"""The load generator's own arithmetic: percentiles, counting, responses cut anywhere, verdicts."""

from __future__ import annotations

import pytest

from benchmarks.http import _Parser
from benchmarks.measure import Bounds, Cost, Meter, drive, percentile, summary
from benchmarks.targets import Target, verdict


class Ticking:
    """A server that spends one second of its own and two of its database's whenever it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def cost(self) -> Cost:
        self.asked += 1
        return Cost(1.0 * self.asked, 2.0 * self.asked)

    def database_bytes(self) -> int:
        return 0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_percentile_of_few_values() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([7.0], 0.01) == 7.0
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert summary([0.002])["max"] == 2.0


async def test_drive_counts_operations_but_not_the_warm_up() -> None:
    meter = Meter("x", Ticking())
    ran = []

    async def operation(worker: int) -> None:
        ran.append(worker)

    await drive(meter, 3, Bounds(10, 60.0), operation, warm_up=2)
    measured = await meter.finish()
    assert len(ran) == 16
    assert measured.operations == 10
    assert (measured.server_cpu_s, measured.database_cpu_s) == (1.0, 2.0)
    assert measured.cpu_ms == pytest.approx(300.0)


async def test_drive_ends_in_time() -> None:
    meter = Meter("x", Ticking())

    async def operation(_worker: int) -> None:
        pass

    await drive(meter, 1, Bounds(10, 0.0), operation)
    assert (await meter.finish()).operations == 0


@pytest.mark.parametrize(
    "message",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_responses_arrive_in_pieces(message: bytes, size: int) -> None:
    parser = _Parser()
    answers = [parser.feed(message[at : at + size]) for at in range(0, len(message), size)]
    assert answers[-1] is not None
    assert (answers[-1].status, answers[-1].body) == (200, b"hello world")
    assert not any(answers[:-1])
    assert not parser.keeps_alive


def test_verdicts() -> None:
    ratio = Target("cpu", "x", "ms", lambda _: 0.0, 1 / 10, 1 / 20)
    assert verdict(ratio, 1.0, 20.0) == "aim reached"
    assert verdict(ratio, 1.0, 10.0) == "reached"
    assert verdict(ratio, 2.0, 10.0) == "missed by 2x"
    assert verdict(ratio, 2.0, None) == ""
    rate = Target("rate", "x", "/s", lambda _: 0.0, 10, 25, larger_is_better=True)
    assert verdict(rate, 100.0, 20.0) == "missed by 2x"
    limit = Target("memory", "x", "MiB", lambda _: 0.0, 100, 70, absolute=True)
    assert verdict(limit, 90.0, None) == "reached"
