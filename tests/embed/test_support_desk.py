"""What staff says on the desk: every command, what it answers to nonsense, and what the visitor gets of it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from homeserver.services.support.commands import HELP
from tests.embed.support_chat import Agent, Frame, Json, new_site, site_command
from tests.embed.test_support_identity import claims, keyed, signed
from tests.support.admin import OWN, administrator
from tests.support.client import Client, becomes, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("web_build")
ORIGIN = "https://shop.example"


async def answered(agent: Agent, desk: str, words: str) -> Json:
    """Wait for the bot's words on the desk."""

    def find() -> Json | None:
        for event in agent.events[desk]:
            if event["type"] == "m.room.message" and words in event["content"].get("body", ""):
                return event if event["sender"].startswith("@support-") else None
        return None

    return dict(await agent.until(find, f"an answer with {words!r}"))


# long: one desk serves all commands, as making it takes most of the time
async def test_every_command_of_the_desk(server: Server, http: aiohttp.ClientSession, make_user: MakeUser) -> None:
    agent, colleague = Agent(await make_user("agent")), await make_user("colleague")
    me, name = (each.user_id[1:].partition(":")[0] for each in (agent.client, colleague))
    canned = {"hello": "Hello! One moment, please."}
    template = {
        "name": "{site} {number} {name}",
        "power_levels": {"kick": 100},
        "initial_state": [{"type": "org.example.shelf", "content": {"row": 7}}],
    }
    settings = {"canned": canned, "room_template": template}
    site = new_site(server, [ORIGIN], [agent.client.user_id, colleague.user_id], **settings)
    desk, frame = await agent.join_desk(), Frame(http, server, site)
    await colleague.ok("POST", f"/join/{part(desk)}", {})
    await frame.begin(answers={"name": "Ada"})
    await frame.say("Where is my mug?")
    card = await agent.card(desk, "Where is my mug?")
    # Without a card there is nobody to do something for; help is there everywhere.
    for said, answer in (("!help", HELP), ("!resolve", "Say that in the thread of a card."),
                         ("!canned hello", "Say that in the thread of a card."),
                         ("!canned", "hello: Hello! One moment, please."),
                         ("!dance", "There is no !dance. !help says what there is.")):  # fmt: skip
        await agent.say(desk, said)
        assert (await answered(agent, desk, answer))["content"]["msgtype"] == "m.notice"
    # What cannot be done is answered in the card's thread.
    for said, answer in (("!assign @nobody", "Name one person of the desk"),
                         ("!priority soon", "A priority is one of low"),
                         ("!canned nothing", "There is no canned reply nothing"),
                         ("!canned Bad Name! = x", "name has up to 32 characters")):  # fmt: skip
        await agent.note(desk, card, said)
        relation = (await answered(agent, desk, answer))["content"]["m.relates_to"]
        assert (relation["rel_type"], relation["event_id"]) == ("m.thread", card["card"])
    await agent.note(desk, card, "!take")
    await agent.card(desk, "open, with")
    await agent.note(desk, card, f"!assign @{name}")
    await agent.card(desk, "open, with", name)
    await agent.enter(card)
    levels = await agent.client.ok("GET", f"/rooms/{part(frame.room)}/state/m.room.power_levels")
    assert levels["users"] == {colleague.user_id: 50}  # who had it before is an ordinary member again
    # The room is as the site wants its rooms; a template that would shut visitors out is not taken.
    assert (levels["kick"], levels["invite"]) == (100, 50)
    shelf = await agent.client.ok("GET", f"/rooms/{part(frame.room)}/state/org.example.shelf")
    named = await agent.client.ok("GET", f"/rooms/{part(frame.room)}/state/m.room.name")
    assert (shelf, named) == ({"row": 7}, {"name": "Teren shop 1 Ada"})
    bad = '{"room_template": {"power_levels": {"events": {"m.room.message": 50}}}}'
    assert "not the site's to choose" in site_command(server, "edit", site, "--file", "-", stdin=bad, status=1)
    # Somebody can be named by a mention, too.
    content = {
        "msgtype": "m.text",
        "body": "!assign me",
        "m.mentions": {"user_ids": [agent.client.user_id]},
        "m.relates_to": {"rel_type": "m.thread", "event_id": card["card"]},
    }
    await agent.client.ok("PUT", f"/rooms/{part(desk)}/send/m.room.message/{fresh('n')}", content)
    await agent.card(desk, "open, with", me)
    await _sets_the_ticket(agent, colleague, frame, desk)
    await agent.note(desk, card, "!priority urgent")
    await agent.note(desk, card, "!tag broken post glass")
    await agent.card(desk, "priority urgent", "broken, post, glass")
    await agent.note(desk, card, "!untag post broken")
    await agent.note(desk, card, "!priority normal")

    def plainer() -> bool:
        body = next(each["body"] for each in agent.cards(desk) if each["card"] == card["card"])
        return "glass" in body and "post" not in body and "priority" not in body

    await agent.until(plainer, "a card without what was taken away")
    # Canned replies: of the settings, kept on the desk, forgotten.
    await agent.note(desk, card, "!canned hello")
    await agent.hears(frame.room, "Hello! One moment, please.")
    await agent.note(desk, card, "!canned bye = Good bye!")
    await answered(agent, desk, "Kept bye.")
    await agent.note(desk, card, "!canned bye")
    await agent.hears(frame.room, "Good bye!")
    await agent.note(desk, card, "!canned bye =")
    await answered(agent, desk, "Forgot bye.")
    await agent.note(desk, card, "!canned bye")
    await answered(agent, desk, "There is no canned reply bye")
    for said, shown in (
        ("!hold", "on hold"),
        ("!resolve", "resolved"),
        ("!reopen", "open, with"),
        ("!block", "blocked"),
    ):
        await agent.note(desk, card, said)
        await agent.card(desk, shown)
    path = f"/rooms/{part(frame.room)}/send/m.room.message/{fresh('m')}"
    (await frame.client.request("PUT", path, {"msgtype": "m.text", "body": "let me in"})).error(401, "M_USER_LOCKED")
    # Nothing that was said on the desk has come to the visitor's room, but what was sent there.
    page = await agent.client.ok("GET", f"/rooms/{part(frame.room)}/messages", params={"dir": "b", "limit": 100})
    bodies = [e["content"].get("body") for e in page["chunk"] if e["type"] == "m.room.message"]
    assert sorted(bodies) == ["Good bye!", "Hello! One moment, please.", "Where is my mug?"]


async def _sets_the_ticket(agent: Agent, colleague: Client, frame: Frame, desk: str) -> None:
    """Whoever has the case may write its ticket, too; what is not theirs to say is put right."""
    path = f"/rooms/{part(frame.room)}/state/chat.hromada.support.ticket"
    before = await agent.client.ok("GET", path)
    said = {"status": "pending", "priority": "high", "tags": ["late", 7, "a,b"], "assignee": "@nobody:x", "number": 99}
    (await colleague.request("PUT", path, said)).error(403, "M_FORBIDDEN")
    await agent.client.ok("PUT", path, said)
    await agent.card(desk, "on hold, with", "priority high", "late, ab")
    right = {**before, "status": "pending", "priority": "high", "tags": ["late", "ab"]}
    await becomes(lambda: agent.client.ok("GET", path), right)
    await agent.client.ok("PUT", path, {"status": "open", "priority": ["normal"], "tags": {}, "assignee": [{}]})
    await becomes(lambda: agent.client.ok("GET", path), {**right, "status": "open"})
    await agent.client.ok("PUT", path, {"status": "open", "priority": "normal", "tags": []})
    await becomes(lambda: agent.client.ok("GET", path), before)


async def test_who_leaves_the_desk_leaves_its_cases(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser, anonymous: Client
) -> None:
    agent, gone = Agent(await make_user("agent")), Agent(await make_user("gone"))
    site = new_site(server, [ORIGIN], [agent.client.user_id, gone.client.user_id])
    desk, frame, other = await agent.join_desk(), Frame(http, server, site), Frame(http, server, site)
    await gone.join_desk()
    for each, text in ((frame, "Where is my mug?"), (other, "And my cup?")):
        await each.begin()
        await each.say(text)
    card = await gone.card(desk, "Where is my mug?")
    await gone.react(desk, card, "🙋")
    await agent.card(desk, "Where is my mug?", "open, with")
    await gone.enter(card)
    await gone.enter(await gone.card(desk, "And my cup?"))
    await agent.react(desk, await agent.card(desk, "And my cup?"), "🙋")
    await agent.card(desk, "And my cup?", "open, with")
    admin = await administrator(anonymous)
    await admin.ok("DELETE", f"{OWN}/sites/{site}/agents/{part(gone.client.user_id)}")
    # The case that they had is for the others, who are told; of the other one nothing has changed.
    await agent.card(desk, "🆕", "Where is my mug?")
    assert (await answered(agent, desk, "has left the desk"))["content"]["msgtype"] == "m.text"
    assert "open, with" in (await agent.card(desk, "And my cup?"))["body"]
    for room in (frame.room, other.room):
        await becomes(lambda room=room: _joined(gone, room), False)
        (await gone.client.request("POST", f"/join/{part(room)}", {})).error(403, "M_FORBIDDEN")


async def test_a_case_goes_on_without_whose_account_is_closed(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser, anonymous: Client
) -> None:
    agent, gone = Agent(await make_user("agent")), Agent(await make_user("gone"))
    site = new_site(server, [ORIGIN], [agent.client.user_id, gone.client.user_id])
    desk, frame, other = await agent.join_desk(), Frame(http, server, site), Frame(http, server, site)
    await gone.join_desk()
    for each, text in ((frame, "Where is my mug?"), (other, "And my cup?")):
        await each.begin()
        await each.say(text)
        card = await gone.card(desk, text)
        await gone.enter(card)
        await gone.say(each.room, f"I look for it: {text}")  # which takes the case
        await agent.card(desk, text, "open, with")
    # Who leaves a conversation leaves its case, and has the other one.
    await gone.client.ok("POST", f"/rooms/{part(frame.room)}/leave", {})
    await agent.card(desk, "🆕", "Where is my mug?", "unassigned")
    assert (await answered(agent, desk, "has left the conversation"))["content"]["msgtype"] == "m.text"
    assert "open, with" in (await agent.card(desk, "And my cup?"))["body"]
    admin = await administrator(anonymous)
    path = f"/_synapse/admin/v1/deactivate/{part(gone.client.user_id)}"
    await admin.ok("POST", path, {})
    await agent.card(desk, "🆕", "And my cup?", "unassigned")


async def _joined(agent: Agent, room: str) -> bool:
    return room in (await agent.client.ok("GET", "/joined_rooms"))["joined_rooms"]


async def test_what_the_page_says_meanwhile_is_on_the_card(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    fields = [{"name": "name"}, {"name": "order"}, {"name": "topic", "type": "select", "options": ["Mug", "Cup"]}]
    site = new_site(server, [ORIGIN], [agent.client.user_id], form={"fields": fields})
    key = keyed(server, site)
    desk, frame = await agent.join_desk(), Frame(http, server, site)

    async def says(who: Frame, **answers: str) -> Any:
        path = f"/_embed/v1/sites/{site}/context"
        return await who.client.request("POST", path, {"answers": answers})

    await frame.begin(answers={"name": "Ada", "order": "1042", "topic": "Mug"})
    await frame.say("Where is my mug?")
    card = await agent.card(desk, "order: 1042", "topic: Mug")
    (await says(frame, order="10\u202e43\n", topic="Nothing", plan="pro", name="Eve", message="hm")).ok()
    changed = await agent.card(desk, "order: 1043")
    assert changed["card"] == card["card"]  # in place
    assert "topic: Mug" in changed["body"] and "Ada" in changed["body"]
    assert not [word for word in ("Nothing", "plan", "Eve", "message") if word in changed["body"]]
    (await says(frame, order="", topic="Cup")).ok()
    assert "order" not in (await agent.card(desk, "topic: Cup"))["body"]
    # It is bounded, and nothing for others.
    (await says(frame, order="1" * 5_001)).error(400, "M_INVALID_PARAM")
    path = f"/_embed/v1/sites/{site}/context"
    (await frame.client.request("POST", path, {"answers": {}}, token=None)).error(401, "M_MISSING_TOKEN")
    (await agent.client.request("POST", path, {"answers": {"order": "2"}})).error(403, "M_FORBIDDEN")
    # What the site has signed no page takes back.
    known = Frame(http, server, site)
    await known.begin(jwt=signed(key, claims(site, name="Max", attrs={"order": "77"})))
    await known.say("And my cup?")
    await agent.card(desk, "verified by the site", "order: 77")
    (await says(known, order="78", topic="Cup")).ok()
    assert "order: 77" in (await agent.card(desk, "verified by the site", "topic: Cup"))["body"]
