"""The WebSocket as a well-behaved client sees it: updates, acknowledgements, calls, tokens, resuming."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.support.client import PASSWORD, Client, part
from tests.support.fixtures import MakeUser, StartServer
from tests.support.stream import PATH, Stream, connected, streaming

Json = dict[str, Any]


def messages(bodies: list[Json], room: str) -> list[str]:
    """The texts of a room's messages in these responses, in order."""
    return [
        event["content"]["body"]
        for body in bodies
        for event in body.get("rooms", {}).get("join", {}).get(room, {"timeline": {"events": []}})["timeline"]["events"]
        if event["type"] == "m.room.message"
    ]


async def gather(stream: Stream, room: str, last: str) -> list[Json]:
    """Updates, acknowledged, until the one with the message `last`."""
    bodies: list[Json] = []
    while last not in messages(bodies, room):
        bodies.append(await stream.update())
    return bodies


async def test_updates_are_those_of_sync(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    async with streaming(bob, full_state=False) as stream:
        initial = await stream.update()
        assert initial["rooms"]["join"].keys() == (await bob.sync())["rooms"]["join"].keys()
        await alice.send(room, "one")
        update = await stream.update()
        assert messages([update], room) == ["one"]
        assert update == await bob.sync(since=initial["next_batch"])


async def test_the_next_update_waits_for_the_acknowledgement(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    async with streaming(bob, since=(await bob.sync())["next_batch"]) as stream:
        await alice.send(room, "one")
        first = (await stream.receive("sync"))["body"]
        for text in ("two", "three"):
            await alice.send(room, text)
        await stream.send(op="ping")
        await stream.receive("pong")  # and no update before it
        await stream.ack(first)
        second = (await stream.receive("sync"))["body"]
        assert messages([first, second], room) == ["one", "two", "three"]


async def test_filter_inline_and_stored(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    wanted = {"room": {"timeline": {"types": ["m.wanted"]}}}
    stored = await bob.ok("POST", f"/user/{part(bob.user_id)}/filter", wanted)
    await alice.send(room, "unwanted")
    event_id = await alice.send(room, {}, "m.wanted")
    for given in (wanted, stored["filter_id"]):
        async with streaming(bob, since=since, filter=given) as stream:
            events = (await stream.update())["rooms"]["join"][room]["timeline"]["events"]
            assert [event["event_id"] for event in events] == [event_id]


async def test_a_bad_start_can_be_corrected(alice: Client) -> None:
    async with streaming(alice) as stream:
        for start in ({"since": "s99999999"}, {"since": "x"}, {"filter": "99"}, {"filter": {"room": 5}}):
            await stream.send(op="start", **start)
            assert (await stream.receive("error"))["errcode"] in {"M_INVALID_PARAM", "M_NOT_FOUND", "M_BAD_JSON"}
        await stream.send(op="start")
        await stream.update()


async def test_calls(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    async with streaming(bob, since=(await bob.sync())["next_batch"]) as stream:
        path = f"/rooms/{part(room)}/send/m.room.message/t1"
        await stream.send(op="req", id="a", method="PUT", path=f"/_matrix/client/v3{path}", body={"body": "by socket"})
        frames = {(await stream.socket.receive_json())["op"]: None for _ in range(2)}
        assert set(frames) == {"res", "sync"}
        assert messages([await alice.sync()], room)[-1:] == ["by socket"]
    async with streaming(bob) as stream:
        assert (await stream.call("GET", "/account/whoami"))["body"]["user_id"] == bob.user_id
        assert (await stream.call("GET", f"/rooms/{part(room)}/messages?dir=b&limit=1"))["body"]["chunk"]
        for method, target, status, errcode in (
            ("GET", "/sync?timeout=30000", 400, "M_UNRECOGNIZED"),  # long polls have no place on a socket
            ("GET", "/nothing", 404, "M_UNRECOGNIZED"),
            ("PATCH", "/account/whoami", 405, "M_UNRECOGNIZED"),
            ("PUT", "/rooms/!x:y/send/m.room.message/t", 403, "M_FORBIDDEN"),
            ("GET", "/login/%ff", 404, "M_UNRECOGNIZED"),
        ):
            answer = await stream.call(method, target, {})
            assert (answer["status"], answer["body"]["errcode"]) == (status, errcode), target
        await stream.send(op="req", id=2, method="GET", path="/.well-known/matrix/client")
        assert (await stream.receive("res"))["status"] == 400


async def test_echo_carries_the_transaction_id_for_its_device_only(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    since = (await alice.sync())["next_batch"]
    async with streaming(alice, since=since) as own, streaming(bob, since=since) as other:
        await alice.send(room, "hello", txn="mine")
        for stream, expected in ((own, "mine"), (other, None)):
            (event,) = (await stream.update())["rooms"]["join"][room]["timeline"]["events"]
            assert event["unsigned"].get("transaction_id") == expected


# --- tokens ---


@pytest.mark.parametrize("first", [{"op": "start"}, {"op": "ping"}, {"op": "auth", "access_token": "nonsense"}])
async def test_no_or_bad_token(anonymous: Client, first: Json) -> None:
    async with connected(anonymous) as stream:
        await stream.send(**first)
        assert await stream.closed() == 4001


async def test_silence_instead_of_a_token(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(environment={"HROMADA_STREAM_AUTH_SECONDS": "1"})
    async with connected(Client(http, server.url)) as stream:
        assert await stream.closed() == 4008


async def test_a_token_in_the_url_refuses_the_handshake(alice: Client) -> None:
    address = f"{alice.base_url}{PATH}?access_token={alice.token}"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await alice.session.ws_connect(address, protocols=["m.json"])
    assert refused.value.status == 401


async def test_other_refused_handshakes(alice: Client) -> None:
    for path, protocol, status in ((PATH, "other", 400), (PATH + "x", "m.json", 404), ("/", "m.json", 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await alice.session.ws_connect(alice.base_url + path, protocols=[protocol])
        assert refused.value.status == status


async def test_origins(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(environment={"HROMADA_STREAM_ORIGINS": "https://chat.example"})
    address = server.url + PATH
    async with http.ws_connect(address, protocols=["m.json"], origin="https://chat.example"):
        pass
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(address, protocols=["m.json"], origin="https://evil.example")
    assert refused.value.status == 403


async def test_logout_closes(start_server: StartServer, database: str, http: aiohttp.ClientSession) -> None:
    # Told by the logout, not found out by a look later on, of which there is one in 300 s.
    server = start_server(database, environment={"HROMADA_STREAM_HEARTBEAT_SECONDS": "600"})
    alice = await Client(http, server.url).register("alice")
    for started in ({}, {"since": (await alice.sync())["next_batch"]}):
        device = await alice.another_device()
        async with streaming(device, **started) as stream, streaming(alice) as own:
            await device.ok("POST", "/logout", {})
            assert await stream.closed() == 4001
            assert (await own.call("GET", "/account/whoami"))["status"] == 200


async def test_a_new_password_closes(make_user: MakeUser) -> None:
    alice = await make_user("alice")
    other = await alice.another_device()
    async with streaming(other, since=(await other.sync())["next_batch"]) as stream:
        identifier = {"type": "m.id.user", "user": alice.user_id}
        body = {"new_password": "another long password"}
        challenge = (await alice.request("POST", "/account/password", body)).body
        auth = {"type": "m.login.password", "identifier": identifier, "session": challenge["session"]}
        auth["password"] = PASSWORD
        await alice.ok("POST", "/account/password", {**body, "auth": auth})
        assert await stream.closed() == 4001


async def test_a_fresh_token_for_an_open_socket(alice: Client, bob: Client, make_user: MakeUser) -> None:
    carol = await make_user("carol", refresh_token=True)
    async with streaming(carol) as stream:
        fresh = await carol.ok("POST", "/refresh", {"refresh_token": carol.refresh_token}, token=None)
        await stream.send(op="auth", access_token=fresh["access_token"])
        await stream.receive("ready")
        assert (await stream.call("GET", "/account/whoami"))["status"] == 200
        await stream.send(op="auth", access_token=bob.token)
        assert await stream.closed() == 4001


# --- resuming ---


async def test_cut_after_any_frame_loses_and_doubles_nothing(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    since: str = (await bob.sync())["next_batch"]
    start = since
    kept: list[Json] = []
    sent: list[str] = []
    for cut in range(8):
        # Frames 0, 3, 6: cut before the update is read; 1, 4, 7: read, not acknowledged; 2, 5: acknowledged.
        async with streaming(bob, since=since) as stream:
            for number in range(2):
                sent.append(f"{cut}.{number}")
                await alice.send(room, sent[-1])
            if cut % 3:
                body = (await stream.receive("sync"))["body"]
            if cut % 3 == 2:
                await stream.ack(body)
                kept.append(body)
                since = body["next_batch"]
            if stream.socket._response.connection is not None:  # cut, without a close frame
                transport = stream.socket._response.connection.transport
                assert transport is not None
                transport.abort()
    await alice.send(room, "end")
    async with streaming(bob, since=since) as stream:
        kept += await gather(stream, room, "end")
    assert messages(kept, room) == [*sent, "end"]
    whole = await bob.sync(since=start, filter={"room": {"timeline": {"limit": 100}}})
    assert messages([whole], room) == [*sent, "end"]


@pytest.mark.parametrize("graceful", [True, False])
async def test_server_restart(
    start_server: StartServer, database: str, http: aiohttp.ClientSession, graceful: bool
) -> None:
    server = start_server(database)
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    async with streaming(alice, since=(await alice.sync())["next_batch"]) as stream:
        await alice.send(room, "one")
        kept = [await stream.update()]
        await alice.send(room, "two")
        await stream.receive("sync")  # not acknowledged
        ending = asyncio.create_task(asyncio.to_thread(server.stop if graceful else server.kill))
        assert await stream.closed() == (1001 if graceful else 1006)
        await ending
    await asyncio.to_thread(server.start)
    alice.base_url = server.url
    async with streaming(alice, since=kept[-1]["next_batch"]) as stream:
        await alice.send(room, "three")
        kept += await gather(stream, room, "three")
    assert messages(kept, room) == ["one", "two", "three"]
