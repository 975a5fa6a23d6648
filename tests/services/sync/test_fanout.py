"""Updates that many get alike: who shares one, and who must not.

That a shared update is what its recipient would have got alone is checked by `Client.sync` in every test of sync.
"""

from __future__ import annotations

from typing import Any

import orjson

from homeserver.core.filters import Filter, parse_filter
from homeserver.services.sync.fanout import MAX_ENTRIES, Delivery, Update, audience
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.request import SyncRequest
from tests.services.rooms.conftest import ALICE, BOB, CAROL
from tests.services.sync.conftest import SyncWorld

DAVE = "@dave:hromada.test"
EVERYBODY = (ALICE, BOB, CAROL)
LAZY = parse_filter({"room": {"state": {"lazy_load_members": True}}})


async def _known(syncing: SyncWorld) -> SyncToken:
    """Everybody syncs; where they are now."""
    for user_id in (*EVERYBODY, DAVE):
        await syncing.client(user_id).sync()
    return SyncToken(syncing.sync.position, syncing.typing.serial)


def _told(syncing: SyncWorld, user_id: str, since: SyncToken, **more: Any) -> Delivery | None:
    request = SyncRequest(**{"user_id": user_id, "device_id": "DEV", "filter": Filter(), "since": since, **more})
    return syncing.sync.shared(request, since, audience(request))


def _update(syncing: SyncWorld, user_id: str, since: SyncToken, **more: Any) -> Update | None:
    told = _told(syncing, user_id, since, **more)
    return None if told is None else told.update


async def test_a_message_is_made_once_for_all_but_its_sender(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB, CAROL)
    since = await _known(syncing)
    await syncing.world.say(room, "hello", txn="t1")
    told = _told(syncing, BOB, since)
    assert told is not None
    (event,) = orjson.loads(told.json)["rooms"]["join"][room]["timeline"]["events"]
    assert event["content"]["body"] == "hello"
    assert "transaction_id" not in event["unsigned"]
    assert _update(syncing, CAROL, since) is told.update
    assert _told(syncing, ALICE, since) is None
    assert _told(syncing, "@nobody:hromada.test", since) is None  # of whom nothing is in memory
    # Nothing for those who are not there, but they are that much further.
    elsewhere = _told(syncing, DAVE, since)
    assert elsewhere is not None and (elsewhere.json, elsewhere.token) == (b"", told.token)


async def test_what_is_asked_for_makes_a_difference(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB, CAROL)
    since = await _known(syncing)
    await syncing.world.say(room, "hello")
    told = _told(syncing, BOB, since)
    assert told is not None
    other = parse_filter({"room": {"timeline": {"limit": 10}}})
    assert _update(syncing, CAROL, since, filter=other) is not told.update
    ignoring = _told(syncing, CAROL, since, ignored=frozenset({ALICE}))
    assert ignoring is not None
    assert ignoring.json == b""
    filtered = _told(syncing, CAROL, since, filter=parse_filter({"room": {"timeline": {"types": ["m.sticker"]}}}))
    assert filtered is not None
    assert filtered.json == b""
    assert _told(syncing, BOB, since, full_state=True) is None


async def test_members_of_different_rooms_share_what_they_share(syncing: SyncWorld) -> None:
    one = await syncing.world.create(ALICE, BOB, CAROL)
    two = await syncing.world.create(ALICE, BOB)
    since = await _known(syncing)
    await syncing.world.say(one, "one")
    await syncing.world.say(two, "two")
    both, only = _told(syncing, BOB, since), _told(syncing, CAROL, since)
    assert both is not None
    assert only is not None
    assert set(orjson.loads(both.json)["rooms"]["join"]) == {one, two}
    assert set(orjson.loads(only.json)["rooms"]["join"]) == {one}


async def test_what_concerns_people_one_by_one_is_not_shared(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB, CAROL)
    event_id = await syncing.world.say(room, "hello")
    rooms = syncing.world.rooms

    async def shared_after(action: Any) -> bool:
        since = await _known(syncing)
        await action
        return _told(syncing, CAROL, since) is not None

    assert not await shared_after(rooms.memberships.invite(ALICE, room, DAVE))
    assert not await shared_after(rooms.memberships.leave(BOB, room))
    assert not await shared_after(rooms.sending.set_state(room, ALICE, ("m.room.name", ""), {"name": "N"}))
    assert not await shared_after(rooms.sending.redact(room, (ALICE, "DEV"), event_id, "r1", None))
    assert await shared_after(rooms.sending.set_state(room, ALICE, ("m.room.topic", ""), {"topic": "T"}))


async def test_typing_is_shared(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB, CAROL)
    since = await _known(syncing)
    syncing.typing.set(room, ALICE, 30_000)
    told = _told(syncing, BOB, since)
    assert told is not None
    (typing,) = orjson.loads(told.json)["rooms"]["join"][room]["ephemeral"]["events"]
    assert typing["content"]["user_ids"] == [ALICE]
    assert _update(syncing, CAROL, since) is told.update
    syncing.typing.set(room, ALICE, None)
    assert _update(syncing, CAROL, since) is not told.update


async def test_who_loads_members_lazily_must_know_the_sender(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB, CAROL, name="Named")
    clients = [syncing.client(user_id, filter=LAZY) for user_id in EVERYBODY]
    for client in clients:
        await client.sync()
    since = SyncToken(syncing.sync.position)
    await syncing.world.say(room, "who am I?", sender=BOB)
    assert _told(syncing, CAROL, since, filter=LAZY) is None
    for client in clients:
        await client.sync()
    since = SyncToken(syncing.sync.position)
    await syncing.world.say(room, "now you know", sender=BOB)
    assert _told(syncing, CAROL, since, filter=LAZY) is not None
    assert _told(syncing, CAROL, since, filter=LAZY, device_id="OTHER") is None


async def test_a_long_way_behind_is_not_shared(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB)
    since = await _known(syncing)
    for number in range(MAX_ENTRIES + 1):
        await syncing.world.say(room, f"{number}")
    assert _told(syncing, BOB, since) is None
    last = SyncToken(since.position + 1, since.ephemeral)
    assert _told(syncing, BOB, last) is not None


async def test_the_tests_of_sync_do_share(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB)
    bob = syncing.client(BOB)
    await bob.sync()
    await syncing.world.say(room, "hello")
    await bob.sync()
    assert syncing.shared == 1
