"""Searching messages.  spec: client-server-api#server-side-search"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import aiohttp
import pytest

from tests.support.client import Client, part
from tests.support.fixtures import StartServer

Answer = dict[str, Any]


async def search(client: Client, term: str, token: str | None = None, **more: Any) -> Answer:
    body = {"search_categories": {"room_events": {"search_term": term, **more}}}
    answer = await client.ok("POST", "/search", body, params={"next_batch": token})
    found: Answer = answer["search_categories"]["room_events"]
    return found


async def found(client: Client, term: str, **more: Any) -> list[str]:
    return [one["result"]["event_id"] for one in (await search(client, term, **more))["results"]]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The quick brown fox", ["quick", "QUICK fox", "bro", "fox the"]),
        ("П’ять ґанків і з’їзд", ["п'ять", "пʼять", "ганків", "Ґанк", "з'їзд"]),  # noqa: RUF001 - Ukrainian
        ("Кафе́ Çedilla naïve straße", ["кафе", "cedilla", "naive", "STRASSE"]),
        ("東京都に行きます", ["東京", "京都", "都", "行きます", "東京都"]),
        ("我喜欢编程", ["喜欢", "编", "编程"]),
        ("오늘 회의가 있습니다", ["회의", "있습니다", "회의가"]),
        ("release-2.5.1 of foo_bar", ["release", "2.5.1", "bar", "foo_bar"]),
    ],
)
async def test_words_of_many_languages(alice: Client, text: str, terms: list[str]) -> None:
    """element-hq/synapse#901: texts without spaces are found too."""
    room = await alice.create_room()
    sent = await alice.send(room, text)
    await alice.send(room, "something else, 京 회 喜")
    for term in terms:
        assert await found(alice, term) == [sent], term
    assert await found(alice, "hidden") == []


async def test_a_result_has_what_was_asked_for(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob, name="Kitchen cabinet", topic="Recipes")
    before = [await alice.send(room, f"before {number}") for number in range(3)]
    hit = await bob.send(room, "Grandmother's borscht with beans")
    after = [await alice.send(room, f"after {number}") for number in range(3)]
    context = {"before_limit": 2, "after_limit": 1, "include_profile": True}
    answer = await search(alice, "borsch bean", event_context=context, include_state=True)
    (one,) = answer["results"]
    assert one["result"] == await alice.event(room, hit)
    assert one["rank"] > 0 and answer["count"] == 1
    assert {"borscht", "beans"} <= set(answer["highlights"])
    around = one["context"]
    assert [event["event_id"] for event in around["events_before"]] == before[:0:-1]
    assert [event["event_id"] for event in around["events_after"]] == after[:1]
    assert around["profile_info"].keys() == {alice.user_id, bob.user_id}
    older = await alice.ok("GET", f"/rooms/{part(room)}/messages", params={"dir": "b", "from": around["start"]})
    assert older["chunk"][0]["event_id"] == before[0], "the token goes on where the context ended"
    assert {event["type"] for event in answer["state"][room]} >= {"m.room.name", "m.room.member"}
    assert "next_batch" not in answer


async def test_names_and_topics_by_key(alice: Client) -> None:
    room = await alice.create_room(name="Winter garden", topic="Garden of summer")
    sent = await alice.send(room, "the garden")
    everything = await search(alice, "garden", order_by="recent")
    assert [one["result"]["type"] for one in everything["results"]] == ["m.room.message", "m.room.topic", "m.room.name"]
    assert await found(alice, "garden", keys=["content.body"]) == [sent]
    (name,) = (await search(alice, "garden", keys=["content.name"]))["results"]
    assert name["result"]["content"]["name"] == "Winter garden"
    (topic,) = (await search(alice, "summer", keys=["content.topic"]))["results"]
    assert topic["result"]["room_id"] == room


async def test_pages_and_groups(alice: Client, bob: Client) -> None:
    rooms = [await alice.shared_room(bob) for _ in range(2)]
    sent = [await (alice, bob)[number % 2].send(rooms[number % 2], f"apple {number}") for number in range(25)]
    for order in ("recent", "rank"):
        pages: list[str] = []
        token: str | None = None
        while True:
            answer = await search(
                alice,
                "apple",
                token,
                order_by=order,
                filter={"limit": 10},
                groupings={"group_by": [{"key": "room_id"}, {"key": "sender"}]},
            )
            ids = [one["result"]["event_id"] for one in answer["results"]]
            for key in ("room_id", "sender"):
                assert {one for group in answer["groups"][key].values() for one in group["results"]} == set(ids)
            pages += ids
            if token is None:
                first = answer
                await bob.send(rooms[1], "a pineapple is another word")
            if (token := answer.get("next_batch")) is None:
                break
        assert sorted(pages) == sorted(sent), order
        if order == "recent":
            assert pages == sent[::-1]
        of_bob = first["groups"]["sender"][bob.user_id]
        rest = await search(alice, "apple", of_bob["next_batch"], order_by=order, filter={"limit": 50})
        more = [one["result"]["event_id"] for one in rest["results"]]
        assert sorted(of_bob["results"] + more) == sorted(sent[1::2]), order


async def test_filters(alice: Client, bob: Client) -> None:
    rooms = [await alice.shared_room(bob) for _ in range(2)]
    mine, yours = await alice.send(rooms[0], "a plum"), await bob.send(rooms[1], "a plum")
    assert await found(alice, "plum", filter={"rooms": [rooms[0]]}) == [mine]
    assert await found(alice, "plum", filter={"not_rooms": [rooms[0]]}) == [yours]
    assert await found(alice, "plum", filter={"senders": [bob.user_id]}) == [yours]
    assert await found(alice, "plum", filter={"rooms": ["!elsewhere:hromada.test"]}) == []


async def test_only_what_the_searcher_may_see(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.create_room(preset="private_chat")
    visibility = f"/rooms/{part(room)}/state/m.room.history_visibility"
    await alice.ok("PUT", visibility, {"history_visibility": "joined"})
    await alice.send(room, "secret before bob")
    await alice.ok("POST", f"/rooms/{part(room)}/invite", {"user_id": bob.user_id})
    assert await found(bob, "secret") == [], "an invite shows nothing"
    await bob.join(room)
    seen = await alice.send(room, "secret while bob is here")
    await bob.ok("POST", f"/rooms/{part(room)}/leave", {})
    await alice.send(room, "secret after bob")
    assert await found(bob, "secret") == [seen], "those who left find what they had seen"
    assert (await search(bob, "secret"))["count"] == 1, "what is hidden is not even counted"
    assert await found(carol, "secret") == []
    await bob.ok("POST", f"/rooms/{part(room)}/forget", {})
    assert await found(bob, "secret") == []
    assert len(await found(alice, "secret")) == 3


async def test_redacted_and_ignored_is_not_found(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    gone = await bob.send(room, "a regrettable word")
    kept = await bob.send(room, "another regrettable word")
    assert await found(alice, "regrettable", order_by="recent") == [kept, gone]
    await bob.redact(room, gone)
    assert await found(alice, "regrettable") == [kept]
    assert (await search(alice, "regrettable"))["count"] == 1, "it is out of the index, too"
    path = f"/user/{part(alice.user_id)}/account_data/m.ignored_user_list"
    await alice.ok("PUT", path, {"ignored_users": {bob.user_id: {}}})
    assert await found(alice, "regrettable") == []


async def test_an_edit_is_found_as_the_message_that_it_edits(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    sent = await alice.send(room, "the meeting is on mondai")
    relation = {"rel_type": "m.replace", "event_id": sent}
    new = {"msgtype": "m.text", "body": "the meeting is on Monday"}
    edit = await alice.send(
        room, {"msgtype": "m.text", "body": "* edited", "m.new_content": new, "m.relates_to": relation}
    )
    answer = await search(bob, "meeting Monday")
    (one,) = answer["results"]
    assert one["result"]["event_id"] == sent
    assert one["result"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit
    assert await found(bob, "edited") == [], "the fall-back text is nobody's"
    forged = {"rel_type": "m.replace", "event_id": sent}
    await bob.send(
        room, {"msgtype": "m.text", "body": "*", "m.new_content": {"body": "forgery"}, "m.relates_to": forged}
    )
    assert await found(alice, "forgery") == []


async def test_encrypted_messages_are_not_searched(alice: Client) -> None:
    room = await alice.create_room()
    content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "borscht", "body": "borscht", "session_id": "s"}
    await alice.ok("PUT", f"/rooms/{part(room)}/send/m.room.encrypted/1", content)
    assert await found(alice, "borscht") == []


async def test_what_holds_no_word_finds_nothing(alice: Client) -> None:
    room = await alice.create_room()
    await alice.send(room, "'; DROP TABLE events; -- \" * NEAR ( AND OR NOT )")
    for term in ("", "   ", "!?…", "\0", "🎉"):
        assert (await search(alice, term))["results"] == []
    for term in ('"', 'drop" OR 1', "NOT", "near(a b)", "drop & table | !x:*", "table'); --"):
        await search(alice, term)  # nothing of it is syntax
    assert await found(alice, "NOT near AND") != []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"search_categories": {"room_events": {}}},
        {"search_categories": {"room_events": {"search_term": "a" * 257}}},
        {"search_categories": {"room_events": {"search_term": "a", "keys": ["content.secret"]}}},
        {"search_categories": {"room_events": {"search_term": "a", "order_by": "luck"}}},
        {"search_categories": {"room_events": {"search_term": "a", "event_context": {"before_limit": -1}}}},
        {"search_categories": {"room_events": {"search_term": "a", "groupings": {"group_by": [{"key": "mood"}]}}}},
        {"search_categories": {"room_events": {"search_term": "a", "filter": {"limit": "many"}}}},
    ],
)
async def test_bad_bodies(alice: Client, body: Answer) -> None:
    reply = await alice.request("POST", "/search", body)
    assert reply.status == 400 and reply.body["errcode"].startswith("M_")


@pytest.mark.parametrize("token", ["x", "!!!", "WyJhIl0", "WzEsMiwzXQ", "A" * 2000, "WzEsLTFd"])
async def test_foreign_tokens(alice: Client, token: str) -> None:
    body = {"search_categories": {"room_events": {"search_term": "a"}}}
    reply = await alice.request("POST", "/search", body, params={"next_batch": token})
    assert reply.status == 400 and reply.body["errcode"] == "M_INVALID_PARAM"


async def test_nothing_asked_for_is_nothing_found(alice: Client) -> None:
    assert await alice.ok("POST", "/search", {"search_categories": {}}) == {"search_categories": {}}


async def test_many_rooms(alice: Client) -> None:
    """More than the index is asked to tell apart."""
    rooms = [await alice.create_room() for _ in range(70)]
    sent = {await alice.send(room, "everywhere") for room in rooms[::7]}
    assert set(await found(alice, "everywhere")) == sent


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_the_index_is_made_anew(start_server: StartServer, http: aiohttp.ClientSession, database: str) -> None:
    server = start_server(database, environment={"HROMADA_SEARCH_MESSAGES": "off"})
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room(name="Cellar")
    sent = await alice.send(room, "potatoes")
    gone = await alice.send(room, "rotten potatoes")
    await alice.redact(room, gone)
    body = {"search_categories": {"room_events": {"search_term": "potatoes"}}}
    (await alice.request("POST", "/search", body)).error(404, "M_UNRECOGNIZED")
    server.options.environment["HROMADA_SEARCH_MESSAGES"] = "on"
    server.stop()
    server.start()
    alice.base_url = server.url
    assert await found(alice, "potatoes") == []
    command = [sys.executable, "-m", "homeserver", "search", "rebuild", "--data-dir", str(server.data_dir)]
    command += ["--server-name", server.name]
    command += ["--database-url", server.options.database_url] if server.options.database_url else []
    for _ in range(2):
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, "Indexed 3 events\n"), done.stderr
        assert await found(alice, "potatoes") == [sent]
