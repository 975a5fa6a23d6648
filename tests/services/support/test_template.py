"""Rooms of cases as a site wants them, and what no site may choose."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.support import RESOLVED
from homeserver.services.support.site import merged, parse_config
from homeserver.services.support.template import RoomTemplate, called, levels_of
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, running_world
from tests.services.support.office import SETTINGS, Office

TEMPLATE: dict[str, Any] = {
    "name": "{site} {number}: {name} · {path}",
    "topic": "Asks from {page} ({title})",
    "power_levels": {"invite": 100, "events": {"m.room.topic": 100}, "notifications": {"room": 75}},
    "initial_state": [
        {"type": "org.example.desk", "content": {"shelf": 7}},
        {"type": "org.example.desk", "state_key": "second", "content": {"shelf": None}},
    ],
}


async def test_a_case_s_room_is_made_as_its_site_says(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        site = await office.site("own", room_template=TEMPLATE, conversation_days=30)
        case = await office.case(site, "ada", RESOLVED)
        assert await world.state(case.room_id, "m.room.name") == {"name": "Shop 1: ada · /mugs"}
        topic = await world.state(case.room_id, "m.room.topic")
        assert topic is not None
        assert topic["topic"] == "Asks from https://shop.example/mugs ()"
        levels = await world.state(case.room_id, "m.room.power_levels")
        assert levels is not None
        assert (levels["invite"], levels["kick"], levels["notifications"]) == (100, 50, {"room": 75})
        assert levels["events"] == {**levels_of(RoomTemplate())["events"], "m.room.topic": 100}
        assert (levels["users_default"], levels["events_default"]) == (0, 0)
        assert await world.state(case.room_id, "org.example.desk") == {"shelf": 7}
        assert await world.state(case.room_id, "org.example.desk", "second") == {"shelf": None}
        # What is forgotten goes from name and topic, too; the card calls the case as ever.
        cards = await office.words(site.row.desk_id)
        assert [body for body in cards if "#1 ada · /mugs" in body]
        office.clock.day += 31
        await office.retention.once()
        assert await world.state(case.room_id, "m.room.name") == {"name": "Shop 1: Visitor"}
        topic = await world.state(case.room_id, "m.room.topic")
        assert topic is not None
        assert topic["topic"] == "Asks from ()"


def test_what_visitors_fill_in_is_no_pattern() -> None:
    template = RoomTemplate(name="{name}, {path}", topic="{title} {page}")
    assert called(template, 7, "{number}", "https://a.example/{site}", "{name}", "Shop") == (
        "{number}, /{site}",
        "{name} https://a.example/{site}",
    )
    assert called(RoomTemplate(name=" {path} "), 7, "Ada", "") == ("#7", "")
    assert called(RoomTemplate(), 7, "Ada", "") == ("#7 Ada", "")
    assert called(RoomTemplate(), 7, "Ada", "https://a.example/") == ("#7 Ada · /", "https://a.example/")


REFUSED = [
    ({"name": "{surname}"}, "there is no {surname}"),
    ({"topic": "{}"}, "there is no {}"),
    ({"name": "x" * 201}, "length <= 200"),
    ({"colour": "red"}, "unknown field `colour`"),
    ({"power_levels": {"users": {"@eve:test": 100}}}, "unknown field `users`"),
    ({"power_levels": {"users_default": 50}}, "unknown field `users_default`"),
    ({"power_levels": {"events_default": 50}}, "unknown field `events_default`"),
    ({"power_levels": {"invite": 0}}, ">= 1"),
    ({"power_levels": {"state_default": 0}}, ">= 1"),
    ({"power_levels": {"events": {"org.example": 101}}}, "<= 100"),
    *(
        ({"power_levels": {"events": {kind: 50}}}, "not the site's to choose")
        for kind in ("m.room.message", "m.room.encrypted", "chat.hromada.support.rating", "m.room.power_levels")
    ),
    *(
        ({"initial_state": [{"type": kind, "content": {}}]}, "not the site's to choose")
        for kind in (
            *("m.room.create", "m.room.member", "m.room.join_rules", "m.room.history_visibility", "m.room.encryption"),
            *("m.room.guest_access", "m.room.power_levels", "m.room.tombstone", "chat.hromada.support.ticket"),
        )
    ),
    ({"initial_state": [{"type": "a", "content": {"b": 1.5}}]}, "cannot be sent"),
    ({"initial_state": [{"type": "a", "content": {"b": 2**60}}]}, "cannot be sent"),
    ({"initial_state": [{"type": "a", "content": {}, "state_key": "@eve:test"}]}, "belongs to one user"),
    ({"initial_state": [{"type": "a", "content": {}}, {"type": "a", "content": {"b": 1}}]}, "is there twice"),
    ({"initial_state": [{"type": f"a{n}", "content": {"b": "x" * 12_000}} for n in range(3)]}, "32,768 bytes"),
    ({"initial_state": [{"type": f"a{n}", "content": {}} for n in range(21)]}, "length <= 20"),
    ({"initial_state": [{"type": "", "content": {}}]}, "length >= 1"),
]


@pytest.mark.parametrize(("template", "said"), REFUSED)
def test_what_no_site_may_choose_is_refused_when_it_is_set(template: dict[str, Any], said: str) -> None:
    with pytest.raises(MatrixError) as refused:
        parse_config({**SETTINGS, "room_template": template})
    assert refused.value.code is ErrCode.INVALID_PARAM
    assert said in refused.value.message
    with pytest.raises(MatrixError):
        merged(parse_config(SETTINGS), {"room_template": template})
