"""matrix-nio, the Python library of bots, holds a conversation of two users.

nio checks every answer against a JSON schema and turns what does not fit into an error response.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import nio  # type: ignore[import-untyped]
import pytest

from tests.support.client import PASSWORD
from tests.support.fixtures import fresh
from tests.support.server import Server

MESSAGES = 500


def good(response: Any) -> Any:
    """`response`, which must not be one of nio's error responses."""
    assert not isinstance(response, nio.ErrorResponse), response
    return response


def known(response: Any) -> bool:
    """Whether the server has the endpoint; if so, the answer must be good."""
    if isinstance(response, nio.ErrorResponse) and response.status_code == "M_UNRECOGNIZED":
        return False
    good(response)
    return True


@pytest.fixture
async def pair(server: Server) -> AsyncIterator[tuple[nio.AsyncClient, nio.AsyncClient]]:
    """Two users, registered and logged in on a second device each."""
    clients = []
    for name in ("nio-a", "nio-b"):
        localpart = fresh(name)
        client = nio.AsyncClient(server.url, f"@{localpart}:{server.name}")
        client.config = nio.AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0)
        good(await client.register(localpart, PASSWORD))
        good(await client.logout())
        good(await client.login(PASSWORD))
        clients.append(client)
    yield clients[0], clients[1]
    for client in clients:
        await client.close()


@pytest.mark.contributor  # the one real client of `make test`
async def test_a_conversation(pair: tuple[nio.AsyncClient, nio.AsyncClient]) -> None:
    alice, bob = pair
    room: str = good(await alice.room_create(name="Conversation")).room_id
    good(await bob.sync())
    good(await alice.room_invite(room, bob.user_id))
    invited = good(await bob.sync(timeout=10_000))
    assert room in invited.rooms.invite
    good(await bob.join(room))
    good(await bob.sync(full_state=True))
    assert bob.rooms[room].name == "Conversation"
    assert set(bob.rooms[room].users) == {alice.user_id, bob.user_id}

    message = await _say(alice, room, {"body": "helo"})
    event = await _arrived(bob, room, message)
    assert event.body == "helo"
    edit = {"body": "* hello", "m.new_content": {"msgtype": "m.text", "body": "hello"}}
    edited = await _say(alice, room, {**edit, "m.relates_to": {"rel_type": "m.replace", "event_id": message}})
    assert (await _arrived(bob, room, edited)).source["content"]["m.new_content"]["body"] == "hello"
    relation = {"rel_type": "m.annotation", "event_id": message, "key": "👍"}
    reaction = good(await bob.room_send(room, "m.reaction", {"m.relates_to": relation})).event_id
    assert (await _arrived(alice, room, reaction)).key == "👍"
    regretted = await _say(alice, room, {"body": "oops"})
    good(await alice.room_redact(room, regretted, reason="typo"))
    assert isinstance(good(await bob.room_get_event(room, regretted)).event, nio.RedactedEvent)
    if known(await alice.room_typing(room, True)):
        assert room in good(await bob.sync(timeout=10_000)).rooms.join
    known(await bob.update_receipt_marker(room, message))
    known(await bob.room_read_markers(room, message, message))


async def test_paging_back_500_messages(pair: tuple[nio.AsyncClient, nio.AsyncClient]) -> None:
    alice, bob = pair
    room: str = good(await alice.room_create(preset=nio.RoomPreset.public_chat)).room_id
    good(await bob.join(room))
    for number in range(MESSAGES):
        await _say(alice, room, {"body": f"message {number}"})
    timeline = good(await bob.sync()).rooms.join[room].timeline
    recent = [event.body for event in timeline.events]
    start: str | None = timeline.prev_batch
    older: list[str] = []
    while start is not None:
        page = good(await bob.room_messages(room, start, limit=100))
        older += [event.body for event in page.chunk if isinstance(event, nio.RoomMessageText)]
        start = page.end
    assert [*reversed(older), *recent] == [f"message {number}" for number in range(MESSAGES)]


async def test_spaces_knocks_and_upgrades(pair: tuple[nio.AsyncClient, nio.AsyncClient]) -> None:
    alice, bob = pair
    name = fresh("nio-room")
    public = nio.RoomVisibility.public
    room: str = good(await alice.room_create(name=name, room_version="11", visibility=public)).room_id
    space: str = good(await alice.room_create(name="Space", space=True, preset=nio.RoomPreset.public_chat)).room_id
    good(await alice.room_put_state(space, "m.space.child", {"via": [alice.user_id.partition(":")[2]]}, room))
    good(await alice.room_put_state(room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}))
    good(await alice.room_enable_knocking(room))
    found = good(await bob.space_get_hierarchy(space, limit=1))
    assert [item["room_id"] for item in found.rooms] == [space]
    found = good(await bob.space_get_hierarchy(space, from_page=found.next_batch))
    assert [item["room_id"] for item in found.rooms] == [room]
    listed = good(await bob.list_public_rooms(filter_generic_search_term=name))
    assert [item.room_id for item in listed.public_rooms] == [room]

    good(await bob.room_knock(room, reason="please"))
    good(await bob.sync(full_state=True))
    good(await alice.sync(full_state=True))
    good(await alice.room_invite(room, bob.user_id))
    assert room in good(await bob.sync(timeout=10_000)).rooms.invite
    good(await bob.join(room))
    assert room in good(await bob.sync(timeout=10_000)).rooms.join

    good(await alice.sync())
    upgraded = good(await alice.room_upgrade(room, "12", room_power_level_overwrite={}))
    tombstone = good(await bob.room_get_state_event(room, "m.room.tombstone"))
    assert tombstone.content["replacement_room"] == upgraded.room_id
    good(await bob.room_leave(room))
    assert room in good(await bob.sync(timeout=10_000)).rooms.leave
    good(await bob.room_forget(room))
    assert room not in good(await bob.sync(full_state=True)).rooms.join


async def test_logout(pair: tuple[nio.AsyncClient, nio.AsyncClient]) -> None:
    alice, _ = pair
    token = alice.access_token
    good(await alice.whoami())
    good(await alice.logout())
    alice.access_token = token
    refused = await alice.whoami()
    assert isinstance(refused, nio.ErrorResponse)
    assert refused.status_code == "M_UNKNOWN_TOKEN"


async def _say(client: nio.AsyncClient, room: str, content: dict[str, Any]) -> str:
    return str(good(await client.room_send(room, "m.room.message", {"msgtype": "m.text", **content})).event_id)


async def _arrived(client: nio.AsyncClient, room: str, event_id: str) -> Any:
    """The event, out of the client's next syncs."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        joined = good(await client.sync(timeout=10_000)).rooms.join
        for event in joined[room].timeline.events if room in joined else []:
            if event.event_id == event_id:
                return event
    raise AssertionError(f"{event_id} did not arrive")
