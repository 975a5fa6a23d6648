"""What the server asks application services: whether they reach us, what they make when it is wanted, what they bridge.

Every question has a bounded time, and only so many are asked at once: who asks waits for an answer.
spec: application-service-api#querying, application-service-api#third-party-networks
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import orjson
import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.appservices import Makers
from homeserver.ports.clock import Clock
from homeserver.ports.outbound import OutboundError, OutboundSource, OutboundTimeout
from homeserver.services.appservices.link import Link, segment
from homeserver.services.appservices.registration import Registration
from homeserver.services.appservices.registry import Registry

_log = structlog.get_logger(__name__)

_AT_ONCE = 50
_SHOWN_BYTES = 4_096
_MOST_RESULTS = 500

Kind = Literal["location", "user"]


class AppServiceQueries(Makers):
    """Asks application services. Implements `ports.appservices.Makers`."""

    def __init__(self, registry: Registry, outbound: OutboundSource, clock: Clock, *, seconds: float = 10.0) -> None:
        self._registry = registry
        self._clock = clock
        self._seconds = seconds
        self._links = {
            service.id: Link(service, outbound, clock) for service in registry.all if service.url is not None
        }
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._nudge: Callable[[str], None] = lambda _: None

    def on_reached(self, nudge: Callable[[str], None]) -> None:
        """Call `nudge(service id)` when a service has answered."""
        self._nudge = nudge

    # What is made on demand

    async def make_alias(self, alias: str) -> bool:
        """spec: application-service-api#get_matrixappv1roomsroomalias"""
        return await self._make(
            f"/rooms/{segment(alias)}", [service for service in self._registry.all if service.owns(alias)]
        )

    def may_make(self, user_id: str) -> bool:
        return any(link.service.covers(user_id) for link in self._links.values())

    async def make_user(self, user_id: str) -> bool:
        """spec: application-service-api#get_matrixappv1usersuserid"""
        return await self._make(
            f"/users/{segment(user_id)}", [service for service in self._registry.all if service.covers(user_id)]
        )

    async def _make(self, path: str, services: Sequence[Registration]) -> bool:
        links = [self._links[service.id] for service in services if service.id in self._links]
        if not links:
            return False
        task = self._asking.get(path)
        if task is None:
            if len(self._asking) >= _AT_ONCE:
                _log.warning("appservice_queries_too_many", path=path)
                return False
            task = self._asking[path] = asyncio.create_task(self._first_maker(path, links))
            task.add_done_callback(lambda _: self._asking.pop(path, None))
        return await asyncio.shield(task)

    async def _first_maker(self, path: str, links: Sequence[Link]) -> bool:
        for link in links:
            try:
                answer = await link.ask("GET", path, seconds=self._seconds)
            except OutboundError as error:
                _log.info("appservice_query_failed", id=link.service.id, path=path, error=str(error))
                continue
            if answer.is_success:
                return True
        return False

    # Whether they reach us and we them

    async def ping(self, appservice: str | None, service_id: str, transaction_id: str | None) -> int:
        """Ping a service on its own wish; returns how long it took, in ms.

        Raises MatrixError: FORBIDDEN, URL_NOT_SET, BAD_STATUS, CONNECTION_TIMEOUT, CONNECTION_FAILED.
        spec: client-server-api#post_matrixclientv1appserviceappserviceidping
        """
        if appservice is None or appservice != service_id:
            raise MatrixError(ErrCode.FORBIDDEN, "This is not the token of that application service")
        link = self._links.get(service_id)
        if link is None:
            raise MatrixError(ErrCode.URL_NOT_SET, "The application service has no URL", status=400)
        began = self._clock.monotonic()
        body = orjson.dumps({} if transaction_id is None else {"transaction_id": transaction_id})
        try:
            answer = await link.ask("POST", "/ping", body=body, seconds=self._seconds, has_legacy=False)
        except OutboundTimeout:
            raise MatrixError(ErrCode.CONNECTION_TIMEOUT, "The application service took too long", status=504) from None
        except OutboundError as error:
            raise MatrixError(ErrCode.CONNECTION_FAILED, str(error), status=502) from None
        if not answer.is_success:
            refused = MatrixError(
                ErrCode.BAD_STATUS, f"The application service answered with status {answer.status}", status=502
            )
            body_shown = answer.body[:_SHOWN_BYTES].decode("utf-8", "replace")
            refused.extra |= {"status": answer.status, "body": body_shown}
            raise refused
        self._nudge(service_id)
        return int((self._clock.monotonic() - began) * 1000)

    # Third-party networks

    async def protocols(self) -> dict[str, Any]:
        """What is known of all networks.  spec: client-server-api#get_matrixclientv3thirdpartyprotocols"""
        names = list(dict.fromkeys(name for service in self._registry.all for name in service.protocols))
        found = await asyncio.gather(*(self._protocol(name) for name in names))
        return {name: protocol for name, protocol in zip(names, found, strict=True) if protocol is not None}

    async def protocol(self, name: str) -> dict[str, Any]:
        """What is known of a network. Raises MatrixError(NOT_FOUND).

        spec: client-server-api#get_matrixclientv3thirdpartyprotocolprotocol
        """
        found = await self._protocol(name)
        if found is None:
            raise MatrixError(ErrCode.NOT_FOUND, "No application service bridges this network")
        return found

    async def _protocol(self, name: str) -> dict[str, Any] | None:
        """The first service's description, with the instances of all of them."""
        links = self._of_protocol(name)
        answers = await asyncio.gather(
            *(self._object(link, f"/thirdparty/protocol/{segment(name)}", {}) for link in links)
        )
        merged: dict[str, Any] | None = None
        for link, answer in zip(links, answers, strict=True):
            if not isinstance(answer, dict):
                continue
            instances = [
                {**item, "instance_id": instance_id(link.service.id, item["network_id"])}
                for item in answer.get("instances") or ()
                if isinstance(item, dict) and isinstance(item.get("network_id"), str)
            ]
            if merged is None:
                merged = {**answer, "instances": instances}
            else:
                merged["instances"] += instances
        return merged

    async def search(self, kind: Kind, protocol: str, fields: Mapping[str, str]) -> list[Any]:
        """Locations or users of a network. Raises MatrixError(NOT_FOUND) for a network that nobody bridges.

        spec: client-server-api#get_matrixclientv3thirdpartylocationprotocol
        """
        links = self._of_protocol(protocol)
        if not links:
            raise MatrixError(ErrCode.NOT_FOUND, "No application service bridges this network")
        return await self._lists(links, f"/thirdparty/{kind}/{segment(protocol)}", dict(fields))

    async def locations_of(self, alias: str) -> list[Any]:
        """What a room alias stands for in other networks.

        spec: client-server-api#get_matrixclientv3thirdpartylocation
        """
        links = [link for link in self._links.values() if link.service.owns(alias)]
        return await self._lists(links, "/thirdparty/location", {"alias": alias})

    async def users_of(self, user_id: str) -> list[Any]:
        """Whom a user stands for in other networks.  spec: client-server-api#get_matrixclientv3thirdpartyuser"""
        links = [link for link in self._links.values() if link.service.covers(user_id)]
        return await self._lists(links, "/thirdparty/user", {"userid": user_id})

    def _of_protocol(self, name: str) -> list[Link]:
        return [link for link in self._links.values() if name in link.service.protocols]

    async def _lists(self, links: Sequence[Link], path: str, query: dict[str, str]) -> list[Any]:
        answers = await asyncio.gather(*(self._object(link, path, query) for link in links))
        found = [item for answer in answers if isinstance(answer, list) for item in answer if isinstance(item, dict)]
        return found[:_MOST_RESULTS]

    async def _object(self, link: Link, path: str, query: dict[str, str]) -> object:
        """The JSON of an answer; None if there is none. One service that is away does not spoil the others' answers."""
        try:
            answer = await link.ask("GET", path, query=query, seconds=self._seconds)
        except OutboundError as error:
            _log.info("appservice_query_failed", id=link.service.id, path=path, error=str(error))
            return None
        return answer.json() if answer.is_success else None


def instance_id(service: str, network: str) -> str:
    """How clients name a network's directory: `third_party_instance_id`."""
    return f"{service}|{network}"


def split_instance(instance: str) -> tuple[str, str]:
    """The service and the network of `instance_id`; what is none names a network that is not there."""
    service, _, network = instance.partition("|")
    return service, network
