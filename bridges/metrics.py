"""What the bridge counts, at `/metrics` of `appservice.listen`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

CAPTURED = Counter("bridge_changes_total", "Changes captured and stored.", ["mapping"], registry=REGISTRY)
LAG = Gauge(
    "bridge_lag_seconds",
    "Age of the last change when it was captured; of the last look while nothing is read.",
    ["mapping"],
    registry=REGISTRY,
)
RETAINED = Gauge("bridge_retained_bytes", "What the source keeps for the bridge.", ["mapping"], registry=REGISTRY)
SOURCE_UP = Gauge("bridge_source_up", "Whether the source answered last time.", ["mapping"], registry=REGISTRY)
PAUSED = Gauge("bridge_paused", "Whether the mapping is paused.", ["mapping"], registry=REGISTRY)
GAPS = Counter("bridge_gaps_total", "Logs that no longer went back far enough.", ["mapping"], registry=REGISTRY)
MISMATCHES = Counter(
    "bridge_reconcile_mismatches_total", "Rows that a reconcile scan found otherwise.", ["mapping"], registry=REGISTRY
)
QUEUE = Gauge("bridge_queue", "Deliveries waiting.", registry=REGISTRY)
DELIVERIES = Counter("bridge_deliveries_total", "Deliveries by how they ended.", ["result"], registry=REGISTRY)
LOGINS = Counter(
    "bridge_logins_total",
    "Logins judged: right, wrong, unknown, disabled, unusable, throttled, unavailable.",
    ["users", "result"],
    registry=REGISTRY,
)
HOOKS = Counter(
    "bridge_hooks_total",
    "Webhooks received: stored, repeated, forged, bad, too_large, limited, not_rendered.",
    ["hook", "result"],
    registry=REGISTRY,
)
ENDPOINTS = Counter(
    "bridge_endpoints_total",
    "Attempts to tell sites: done, postponed, dead, gone.",
    ["endpoint", "result"],
    registry=REGISTRY,
)
RETRIES = Counter("bridge_retries_total", "Deliveries put off to be tried again.", registry=REGISTRY)
DELIVERY_SECONDS = Histogram("bridge_delivery_seconds", "How long the homeserver took.", registry=REGISTRY)
RECEIVED = Counter(
    "bridge_events_total", "Events received from rooms, by what was made of them.", ["result"], registry=REGISTRY
)
