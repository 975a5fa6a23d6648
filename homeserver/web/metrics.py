"""The process's Prometheus registry and the measures of the web layer.

One `Metrics` per process, made by boot; other parts add their own collectors to `registry`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


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
        self.held = Gauge("hromada_http_held", "Long polls being held", registry=self.registry)

    def text(self) -> bytes:
        """Everything in the exposition format."""
        return generate_latest(self.registry)
