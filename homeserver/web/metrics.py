"""The process's Prometheus registry and the measures of the web layer.

One `Metrics` per process, made by boot; other parts add their own collectors to `registry`.
"""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LOOK_EVERY_S = 0.1
_LOOK_IDLE_S = 0.5
_IDLE_SHARE = 0.02
"""With no more of its time worked between two looks, the event loop is looked at so rarely: to wake a server that has
nothing to do was half of what it cost.
"""
_LOOK_FOR_S = 0.005
"""So long before the moment that is looked at, what the process has worked is noted: what it worked earlier is none of
the reasons why it comes late.
"""


class Metrics:
    """The registry, with what the web layer counts."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.duration = Histogram(
            "hromada_http_request_seconds",
            "Time from the request's head to the last byte of the answer",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.responses = Counter(
            "hromada_http_responses_total", "Answers", ("method", "route", "status"), registry=self.registry
        )
        self.in_flight = Gauge("hromada_http_in_flight", "Requests being answered", registry=self.registry)
        self.held = Gauge("hromada_http_held", "Long polls and sockets being held", registry=self.registry)
        self.closes = Counter(
            "hromada_socket_closes_total", "Sockets this server has closed", ("code",), registry=self.registry
        )
        self.lag = Histogram(
            "hromada_loop_lag_seconds",
            "How late the event loop comes to what is due, looked at ten times a second while it works",
            buckets=_LAGS,
            registry=self.registry,
        )
        self.blocked = Histogram(
            "hromada_loop_blocked_seconds",
            "The same, but no more than this process has worked meanwhile: without the time that others took from it",
            buckets=_LAGS,
            registry=self.registry,
        )

    async def watch_loop(self) -> None:
        """Measure the event loop until cancelled: while something keeps it busy, everybody waits."""
        loop = asyncio.get_running_loop()
        pause = _LOOK_EVERY_S
        while True:
            began, due = time.thread_time(), loop.time() + pause
            await asyncio.sleep(pause - _LOOK_FOR_S)
            # Between here and when this task is asked again, the loop may turn more than once; from when it is due,
            # only the turn that is under way keeps it waiting.
            noted, worked = loop.time() + _LOOK_FOR_S, time.thread_time()
            await asyncio.sleep(_LOOK_FOR_S)
            now, spent = loop.time(), time.thread_time()
            self.lag.observe(max(0.0, now - due))
            self.blocked.observe(max(0.0, min(now - noted, spent - worked)))
            pause = _LOOK_IDLE_S if spent - began <= pause * _IDLE_SHARE else _LOOK_EVERY_S

    def text(self) -> bytes:
        """Everything in the exposition format."""
        return generate_latest(self.registry)
