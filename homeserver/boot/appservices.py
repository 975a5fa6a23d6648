"""Reads the registration files of application services, and constructs what tells and asks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from homeserver.boot.accounts import Foundations
from homeserver.boot.parts import data_path
from homeserver.config.load import ConfigError
from homeserver.config.model import Config
from homeserver.ports.outbound import OutboundSource
from homeserver.services.appservices.interest import Interest
from homeserver.services.appservices.link import Link
from homeserver.services.appservices.queries import AppServiceQueries
from homeserver.services.appservices.registration import (
    BadRegistration,
    Registration,
    check_together,
    parse_registration,
)
from homeserver.services.appservices.registry import Registry
from homeserver.services.appservices.sender import AppServiceSender, AppServiceSenders, Progress, SenderSettings
from homeserver.services.appservices.transactions import TransactionLimits, TransactionMaker
from homeserver.services.log import Log
from homeserver.services.rooms import RoomServices
from homeserver.services.rooms.lists import RoomLists
from homeserver.system import SystemClock

_LARGEST_FILE = 1024 * 1024


def load_registry(config: Config) -> Registry:
    """All registered application services. Raises ConfigError, which names every fault of every file."""
    found: list[Registration] = []
    faults: list[str] = []
    for name in config.appservices.files:
        try:
            with data_path(config, name).open("rb") as file:
                found.append(parse_registration(file.read(_LARGEST_FILE).decode(), config.server.name))
        except OSError as error:
            faults.append(f"appservices.files: {name}: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"appservices.files: {name}: is not UTF-8")
        except BadRegistration as error:
            faults += [f"appservices.files: {name}: {fault}" for fault in error.faults]
    try:
        check_together(found)
    except BadRegistration as error:
        faults += [f"appservices.files: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError(faults)
    return Registry(found)


def build_queries(config: Config, registry: Registry, outbound: OutboundSource) -> AppServiceQueries:
    """What asks application services."""
    return AppServiceQueries(registry, outbound, SystemClock(), seconds=float(config.appservices.query_seconds))


def build_senders(
    base: Foundations, log: Log, rooms: RoomServices, lists: RoomLists, outbound: OutboundSource
) -> AppServiceSenders:
    """What tells application services."""
    appservices = base.config.appservices
    limits = TransactionLimits(appservices.transaction_events, appservices.transaction_bytes)
    settings = SenderSettings(
        float(appservices.request_seconds), longest_wait_s=float(appservices.longest_wait_seconds)
    )
    senders: dict[str, AppServiceSender] = {}
    for service in base.appservices.all:
        if service.url is None:
            continue
        interest = Interest(service, base.config.server.name)
        maker = TransactionMaker(service, interest, base.store, rooms.memory.histories, lists, base.clock, limits)
        link = Link(service, outbound, base.clock)
        epoch = base.entropy.letters(12).lower() + "-"
        senders[service.id] = AppServiceSender(link, maker, base.store, log, base.clock, epoch, settings, base.duty)
    return AppServiceSenders(senders, log, base.duty)


class DeliveryMetrics(Collector):
    """How far application services are behind."""

    def __init__(self, progress: Callable[[], Sequence[Progress]]) -> None:
        self._progress = progress

    def collect(self) -> Iterable[Metric]:
        """See the library."""
        behind = GaugeMetricFamily(
            "hromada_appservice_behind", "Positions of the log that a service has not been told of", labels=("id",)
        )
        failing = GaugeMetricFamily(
            "hromada_appservice_failing_seconds", "For how long a service has not taken anything", labels=("id",)
        )
        for one in self._progress():
            behind.add_metric((one.service,), one.behind)
            failing.add_metric((one.service,), one.failing_s)
        return (behind, failing)
