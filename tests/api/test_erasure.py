"""Erased accounts: those who had seen their events still do, to everybody who comes later they are redacted.

spec: client-server-api#account-deactivation
"""

from __future__ import annotations

import json

import pytest

from tests.api.test_auth_abuse import challenge, proof
from tests.support.client import Client, Json, part, rooms, timeline
from tests.support.fixtures import MakeUser

SECRET = "what carol said"
NAME = "Carol the talkative"
THREAD = "in the thread of carol"


async def erase(user: Client, *, erase: bool = True) -> None:
    """Deactivate an account."""
    session = await challenge(user, "POST", "/account/deactivate", {"erase": erase})
    await user.ok("POST", "/account/deactivate", {"auth": proof(user, session), "erase": erase})


async def talk(alice: Client, carol: Client, **options: object) -> tuple[str, dict[str, str]]:
    """A room in which carol has left something of every kind."""
    await carol.ok("PUT", f"/profile/{part(carol.user_id)}/displayname", {"displayname": NAME})
    room = await alice.shared_room(carol, **options)
    await alice.ok("PUT", f"/rooms/{part(room)}/state/m.room.power_levels/", await levels(alice, room, carol))
    said = {"text": await carol.send(room, SECRET)}
    root = await alice.send(room, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    said["reply"] = await carol.send(room, {"msgtype": "m.text", "body": THREAD, "m.relates_to": relation})
    said["root"] = root
    said["state"] = await carol.set_state(room, "org.example.place", {"where": SECRET})
    said["topic"] = await carol.set_state(room, "m.room.topic", {"topic": "the room's topic"})
    said["reason"] = await carol.redact(room, await carol.send(room, "oops"), reason=SECRET)
    said["successor"] = await alice.set_state(room, "org.example.place", {"where": "elsewhere"})
    return room, said


async def levels(alice: Client, room: str, carol: Client) -> Json:
    """The room's power levels with carol as a moderator."""
    content: Json = await alice.state(room, "m.room.power_levels")
    return {**content, "users": {**content.get("users", {}), carol.user_id: 50}}


async def everything(reader: Client, room: str, said: dict[str, str]) -> str:
    """All that a reader can get of a room, as one text."""
    got = [await reader.sync(), await reader.full_state(room), await reader.history(room)]
    got.append(await reader.ok("GET", f"/rooms/{part(room)}/members"))
    for event_id in said.values():
        got.append(await reader.event(room, event_id))
        got.append(await reader.ok("GET", f"/rooms/{part(room)}/context/{part(event_id)}"))
        path = f"/_matrix/client/v1/rooms/{part(room)}/relations/{part(event_id)}"
        got.append(await reader.ok("GET", path))
    got.append(await reader.ok("GET", f"/_matrix/client/v1/rooms/{part(room)}/threads"))
    return json.dumps(got)


async def test_who_comes_later_sees_an_erased_account_redacted(alice: Client, bob: Client, make_user: MakeUser) -> None:
    carol = await make_user("carol")
    room, said = await talk(alice, carol)
    since = (await alice.sync())["next_batch"]
    await erase(carol)
    await bob.join(room)
    later = await everything(bob, room, said)
    for text in (SECRET, THREAD, NAME):
        assert text not in later, f"{text} is shown to somebody who came later"
    # What rooms work by stays, and so does that there was something, and what was redacted.
    assert (await bob.state(room, "m.room.topic")) == {"topic": "the room's topic"}
    assert (await bob.event(room, said["text"]))["content"] == {}
    redaction = await bob.event(room, said["reason"])
    assert redaction["content"].keys() == {"redacts"}
    assert redaction["redacts"] == redaction["content"]["redacts"]
    before = await everything(alice, room, said)
    for text in (SECRET, THREAD, NAME):
        assert text in before, f"{text} is hidden from somebody who had seen it"
    assert SECRET not in json.dumps(await alice.sync(since=since)), "nobody is sent it again"


async def test_coming_back_does_not_hide_what_was_seen_before(alice: Client, bob: Client, make_user: MakeUser) -> None:
    carol = await make_user("carol")
    room, said = await talk(alice, carol)
    await bob.join(room)
    await bob.member(room, "leave")
    await erase(carol)
    await bob.join(room)
    assert (await bob.event(room, said["text"]))["content"]["body"] == SECRET


@pytest.mark.parametrize("erased", [True, False])
async def test_only_the_erased_are_redacted(alice: Client, bob: Client, make_user: MakeUser, erased: bool) -> None:
    carol = await make_user("carol")
    room, said = await talk(alice, carol)
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    await erase(carol, erase=erased)
    await bob.join(room)
    shown = timeline(rooms(await bob.sync(filter={"room": {"timeline": {"limit": 100}}}), "join")[room])
    told = {event["event_id"]: event["content"] for event in shown}
    assert told[said["text"]] == ({} if erased else {"msgtype": "m.text", "body": SECRET})
    assert told[said["root"]]["body"] == "root"


async def test_nothing_is_left_of_an_account_but_its_events(alice: Client, make_user: MakeUser) -> None:
    carol = await make_user("carol")
    await talk(alice, carol)
    await carol.ok("PUT", f"/user/{part(carol.user_id)}/account_data/org.example.note", {"note": SECRET})
    await erase(carol)
    profile = await alice.request("GET", f"/profile/{part(carol.user_id)}")
    assert NAME not in str(profile)
    found = await alice.ok("POST", "/user_directory/search", {"search_term": NAME})
    assert carol.user_id not in json.dumps(found)
