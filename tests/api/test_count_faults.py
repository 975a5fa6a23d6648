"""Faults of other servers with unread counts and push rules, which this one must not have.

docs/subsystems/known-faults.md says which test shows which; those that are not here are in the tests of each subject.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.test_notifications import ids, listed
from tests.api.test_unread import counts, fresh, read
from tests.support.client import Client, part
from tests.support.stream import streaming

TEXT = {"msgtype": "m.text", "body": "hello"}
CHEESE = {"pattern": "cheese", "actions": ["notify", {"set_tweak": "highlight"}]}


async def test_reading_as_the_very_first_act(alice: Client, bob: Client) -> None:
    """element-hq/synapse#19785: a receipt that came before the first summary was lost."""
    room = await alice.create_room(preset="public_chat")
    await alice.send(room, "before")
    await bob.join(room)
    first = await alice.send(room, "hello")
    await read(bob, room, first)
    assert await fresh(bob, room) == (0, 0)
    for number in range(1, 4):
        await alice.send(room, {**TEXT, "m.mentions": {"user_ids": [bob.user_id]}})
        assert await fresh(bob, room) == (number, number)


@pytest.mark.parametrize("way", ["leave", "kick", "ban", "forget"])
async def test_rooms_that_were_left_count_nothing(alice: Client, bob: Client, way: str) -> None:
    """matrix-org/synapse#16904, #16954."""
    room, other = await alice.shared_room(bob), await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    for name in (room, other):
        await alice.send(name, {**TEXT, "m.mentions": {"user_ids": [bob.user_id]}})
    if way in ("kick", "ban"):
        (await alice.member(room, way, bob.user_id)).ok()
    else:
        (await bob.member(room, "leave")).ok()
    if way == "forget":
        (await bob.member(room, "forget")).ok()
    answer = await bob.sync(since)
    assert room not in answer["rooms"]["join"] and counts(answer, other) == (1, 1)
    assert {one["room_id"] for one in await listed(bob)} == {other}
    await alice.send(room, TEXT)
    if way == "ban":
        (await alice.member(room, "unban", bob.user_id)).ok()
    await bob.join(room)
    assert await fresh(bob, room) == (0, 0), "a rejoin begins at nothing"


async def test_each_redaction_is_counted_in_its_answer(alice: Client, bob: Client) -> None:
    """matrix-org/synapse#15698: after five redactions one to five messages stayed unread."""
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    for _ in range(4):
        events = [await alice.send(room, TEXT) for _ in range(5)]
        answer = await bob.sync(since)
        assert counts(answer, room) == (5, 0)
        for left, event in zip(range(4, -1, -1), events, strict=True):
            await alice.redact(room, event)
            answer = await bob.sync(answer["next_batch"])
            assert counts(answer, room) == (left, 0)
        since = answer["next_batch"]


async def test_mute_and_master_between_messages(alice: Client, bob: Client) -> None:
    """matrix-org/synapse#1115: as documented, counts are made anew by the rules as they are now."""
    room = await alice.shared_room(bob)
    rule, master = f"/pushrules/global/room/{part(room)}", "/pushrules/global/override/.m.rule.master/enabled"
    mention = {**TEXT, "m.mentions": {"user_ids": [bob.user_id]}}
    await alice.send(room, TEXT)
    await bob.ok("PUT", rule, {"actions": []})
    assert await fresh(bob, room) == (0, 0)
    await alice.send(room, mention)
    assert await fresh(bob, room) == (1, 1), "a mention is heard in a muted room"
    await bob.ok("PUT", master, {"enabled": True})
    assert await fresh(bob, room) == (0, 0)
    await alice.send(room, mention)
    assert await fresh(bob, room) == (0, 0)
    await bob.ok("PUT", master, {"enabled": False})
    assert await fresh(bob, room) == (2, 2)
    await bob.ok("DELETE", rule)
    assert await fresh(bob, room) == (3, 2)


async def test_the_number_of_members_is_that_of_the_joined(alice: Client, bob: Client, carol: Client) -> None:
    """matrix-org/dendrite#2894."""
    room = await alice.shared_room(bob)

    async def sounds() -> bool:
        for sender, reader in ((alice, bob), (bob, alice)):
            await sender.send(room, TEXT)
            told = (await listed(reader))[0]["actions"]
            assert {"set_tweak": "sound", "value": "default"} in told or told == ["notify"]
        return told != ["notify"]

    assert await sounds()
    (await alice.member(room, "invite", carol.user_id)).ok()
    assert await sounds(), "who is invited is not there yet"
    await carol.join(room)
    assert not await sounds()
    (await carol.member(room, "leave")).ok()
    assert await sounds()


async def test_rules_are_shown_as_the_specification_says(alice: Client) -> None:
    """element-hq/synapse#15780: an internal field stood in the place of the user's id."""
    rules = await alice.ok("GET", "/pushrules/global/")
    async with streaming(alice, full_state=False) as stream:
        answers = [await alice.sync(), await stream.update()]
    for answer in answers:
        (told,) = [event for event in answer["account_data"]["events"] if event["type"] == "m.push_rules"]
        assert told["content"]["global"] == rules
    (mine,) = [rule for rule in rules["override"] if rule["rule_id"] == ".m.rule.is_user_mention"]
    assert mine["conditions"][0]["value"] == alice.user_id
    for kind in rules.values():
        for rule in kind:
            assert rule.keys() <= {"rule_id", "default", "enabled", "conditions", "actions", "pattern"}
            for condition in rule.get("conditions", ()):
                assert condition.keys() <= {"kind", "key", "pattern", "value", "is"}


async def test_unknown_conditions_match_nothing_and_stay(alice: Client, bob: Client) -> None:
    """matrix-org/synapse#13838."""
    room = await alice.shared_room(bob)
    conditions: list[dict[str, Any]] = [
        {"kind": "org.example.moon", "phase": ["full", {"of": 1}]},
        {"kind": "event_match", "key": "content.body"},
        {"kind": "event_match", "key": 5, "pattern": "*"},
        {"kind": "room_member_count", "is": "many"},
        {"kind": "event_property_is", "key": "content.body"},
    ]
    for number, condition in enumerate(conditions):
        path = f"/pushrules/global/override/odd{number}"
        await bob.ok("PUT", path, {"conditions": [condition], "actions": ["notify", {"set_tweak": "highlight"}]})
        assert (await bob.ok("GET", path))["conditions"] == [condition]
    await alice.send(room, TEXT)
    assert await fresh(bob, room) == (1, 0)


async def test_odd_contents_count_by_plain_rules(alice: Client, bob: Client) -> None:
    """matrix-org/synapse#7701, #8965: a body that is no string stopped the evaluation."""
    room = await alice.shared_room(bob)
    await bob.ok("PUT", "/pushrules/global/content/cheese", CHEESE)
    await bob.ok("PUT", f"/profile/{part(bob.user_id)}/displayname", {"displayname": "Bob"})
    odd: list[dict[str, Any]] = [
        {},
        {"msgtype": "m.text"},
        {"msgtype": "m.text", "body": 5},
        {"msgtype": "m.text", "body": None, "format": [], "formatted_body": {}},
        {"msgtype": "m.image", "body": "x"},
        {"msgtype": "m.image", "body": {"cheese": 1}, "url": ["mxc://"], "info": 7},
        {"msgtype": 7, "body": ["cheese"]},
        {**TEXT, "m.mentions": "everybody"},
        {**TEXT, "m.mentions": {"user_ids": {"a": 1}, "room": "yes"}},
        {**TEXT, "m.relates_to": ["m.thread"]},
    ]
    events = []
    for number, content in enumerate(odd, 1):
        events.append(await alice.send(room, content))
        assert (await fresh(bob, room)) == (number, 0), content
    assert ids(await listed(bob)) == events[::-1]
    await alice.send(room, {"msgtype": "m.text", "body": "about cheese"})
    assert (await fresh(bob, room)) == (len(odd) + 1, 1)


async def test_rules_changed_at_once(alice: Client) -> None:
    """matrix-org/synapse#16053: parallel deletions of one rule stopped the process."""
    path = "/pushrules/global/content/cheese"
    since = (await alice.sync())["next_batch"]

    async def change(number: int) -> None:
        if number % 2:
            body = {"pattern": f"cheese{number}", "actions": ["notify"]}
            (await alice.request("PUT", path, body)).ok()
        else:
            assert (await alice.request("DELETE", path)).status in (200, 404)

    await asyncio.gather(*(change(number) for number in range(20)))
    rules = (await alice.ok("GET", "/pushrules/global/"))["content"]
    found = [rule["pattern"] for rule in rules if rule["rule_id"] == "cheese"]
    assert found in ([], *([f"cheese{number}"] for number in range(1, 20, 2)))
    told = [event for event in (await alice.sync(since))["account_data"]["events"] if event["type"] == "m.push_rules"]
    assert len(told) == 1 and told[0]["content"]["global"]["content"] == rules
