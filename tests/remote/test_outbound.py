"""The outbound client: what it never asks, what it bounds, on a real server on loopback."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from homeserver.ports.outbound import AddressRefused, AnswerTooLarge, OutboundError, OutboundRequest
from homeserver.remote.addresses import DENIED, AddressRules
from homeserver.remote.client import OutboundClient

HERE = AddressRules(allowed=[ip_network("127.0.0.1/32")])


@pytest.mark.parametrize(
    "address",
    """0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1
    192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2001::1 2001:db8::1 2002:7f00:1::
    fc00::1 fd12::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 100::1 nonsense localhost""".split(),
)
def test_denied(address: str) -> None:
    assert not AddressRules().permits(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_permitted(address: str) -> None:
    assert AddressRules().permits(address)


def test_the_operator_decides() -> None:
    rules = AddressRules(allowed=[ip_network("10.1.0.0/16")], denied=[ip_network("8.8.8.0/24")])
    assert rules.permits("10.1.2.3")
    assert rules.permits("::ffff:10.1.2.3")
    assert not rules.permits("10.2.0.1")
    assert not rules.permits("8.8.8.8")


@given(st.sampled_from([net for net in DENIED if str(net) != "::ffff:0:0/96"]), st.integers(min_value=0))
def test_no_address_of_a_denied_network(network: object, number: int) -> None:
    net = network
    assert hasattr(net, "network_address")
    address = net.network_address + number % net.num_addresses  # type: ignore[attr-defined]
    assert not AddressRules().permits(str(ip_address(str(address))))


@asynccontextmanager
async def site(**pages: object) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A server on loopback: path → handler."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        page = pages[request.path.strip("/") or "index"]
        result: web.StreamResponse = await page(request)  # type: ignore[operator]
        return result

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[OutboundClient]:
    """A client that may ask 127.0.0.1, and nothing else that is private."""
    made = OutboundClient(HERE, user_agent="Hromada test")
    yield made
    await made.close()


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def test_asks(client: OutboundClient) -> None:
    async with site(index=hello) as (url, seen):
        async with client.request(OutboundRequest(f"{url}/", headers={"X-Test": "1"})) as answer:
            assert (answer.status, await answer.read()) == (200, b"hello")
        assert seen[0].headers["User-Agent"] == "Hromada test"
        assert seen[0].headers["X-Test"] == "1"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://127.1:{port}/",
        "http://0x7f000001:{port}/",
        "http://2130706433:{port}/",
        "http://0:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user:password@127.0.0.1:{port}/",
        "ftp://127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://",
        "nonsense",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:{port}/" + "x" * 10_000,
    ],
)
async def test_never_asks(url: str) -> None:
    """`localhost` means 127.0.0.1 here, which is permitted; so the client of this test permits nothing."""
    strict = OutboundClient(AddressRules(), user_agent="x")
    async with site(index=hello) as (here, seen):
        with pytest.raises(AddressRefused):
            async with strict.request(OutboundRequest(url.format(port=here.rpartition(":")[2]))):
                pass
        assert not seen
    await strict.close()


async def test_redirects_are_checked(client: OutboundClient) -> None:
    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"http://127.0.0.2:{request.url.port}/")

    async def to_file(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "file:///etc/passwd"})

    async def good(_request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently("/")

    async def round_(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/round")

    async with site(index=hello, away=away, file=to_file, good=good, round=round_) as (url, seen):
        for path in ("away", "file"):
            with pytest.raises(AddressRefused):
                async with client.request(OutboundRequest(f"{url}/{path}")):
                    pass
        async with client.request(OutboundRequest(f"{url}/good#part")) as answer:
            assert await answer.read() == b"hello"
            assert answer.url == f"{url}/"
        with pytest.raises(OutboundError, match="redirects"):
            async with client.request(OutboundRequest(f"{url}/round")):
                pass
        assert len([request for request in seen if request.path == "/round"]) == 6
        async with client.request(OutboundRequest(f"{url}/good", redirects=0)) as answer:
            assert answer.status == 301


async def test_trust_and_secrets_stay_where_they_are_meant_for(client: OutboundClient) -> None:
    async with site(index=hello) as (other, _):
        port = other.rpartition(":")[2]

        async def to_other(_request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"{other}/")

        async def inside(_request: web.Request) -> web.Response:
            raise web.HTTPFound(f"http://127.0.0.2:{port}/")

        async with site(other=to_other, inside=inside) as (url, _), site(index=hello) as (_, _):
            request = OutboundRequest(
                f"{url}/other", method="POST", body=b"x", headers={"Authorization": "Bearer s", "X-Kept": "1"}
            )
            async with client.request(request) as answer:
                assert answer.status == 200
            with pytest.raises(AddressRefused):
                async with client.request(OutboundRequest(f"{url}/inside", is_trusted=True)):
                    pass


async def test_trusted_addresses_may_be_private() -> None:
    strict = OutboundClient(AddressRules(), user_agent="x")
    async with site(index=hello) as (url, _), strict.request(OutboundRequest(f"{url}/", is_trusted=True)) as answer:
        assert answer.status == 200
    await strict.close()


async def test_size_is_bounded(client: OutboundClient) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with pytest.raises(ConnectionError):
            while True:
                await response.write(bytes(65_536))
        return response

    async def announced(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(200_000))

    async def bomb(_request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(20_000_000)), headers={"Content-Encoding": "gzip"})

    async with site(endless=endless, announced=announced, bomb=bomb) as (url, _):
        for path in ("endless", "announced", "bomb"):
            with pytest.raises((AnswerTooLarge, OutboundError)):
                async with client.request(OutboundRequest(f"{url}/{path}", max_bytes=100_000)) as answer:
                    await answer.read()


async def test_time_is_bounded(client: OutboundClient) -> None:
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(300):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    async with site(silent=silent, drip=drip) as (url, _):
        for path in ("silent", "drip"):
            with pytest.raises(OutboundError, match="too long"):
                async with client.request(OutboundRequest(f"{url}/{path}", seconds=0.5)) as answer:
                    await answer.read()


async def test_nobody_there(client: OutboundClient) -> None:
    for url in ("http://127.0.0.1:1/", "http://no-such-host.invalid/"):
        with pytest.raises(OutboundError):
            async with client.request(OutboundRequest(url, seconds=20)):
                pass
