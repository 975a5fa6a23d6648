"""A neighbourhood to take pictures of: people, rooms of every kind, a conversation with everything that can be in one.

The drawings in `media/art` are the project's own.
"""

# ruff: noqa: RUF001 - people here write Ukrainian

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.admin import administrator
from tests.support.client import Client, Json, part
from tests.support.fixtures import fresh

if TYPE_CHECKING:
    from playwright.async_api import Page

MEDIA = Path(__file__).parent / "media"
PEOPLE = {
    "olena": "Олена Коваль",
    "iryna": "Ірина Савчук",
    "maya": "Maya Lindqvist",
    "sam": "Sam Okafor",
    "taras": "Taras Bondar",
    "yusuf": "Yusuf Demir",
}
CODE = (
    "async def water(bed: Bed) -> None:\n    if bed.moisture < 0.32:\n        await bed.valve.open(minutes=12)\n"
    "        await bed.log(f'{bed.name}: watered')"
)


@dataclass
class Scenery:
    """Who and what there is. `ada` is an administrator and the one whose screen is shown."""

    ada: Client
    people: dict[str, Client] = field(default_factory=dict)
    rooms: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    art: dict[str, str] = field(default_factory=dict)


async def scenery(anonymous: Client, page: Page) -> Scenery:
    """Build it on the server. `page` is any page: the drawings become pictures there."""
    scene = Scenery(await administrator(anonymous))
    for name in ("ada", *PEOPLE):
        who = scene.ada if name == "ada" else await anonymous.anonymous().register(fresh(name))
        if name != "ada":
            scene.people[name] = who
        await _profile(who, PEOPLE.get(name, "Ada Whitfield"), await _picture(scene, who, page, name))
    for name in ("room-bike", "room-books", "room-garden", "room-power", "room-square"):
        await _picture(scene, scene.ada, page, name)
    for name in ("garden", "greenhouse", "seeds"):
        await _picture(scene, scene.ada, page, name, 800, 600)
    await _small_rooms(scene)
    await _garden(scene)
    await _invitations(scene)
    return scene


async def _picture(scene: Scenery, who: Client, page: Page, name: str, width: int = 256, height: int = 256) -> str:
    drawing = base64.b64encode((MEDIA / "art" / f"{name}.svg").read_bytes()).decode()
    await page.set_viewport_size({"width": width, "height": height})
    await page.set_content(
        f"<style>*{{margin:0}}img{{display:block;inline-size:{width}px;block-size:{height}px;object-fit:cover}}</style>"
        f"<img src='data:image/svg+xml;base64,{drawing}'>"
    )
    data = await page.screenshot()
    scene.art[name] = await _upload(who, data, f"{name}.png", "image/png")
    return scene.art[name]


async def _upload(who: Client, data: bytes, name: str, kind: str) -> str:
    reply = await who.request(
        "POST", "/_matrix/media/v3/upload", params={"filename": name}, data=data, headers={"Content-Type": kind}
    )
    return str(reply.ok()["content_uri"])


async def _profile(who: Client, name: str, face: str) -> None:
    await who.ok("PUT", f"/profile/{part(who.user_id)}/displayname", {"displayname": name})
    await who.ok("PUT", f"/profile/{part(who.user_id)}/avatar_url", {"avatar_url": face})


async def _room(scene: Scenery, by: Client, name: str, art: str | None, *others: Client, **more: Any) -> str:
    initial: list[Json] = [{"type": "m.room.avatar", "content": {"url": scene.art[art]}}] if art else []
    return await by.shared_room(*others, name=name, initial_state=initial, **more)


async def _direct(scene: Scenery, other: str) -> str:
    who = scene.people[other]
    room = await scene.ada.create_room(is_direct=True, preset="trusted_private_chat", invite=[who.user_id])
    await who.join(room)
    return room


async def _small_rooms(scene: Scenery) -> None:
    ada, people, rooms = scene.ada, scene.people, scene.rooms
    direct = {name: await _direct(scene, name) for name in ("sam", "iryna", "yusuf", "olena")}
    await ada.ok(
        "PUT",
        f"/user/{part(ada.user_id)}/account_data/m.direct",
        {people[name].user_id: [room] for name, room in direct.items()},
    )
    await ada.send(direct["sam"], "Sent the keys to the office")
    await people["iryna"].send(direct["iryna"], "Надіслала світлини з толоки")
    topic = "Лише графіки й оголошення. Only schedules and announcements."
    rooms["power"] = await _room(scene, people["taras"], "Power outages · Відключення", "room-power", ada, topic=topic)
    await people["taras"].send(rooms["power"], "Черга 2.1: 18:00–22:00")
    three = [people[name] for name in ("maya", "taras", "sam")]
    rooms["three"] = await ada.create_room(preset="private_chat", invite=[who.user_id for who in three])
    for who in three:
        await who.join(rooms["three"])
    await people["maya"].send(rooms["three"], "here is the receipt")
    rooms["books"] = await _room(scene, people["iryna"], "Книжковий клуб", "room-books", ada)
    await people["iryna"].send(
        rooms["books"],
        {"msgtype": "m.image", "body": "photo.png", "url": scene.art["seeds"], "info": {"w": 800, "h": 600}},
    )
    topic = "Tools and help, Thursdays 18:00 in the yard of House 14."
    rooms["bike"] = await _room(scene, people["sam"], "Bike workshop", "room-bike", ada, topic=topic)
    await people["sam"].send(rooms["bike"], "Who has a chain tool?")
    await ada.send(direct["yusuf"], "See you on Saturday")
    rooms["house"] = await _room(scene, people["sam"], "House 14 · Будинок 14", "room-square", ada)
    await people["sam"].send(rooms["house"], "The lift stands still again")
    mention = {"msgtype": "m.text", "body": "Ada, is the lift fixed now?", "m.mentions": {"user_ids": [ada.user_id]}}
    await people["sam"].send(rooms["house"], mention)
    await people["olena"].send(direct["olena"], "Лопати на місці")
    await people["olena"].send(direct["olena"], "Принесу лопати о 9:00 👍")
    rooms.update({f"dm-{name}": room for name, room in direct.items()})
    await ada.ok("PUT", f"/user/{part(ada.user_id)}/rooms/{part(direct['olena'])}/tags/m.favourite", {"order": 0.6})
    space = {"creation_content": {"type": "m.space"}, "topic": "A space for the neighbours: lift, water, guests."}
    rooms["space"] = await _room(scene, ada, "House 14", "room-square", **space)
    for name in ("house", "bike", "books"):
        await ada.set_state(rooms["space"], "m.space.child", {"via": ["localhost"], "suggested": True}, rooms[name])
    rooms["council"] = await _room(scene, ada, "Town council", None, creation_content={"type": "m.space"})
    await ada.set_state(rooms["council"], "m.space.child", {"via": ["localhost"]}, rooms["power"])


async def _garden(scene: Scenery) -> None:
    """The conversation that has everything in it."""
    ada, people, events = scene.ada, scene.people, scene.events
    olena, yusuf, iryna, sam, maya = (people[name] for name in ("olena", "yusuf", "iryna", "sam", "maya"))
    topic = "Growing together on Podil since 2019"
    room = await _room(
        scene, ada, "Podil Community Garden", "room-garden", *people.values(), topic=topic,
        room_alias_name=fresh("garden"),
    )  # fmt: skip
    scene.rooms["garden"] = room
    await ada.ok("PUT", f"/user/{part(ada.user_id)}/rooms/{part(room)}/tags/m.favourite", {"order": 0.5})
    photo = {"msgtype": "m.image", "body": "garden.png", "url": scene.art["garden"], "info": {"w": 800, "h": 600}}
    events["photo"] = await olena.send(room, photo)
    events["sprouts"] = await olena.send(room, "Розсада нарешті зійшла! З 60 насінин проросло 57 🌱")
    for who in (ada, sam, maya):
        await who.send(room, _annotation(events["sprouts"], "❤️"), "m.reaction")
    await yusuf.send(room, _annotation(events["sprouts"], "👏"), "m.reaction")
    events["saturday"] = await olena.send(room, "Пересаджуємо в суботу о 9:00. Хто з нами?")
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": events["saturday"]}}}
    body = "Count me in. I’ll bring the drip hoses and two spare trowels."
    await ada.send(room, {"msgtype": "m.text", "body": body, **reply})
    for who, text in ((maya, "Me! Can I bring my kids? They are 6 and 8."), (ada, "Of course, we have small gloves."),
                      (sam, "I have the car, so I can pick up the compost. Four bags?")):  # fmt: skip
        relation = {"rel_type": "m.thread", "event_id": events["saturday"]}
        await who.send(room, {"msgtype": "m.text", "body": text, "m.relates_to": relation})
    plan = "Updated the planting plan: beds 3 and 4 are swapped, so the tomatoes get the south wall."
    events["plan"] = await yusuf.send(room, plan)
    await ada.set_state(room, "m.room.pinned_events", {"pinned": [events["plan"]]})
    url = await _upload(yusuf, b"plan", "planting-plan.pdf", "application/pdf")
    await yusuf.send(room, {"msgtype": "m.file", "body": "planting-plan.pdf", "url": url, "info": {"size": 1_240_000}})
    html = f'<pre><code class="language-python">{CODE}</code></pre>'
    formatted = {"format": "org.matrix.custom.html", "formatted_body": html}
    await yusuf.send(room, {"msgtype": "m.text", "body": f"```python\n{CODE}\n```", **formatted})
    url = await _upload(sam, (MEDIA / "clip.webm").read_bytes(), "evening.webm", "video/webm")
    info = {"w": 320, "h": 240, "duration": 4_000, "size": 63_348, "thumbnail_url": scene.art["greenhouse"]}
    await sam.send(room, {"msgtype": "m.video", "body": "evening.webm", "url": url, "info": info})
    pill = f'<a href="https://matrix.to/#/{ada.user_id}">Ada Whitfield</a> чи замовиш до п’ятниці насіння?'
    mention = {"msgtype": "m.text", "body": "Ada, чи замовиш до п’ятниці насіння?", "format": "org.matrix.custom.html",
               "formatted_body": pill, "m.mentions": {"user_ids": [ada.user_id]}}  # fmt: skip
    asked = await iryna.send(room, mention)
    await sam.send(room, _annotation(asked, "🙏"), "m.reaction")
    await ada.send(room, "On it, both in the basket. Anything else while I’m there?")
    last = await ada.send(room, "They also have lavender for the gate 💜")
    for who in (olena, sam, maya, yusuf):
        await who.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(last)}", {})


def _annotation(event: str, key: str) -> Json:
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": key}}


async def _invitations(scene: Scenery) -> None:
    ada, people = scene.ada, scene.people
    topic = "Вечірні обходи Подолу: чергування, контакти, звіти."
    for who, name, about in (("iryna", "Neighbourhood watch · Варта", topic), ("yusuf", "Saturday tea", "")):
        room = await people[who].create_room(name=name, preset="private_chat", topic=about)
        await people[who].member(room, "invite", ada.user_id)
        scene.rooms[f"invite-{who}"] = room
    await people["taras"].create_room(name="Rooftop gardens", topic="Growing food above the city.",
                                      preset="public_chat", visibility="public")  # fmt: skip
    for room in ("garden", "bike", "power", "books"):
        owner = {"garden": ada, "bike": people["sam"], "power": people["taras"], "books": people["iryna"]}[room]
        await owner.ok("PUT", f"/directory/list/room/{part(scene.rooms[room])}", {"visibility": "public"})
