"""What our figures are held against: the ratio to the other server in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.measure import Measurement

Value = Callable[[Measurement], float]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table. `most` and `aim` are ratios of ours to theirs, or absolute where `absolute`."""

    title: str
    scenario: str
    unit: str
    value: Value
    most: float | None
    aim: float | None
    absolute: bool = False
    larger_is_better: bool = False
    against: str | None = None
    """The scenario of theirs to compare with, where they have no such one."""

    @property
    def their_scenario(self) -> str:
        """The scenario whose value of theirs stands in the table."""
        return self.against or self.scenario


def _cpu(measured: Measurement) -> float:
    return measured.cpu_ms


def _rate(measured: Measurement) -> float:
    return measured.rate


def _latency(name: str) -> Value:
    return lambda measured: measured.latencies[name]


def _extra(name: str) -> Value:
    return lambda measured: measured.extra[name]


def _cpu_line(title: str, scenario: str, most: float, aim: float, against: str | None = None) -> Target:
    return Target(title, scenario, "ms CPU", _cpu, 1 / most, 1 / aim, against=against)


def _media_lines(title: str, scenario: str) -> tuple[Target, ...]:
    return (Target(title, scenario, "ms CPU", _extra("cpu_ms_per_mib"), 1 / 3, 1 / 6),)


def _growth_lines(title: str, scenario: str) -> tuple[Target, ...]:
    return (Target(title, scenario, "MiB", _extra("growth_mib"), 20, 10, absolute=True),)


def _streaming_lines(title: str, scenario: str) -> tuple[Target, ...]:
    """A delivery over a WebSocket is held against one of their long polls: they have no WebSocket."""
    return (
        _cpu_line(title, scenario, 40, 100, "fanout"),
        Target("… p50", scenario, "ms", _latency("p50"), None, None, against="fanout"),
        Target("… p95", scenario, "ms", _latency("p95"), 60, 60, absolute=True, against="fanout"),
        Target("… not delivered in time", scenario, "", _extra("missing"), 0, 0, absolute=True, against="fanout"),
    )


TARGETS = (
    _cpu_line("send, 10 senders in 10 rooms", "send-rooms", 12, 25),
    Target("… messages per second", "send-rooms", "/s", _rate, 10, 25, larger_is_better=True),
    _cpu_line("send, 10 senders in one room of 50", "send-room", 12, 25),
    Target("… messages per second", "send-room", "/s", _rate, None, None, larger_is_better=True),
    _cpu_line("a read receipt in a room of 50", "receipts", 20, 25),
    _cpu_line("a typing notification in a room of 50", "typing", 20, 25),
    _cpu_line("fan-out to 200 long polls, per delivery", "fanout", 8, 15),
    Target("… p50", "fanout", "ms", _latency("p50"), None, None),
    Target("… p95", "fanout", "ms", _latency("p95"), 250, 120, absolute=True),
    Target("… not delivered in time", "fanout", "", _extra("missing"), 0, 0, absolute=True),
    *_streaming_lines("fan-out to 200 WebSockets, per delivery", "fanout-ws"),
    *_streaming_lines("fan-out to 200 WebSockets, 20 messages/s", "fanout-ws-fast"),
    _cpu_line("initial sync", "sync-initial", 20, 60),
    Target("… size", "sync-initial", "B", _extra("bytes"), None, None),
    Target("… p50", "sync-initial", "ms", _latency("p50"), None, None),
    _cpu_line("incremental sync, nothing new", "sync-nothing", 3, 8),
    _cpu_line("join into the large room", "join", 10, 25),
    _cpu_line("… the first after a start, alone", "join-cold", 20, 25),
    _cpu_line("… twenty, one at a time from a start on", "join-one-by-one", 20, 25),
    _cpu_line("joined members of the large room", "joined-members", 8, 20),
    _cpu_line("members of the large room", "members", 8, 20),
    _cpu_line("history, page of 100, first read", "history-first", 20, 25),
    _cpu_line("history, page of 100, again", "history-again", 8, 20),
    _cpu_line("create room", "create-room", 12, 25),
    _cpu_line("password login", "login", 2, 3),
    Target("registration", "register", "ms CPU", _cpu, None, None),
    _cpu_line("upload of 50 one-time keys", "keys-upload", 5, 10),
    _cpu_line("keys/query, 500 users with 2 devices each", "keys-query", 5, 10),
    _cpu_line("keys/claim, 500 keys", "keys-claim", 5, 10),
    _cpu_line("sendToDevice to 1,000 devices", "to-device", 5, 10),
    _cpu_line("new device in the large room, told to 200, per telling", "device-lists", 5, 10),
    Target("… not told in time", "device-lists", "", _extra("missing"), 0, 0, absolute=True),
    *_media_lines("upload of 1 MiB, per MiB", "upload-1m"),
    *_media_lines("download of 1 MiB, per MiB", "download-1m"),
    *_media_lines("upload of 100 MiB, per MiB", "upload-100m"),
    *_media_lines("download of 100 MiB, per MiB", "download-100m"),
    Target("first thumbnail of 12 megapixels, p50", "thumbnail-12mp", "ms", _latency("p50"), 400, 200, absolute=True),
    *_growth_lines("memory for an upload of 1 GiB", "growth-upload-1g"),
    *_growth_lines("memory for a slow reader of 1 GiB", "growth-slow-1g"),
    *_growth_lines("memory for 50 slow readers of 40 MiB", "growth-slow-50"),
    Target("the last kilobyte of 1 GiB, p50", "range-end-1g", "ms", _latency("p50"), 50, 10, absolute=True),
    Target("answer while 20 thumbnails are made, p95", "pause-thumbnails", "ms", _latency("p95"), None, None),
    Target("… gaps over 50 ms in the event loop", "gaps-thumbnails", "", _extra("gaps"), 0, 0, absolute=True),
    Target("memory idle", "memory-idle", "MiB", _extra("rss_mib"), 100, 70, absolute=True),
    Target("memory loaded", "memory-loaded", "MiB", _extra("rss_mib"), 160, 120, absolute=True),
    Target("cold start to first answer", "cold-start", "ms", _latency("p50"), 800, 400, absolute=True),
    Target(
        "database bytes per message",
        "send-rooms",
        "B",
        _extra("database_bytes_per_message"),
        1 / 3,
        1 / 5,
    ),
)


def verdict(target: Target, ours: float, theirs: float | None) -> str:
    """How ours does: `aim reached`, `reached`, or by what factor it is missed; empty where nothing is asked."""
    if target.most is None or target.aim is None:
        return ""
    if target.absolute:
        score = ours
    elif not theirs:
        return ""
    else:
        score = ours / theirs
    if target.larger_is_better:
        reached, aimed, factor = score >= target.most, score >= target.aim, target.most / score if score else 0.0
    else:
        reached, aimed, factor = score <= target.most, score <= target.aim, score / (target.most or 1)
    return "aim reached" if aimed else "reached" if reached else f"missed by {factor:.3g}x"
