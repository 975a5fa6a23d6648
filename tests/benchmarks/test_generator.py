"""The load generator's own arithmetic: percentiles, counting, responses cut anywhere, verdicts."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import report
from benchmarks.http import _Parser
from benchmarks.measure import Bounds, Cost, Measurement, Meter, drive, percentile, summary
from benchmarks.report import Run
from benchmarks.targets import Target, verdict
from benchmarks.websocket import SocketFailed, WebSocket, connect


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


def test_a_scenario_they_do_not_have_is_held_against_another() -> None:
    def measured(scenario: str, cpu_s: float) -> Measurement:
        return Measurement(scenario, 100, 1.0, cpu_s, 0.0, summary([0.05]), {"missing": 0})

    theirs = Run("synapse", "sqlite", {"fanout": measured("fanout", 1.0)})
    ours = Run("hromada", "sqlite", {"fanout-ws": measured("fanout-ws", 0.02)})
    table = report.markdown([ours, theirs], "x", "y").splitlines()
    (line,) = [line for line in table if line.startswith("| fan-out to 200 WebSockets, per delivery |")]
    assert line.split(" | ")[1:6] == ["0.20 ms CPU", "10.0 ms CPU", "1/50.0", "1/40.0", "1/100.0"]
    assert not [line for line in report.markdown([theirs], "x", "y").splitlines() if "WebSockets" in line]


MESSAGES = [b"short", b"x" * 300, b"y" * 70_000]
HEADS = [b"\x81\x05", b"\x81\x7e\x01\x2c", b"\x81\x7f" + (70_000).to_bytes(8, "big")]


@pytest.mark.parametrize("size", [1, 3, 1000, 1_000_000])
async def test_messages_of_a_websocket_arrive_in_pieces(size: int) -> None:
    sent = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    sent += b"".join(head + message for head, message in zip(HEADS, MESSAGES, strict=True))
    sent += b"\x88\x06\x0f\xa8slow"
    got: list[bytes] = []
    socket = WebSocket(lambda _, message: got.append(message))
    for at in range(0, len(sent), size):
        socket.data_received(sent[at : at + size])
    assert got == MESSAGES
    with pytest.raises(SocketFailed, match="closed with 4008 slow"):
        await socket.closed


async def test_the_websocket_client_masks_what_it_sends() -> None:
    """Against a server of plain bytes, so that the frames are seen as they are on the wire."""
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await got.put(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi")
        await got.put(await reader.readexactly(6 + 2))
        await got.put(await reader.readexactly(8 + 300))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        socket = await connect("127.0.0.1", port, "/stream", "m.json", lambda socket, text: socket.send(text))
        assert b"GET /stream HTTP/1.1\r\n" in await got.get()
        assert await got.get() == b"\x81\x82" + bytes(4) + b"hi"
        socket.send(b"z" * 300)
        assert await got.get() == b"\x81\xfe\x01\x2c" + bytes(4) + b"z" * 300
        with pytest.raises(SocketFailed):
            await socket.closed


async def test_a_refused_handshake_is_told() -> None:
    socket = WebSocket(lambda _, message: None)
    socket.data_received(b"HTTP/1.1 404 Not Found\r\n\r\n")
    with pytest.raises(SocketFailed, match="404"):
        await socket._opened
