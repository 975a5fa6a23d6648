"""Acknowledgements however they arrive: whole, in pieces, masked, beside other frames, and where they are none.

A small text that arrives by itself takes a short way past the WebSocket library (docs/adr/0004-direct-frames.md);
what a client sees must not depend on which way a frame went.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType

from homeserver.web.hypercorn_bounds import _between_messages, _unmasked
from tests.support.client import Client
from tests.support.stream import RawSocket, frame_of, streaming

MASK = b"\x12\xf4\x00\x7a"


def masked(payload: bytes) -> bytes:
    """A small text as browsers send it."""
    body = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes((0x81, 0x80 | len(payload))) + MASK + body


def compact(**frame: Any) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


async def started(raw: RawSocket, client: Client, since: str) -> None:
    await raw.text({"op": "auth", "access_token": client.token})
    assert json.loads((await raw.frame())[1])["op"] == "ready"
    await raw.text({"op": "start", "since": since})


async def next_frame(raw: RawSocket, op: str) -> Any:
    opcode, payload = await raw.frame()
    assert opcode == 1, payload
    frame = json.loads(payload)
    assert frame["op"] == op, frame
    return frame.get("body")


async def test_acknowledgements_in_any_form(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    async with RawSocket(bob.base_url) as raw:
        await started(raw, bob, since)
        for number in range(6):
            event_id = await alice.send(room, f"message {number}")
            body = await next_frame(raw, "sync")
            assert [e["event_id"] for e in body["rooms"]["join"][room]["timeline"]["events"]] == [event_id]
            ack = compact(op="ack", pos=body["next_batch"])
            match number:
                case 0:
                    await raw.write(masked(ack))
                case 1:
                    await raw.write(frame_of(0x81, ack))
                case 2:
                    for byte in masked(ack):
                        await raw.write(bytes((byte,)))
                        await asyncio.sleep(0)
                case 3:
                    await raw.write(masked(ack) + masked(b'{"op":"ping"}'))
                    await next_frame(raw, "pong")
                case 4:
                    await raw.write(masked(b'{"op":"ping"}') + masked(ack))
                    await next_frame(raw, "pong")
                case 5:
                    await raw.text({"op": "ack", "pos": body["next_batch"], "more": 1})


async def test_an_acknowledgement_twice_is_wrong(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    async with RawSocket(bob.base_url) as raw:
        await started(raw, bob, since)
        await alice.send(room, "hello")
        ack = masked(compact(op="ack", pos=(await next_frame(raw, "sync"))["next_batch"]))
        await raw.write(ack)
        await raw.write(ack)
        assert await raw.close_code() == 4000


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (bytes((0x81, 0xC0)) + bytes(4) + b" ", 1007),  # it is within the payload of a text: no UTF-8
        (bytes((0x01, 0x81)) + bytes(4) + b"{", 1002),  # a text inside a text
    ],
)
async def test_what_only_looks_like_one(alice: Client, bob: Client, before: bytes, code: int) -> None:
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    async with RawSocket(bob.base_url) as raw:
        await started(raw, bob, since)
        await alice.send(room, "hello")
        ack = masked(compact(op="ack", pos=(await next_frame(raw, "sync"))["next_batch"]))
        await raw.write(before)
        await asyncio.sleep(0.05)
        await raw.write(ack)
        await asyncio.sleep(0.05)
        await raw.write(bytes(0x40 - 1 - len(ack)))
        assert await raw.close_code() == code


async def test_a_token_that_was_replaced_gets_no_update(alice: Client, make_user: Any) -> None:
    bob = await make_user("bob", refresh_token=True)
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    async with streaming(bob, since=since) as stream:
        await alice.send(room, "before")
        await stream.update()
        tokens = await bob.anonymous().ok("POST", "/refresh", {"refresh_token": bob.refresh_token})
        bob.token = tokens["access_token"]
        await bob.ok("GET", "/account/whoami")
        await alice.send(room, "after")
        assert (await stream.receive("error"))["soft_logout"] is True
        assert await stream.closed() == 4001


def test_the_short_way_knows_where_a_message_begins() -> None:
    connection = Connection(ConnectionType.SERVER)
    assert _between_messages(connection)
    ack = masked(b'{"op":"ack","pos":"s1"}')
    assert _unmasked(ack) == b'{"op":"ack","pos":"s1"}'
    for at in range(1, len(ack)):
        connection.receive_data(ack[at - 1 : at])
        list(connection.events())
        assert not _between_messages(connection)
    connection.receive_data(ack[-1:])
    list(connection.events())
    assert _between_messages(connection)
    connection.receive_data(b"\x01\x81" + bytes(4) + b"{")  # the first fragment of two
    list(connection.events())
    assert not _between_messages(connection)
