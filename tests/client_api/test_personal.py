"""Push rules, receipts, typing, tags, presence: the endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from homeserver.ports.log import AccountDataEntry
from homeserver.services.personal.pushrules import PUSH_RULES, push_rules_content
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, make_event, make_room, message
from tests.support.accounts import Home, running
from tests.support.asgi import Answer

ALICE, BOB = "@alice:hromada.test", "@bob:hromada.test"
ROOM = "!room:hromada.test"
RULES = "/pushrules/global"


@dataclass
class Phone:
    """The device of a user."""

    home: Home
    token: str

    async def call(self, method: str, path: str, body: Any = None) -> Answer:
        return await self.home.call(method, path, body, token=self.token)

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        return await self.home.ok(method, path, body, token=self.token)

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        answer = await self.call(method, path, body)
        return answer.status, answer.json.get("errcode")


@pytest.fixture
async def home(store: Database) -> AsyncIterator[Home]:
    async with running(Home(store)) as home:
        yield home


@pytest.fixture
async def alice(home: Home) -> Phone:
    return Phone(home, (await home.register("alice"))["access_token"])


@pytest.fixture
async def bob(home: Home) -> Phone:
    return Phone(home, (await home.register("bob"))["access_token"])


@pytest.fixture
async def events(store: Database) -> list[str]:
    """Two messages in a room that Alice is in, and Bob is not."""
    sent = [message(ROOM), message(ROOM)]
    await commit(store, decide(await make_room(store, ROOM), *sent))
    return [event.event_id for event in sent]


async def rule_ids(phone: Phone, kind: str) -> list[str]:
    return [rule["rule_id"] for rule in (await phone.ok("GET", f"{RULES}/"))[kind]]


# --- push rules ---


async def test_everybody_has_the_defaults(alice: Phone) -> None:
    rules = await alice.ok("GET", "/pushrules/")
    assert list(rules) == ["global"]
    assert rules["global"] == await alice.ok("GET", f"{RULES}/")
    assert {kind: len(of_kind) for kind, of_kind in rules["global"].items()} == {
        "override": 10,
        "content": 0,
        "room": 0,
        "sender": 0,
        "underride": 5,
    }
    assert orjson.loads(push_rules_content(ALICE, None)) == rules
    assert await alice.ok("GET", f"/user/{ALICE}/account_data/m.push_rules") == rules


async def test_a_rule_lives(alice: Phone, bob: Phone) -> None:
    path = f"{RULES}/content/cake"
    assert await alice.refused("GET", path) == (404, "M_NOT_FOUND")
    await alice.ok("PUT", path, {"pattern": "cake*lie", "actions": ["notify"]})
    rule = {"rule_id": "cake", "default": False, "enabled": True, "actions": ["notify"], "pattern": "cake*lie"}
    assert await alice.ok("GET", path) == rule
    await alice.ok("PUT", f"{path}/enabled", {"enabled": False})
    assert await alice.ok("GET", f"{path}/enabled") == {"enabled": False}
    await alice.ok("PUT", f"{path}/actions", {"actions": [{"set_tweak": "highlight"}]})
    assert await alice.ok("GET", f"{path}/actions") == {"actions": [{"set_tweak": "highlight"}]}
    assert await bob.refused("GET", path) == (404, "M_NOT_FOUND")
    await alice.ok("DELETE", path)
    for method, below, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/enabled", None),
        ("PUT", "/enabled", {"enabled": True}),
        ("GET", "/actions", None),
        ("PUT", "/actions", {"actions": []}),
    ):
        assert await alice.refused(method, path + below, body) == (404, "M_NOT_FOUND")


async def test_places(alice: Phone) -> None:
    for name, place in (("a", ""), ("b", ""), ("c", "?after=b"), ("d", "?before=b"), ("e", "?before=a&after=d")):
        await alice.ok("PUT", f"{RULES}/sender/{name}{place}", {"actions": []})
    assert await rule_ids(alice, "sender") == ["d", "b", "c", "e", "a"]
    for place in ("?before=x", "?after=x", "?after="):
        assert await alice.refused("PUT", f"{RULES}/sender/a{place}", {"actions": []}) == (400, "M_UNKNOWN")


async def test_rule_ids_are_whatever_is_quoted(alice: Phone) -> None:
    path = f"{RULES}/room/{quote(ROOM, safe='')}"
    await alice.ok("PUT", path, {"actions": []})
    assert (await alice.ok("GET", path))["rule_id"] == ROOM
    for bad in ("a%2Fb", "a%5Cb", ".m.rule.own", "x" * 301):
        assert await alice.refused("PUT", f"{RULES}/room/{bad}", {"actions": []}) == (400, "M_INVALID_PARAM")
    assert await alice.refused("PUT", f"{RULES}/other/a", {"actions": []}) == (400, "M_INVALID_PARAM")
    assert await alice.refused("PUT", f"{RULES}/room/a", {}) == (400, "M_MISSING_PARAM")
    too_long = {"actions": [{"set_tweak": "sound", "value": "x" * 1_024}]}
    assert await alice.refused("PUT", f"{RULES}/room/a", too_long) == (413, "M_TOO_LARGE")
    assert await alice.refused("PUT", f"{path}/actions", too_long) == (413, "M_TOO_LARGE")
    assert await alice.refused("PUT", f"{path}/enabled", {"enabled": 1}) == (400, "M_BAD_JSON")


async def test_changes_are_shown_by_sync(alice: Phone, home: Home) -> None:
    start = home.log.position
    await alice.ok("PUT", f"{RULES}/override/.m.rule.master/enabled", {"enabled": True})
    await alice.ok("PUT", f"{RULES}/override/.m.rule.master/enabled", {"enabled": True})
    (entry,) = home.log.since(start) or []
    assert isinstance(entry, AccountDataEntry) and (entry.data.user_id, entry.data.room_id) == (ALICE, None)
    assert entry.data.type == PUSH_RULES
    assert orjson.loads(entry.data.content) == await alice.ok("GET", "/pushrules/")
    assert await alice.ok("GET", f"/user/{ALICE}/account_data/m.push_rules") == await alice.ok("GET", "/pushrules/")
    assert await alice.refused("PUT", f"/user/{ALICE}/account_data/m.push_rules", {}) == (405, "M_BAD_JSON")


async def test_concurrent_rules_are_all_kept(alice: Phone) -> None:
    await asyncio.gather(*(alice.ok("PUT", f"{RULES}/room/{number}", {"actions": []}) for number in range(20)))
    assert sorted(map(int, await rule_ids(alice, "room"))) == list(range(20))


# --- receipts and read markers ---


async def test_receipts(alice: Phone, bob: Phone, events: list[str], store: Database) -> None:
    path = f"/rooms/{ROOM}/receipt"
    await alice.ok("POST", f"{path}/m.read/{events[1]}")
    await alice.ok("POST", f"{path}/m.read/{events[0]}", {"thread_id": "main"})
    await alice.ok("POST", f"{path}/m.read.private/{events[0]}")
    await alice.ok("POST", f"{path}/m.fully_read/{events[0]}")
    async with store.read() as tx:
        nid = (await tx.rooms.room_nids([ROOM]))[ROOM]
        assert await tx.receipts.get(nid, ALICE, "m.read", None) == events[1]
        assert await tx.receipts.get(nid, ALICE, "m.read", "main") == events[0]
        assert await tx.receipts.get(nid, ALICE, "m.read.private", None) == events[0]
    for thread_id in ("", None, 1, {}):
        status, _ = await alice.refused("POST", f"{path}/m.read/{events[0]}", {"thread_id": thread_id})
        assert status == 400
    with_thread = {"thread_id": "main"}
    assert await alice.refused("POST", f"{path}/m.fully_read/{events[0]}", with_thread) == (400, "M_INVALID_PARAM")
    assert await alice.refused("POST", f"{path}/m.other/{events[0]}") == (400, "M_INVALID_PARAM")
    assert await alice.refused("POST", f"{path}/m.read/$unknown") == (404, "M_NOT_FOUND")
    assert await bob.refused("POST", f"{path}/m.read/{events[0]}") == (403, "M_FORBIDDEN")
    unknown = await bob.call("POST", f"/rooms/!unknown/receipt/m.read/{events[0]}")
    assert unknown.body == (await bob.call("POST", f"{path}/m.read/{events[0]}")).body


async def test_read_markers(alice: Phone, bob: Phone, events: list[str]) -> None:
    path, data = f"/rooms/{ROOM}/read_markers", f"/user/{ALICE}/rooms/{ROOM}/account_data/m.fully_read"
    await alice.ok("POST", path, {})
    assert (await alice.call("GET", data)).status == 404
    await alice.ok("POST", path, {"m.fully_read": events[0], "m.read": events[1], "m.read.private": events[1]})
    assert await alice.ok("GET", data) == {"event_id": events[0]}
    await alice.ok("POST", path, {"m.fully_read": events[1]})
    await alice.ok("POST", path, {"m.fully_read": events[0]})
    assert await alice.ok("GET", data) == {"event_id": events[1]}
    assert await alice.refused("POST", path, {"m.read": 1}) == (400, "M_BAD_JSON")
    assert await bob.refused("POST", path, {"m.read": events[0]}) == (403, "M_FORBIDDEN")


# --- typing, tags, presence, calls ---


async def test_typing(alice: Phone, bob: Phone, events: list[str], home: Home) -> None:
    path = f"/rooms/{ROOM}/typing/{ALICE}"
    await alice.ok("PUT", path, {"typing": True, "timeout": 30_000})
    assert home.personal.typing.users(ROOM) == [ALICE]
    await alice.ok("PUT", path, {"typing": False})
    assert home.personal.typing.users(ROOM) == []
    assert await alice.refused("PUT", path, {}) == (400, "M_MISSING_PARAM")
    assert await bob.refused("PUT", path, {"typing": True}) == (403, "M_FORBIDDEN")
    assert await bob.refused("PUT", f"/rooms/{ROOM}/typing/{BOB}", {"typing": True}) == (403, "M_FORBIDDEN")


async def test_tags(alice: Phone, bob: Phone, home: Home) -> None:
    path = f"/user/{ALICE}/rooms/{ROOM}/tags"
    assert await alice.ok("GET", path) == {"tags": {}}
    await alice.ok("PUT", f"{path}/m.favourite", {"order": 0.25})
    await alice.ok("PUT", f"{path}/u.work", {"org.example.colour": "red"})
    both = {"tags": {"m.favourite": {"order": 0.25}, "u.work": {"org.example.colour": "red"}}}
    assert await alice.ok("GET", path) == both
    assert await alice.ok("GET", f"/user/{ALICE}/rooms/{ROOM}/account_data/m.tag") == both
    await alice.ok("DELETE", f"{path}/m.favourite")
    position = home.log.position
    await alice.ok("DELETE", f"{path}/m.favourite")
    assert home.log.position == position
    assert list((await alice.ok("GET", path))["tags"]) == ["u.work"]
    for order in (-0.1, 1.1, "0.5", True, None):
        assert await alice.refused("PUT", f"{path}/u.x", {"order": order}) == (400, "M_INVALID_PARAM")
    assert await alice.refused("PUT", f"{path}/{'x' * 256}", {}) == (400, "M_INVALID_PARAM")
    assert await alice.refused("PUT", f"{path}/u.x", {"x": "y" * 70_000}) == (413, "M_TOO_LARGE")
    for method in ("GET", "PUT", "DELETE"):
        target = path if method == "GET" else f"{path}/u.work"
        assert await bob.refused(method, target) == (403, "M_FORBIDDEN")


async def test_tags_survive_a_client_that_writes_them_as_account_data(alice: Phone) -> None:
    await alice.ok("PUT", f"/user/{ALICE}/rooms/{ROOM}/account_data/m.tag", {"tags": 1})
    await alice.ok("PUT", f"/user/{ALICE}/rooms/{ROOM}/tags/u.x", {})
    assert await alice.ok("GET", f"/user/{ALICE}/rooms/{ROOM}/tags") == {"tags": {"u.x": {}}}


async def test_presence(alice: Phone, bob: Phone, store: Database) -> None:
    path = f"/presence/{ALICE}/status"
    await alice.ok("PUT", path, {"presence": "online", "status_msg": "Tea"})
    assert await bob.refused("GET", path) == (403, "M_FORBIDDEN")
    assert await bob.refused("PUT", path, {"presence": "offline"}) == (403, "M_FORBIDDEN")
    assert await alice.refused("PUT", path, {"presence": "busy"}) == (400, "M_BAD_JSON")
    assert await alice.refused("GET", "/presence/alice/status") == (400, "M_INVALID_PARAM")
    bob_joins = make_event(ROOM, "m.room.member", {"membership": "join"}, state_key=BOB, sender=BOB)
    await commit(store, decide(await make_room(store, ROOM), bob_joins))
    fresh = Home(store)
    await fresh.personal.members.require_joined(ROOM, BOB)
    assert await fresh.personal.members.share_a_room(ALICE, BOB)
    assert not await fresh.personal.members.share_a_room("@carol:hromada.test", BOB)
    shown = await alice.ok("GET", path)
    assert shown == {"presence": "online", "currently_active": True, "last_active_ago": 0, "status_msg": "Tea"}


async def test_no_turn_server(alice: Phone) -> None:
    assert await alice.ok("GET", "/voip/turnServer") == {}
