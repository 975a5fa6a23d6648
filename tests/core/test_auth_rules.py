"""The authorisation rules outside of membership and power levels, per room version."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.auth.create import creator_of, privileged_creators
from homeserver.core.auth.rules import may_redact
from homeserver.core.auth.select import auth_types_for
from homeserver.core.auth.state import MappingState
from homeserver.core.event import Event
from homeserver.core.versions import RoomVersion
from tests.core.rooms import ALICE, BOB, CAROL, DAVE, Room, verdict
from tests.core.support import VERSIONS

pytestmark = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")


def since(number: int, version: RoomVersion) -> bool:
    return int(version.id) >= number


# Rule 1: m.room.create


def creation(version: RoomVersion, content: dict[str, Any] | None = None, **pdu: Any) -> Event:
    room = Room(version)
    content = {"creator": ALICE, "room_version": version.id} if content is None else content
    return room.event({}, "m.room.create", ALICE, content, "", prev_events=[], **pdu)


def test_create(version: RoomVersion) -> None:
    assert verdict(creation(version), {})
    assert not verdict(
        creation(version) and Room(version).event({}, "m.room.create", ALICE, {"creator": ALICE}, ""), {}
    )


def test_create_room_id(version: RoomVersion) -> None:
    own = creation(version, room_id="!create:a.org")
    foreign = creation(version, room_id="!create:b.org")
    assert verdict(own, {}) is not since(12, version)
    assert not verdict(foreign, {})


@pytest.mark.parametrize("named", ["org.example.unknown", "", 1, None, ["1"], {"a": 1}])
def test_create_of_an_unknown_version(version: RoomVersion, named: Any) -> None:
    assert not verdict(creation(version, {"creator": ALICE, "room_version": named}), {})


def test_create_without_creator(version: RoomVersion) -> None:
    assert verdict(creation(version, {"room_version": version.id}), {}) is since(11, version)


@pytest.mark.parametrize("junk", ["@bob:b.org", None, {}, ["bob"], [1], [BOB, None], ["@:"], [[BOB]]])
def test_create_with_additional_creators_that_are_junk(version: RoomVersion, junk: Any) -> None:
    assert verdict(creation(version, {"creator": ALICE, "additional_creators": junk}), {}) is not since(12, version)


def test_creators(version: RoomVersion) -> None:
    create = creation(version, {"creator": CAROL, "additional_creators": [BOB]})
    assert verdict(create, {})
    assert creator_of(create) == (ALICE if since(11, version) else CAROL)
    assert privileged_creators(create) == ({ALICE, BOB} if since(12, version) else set())


# Rule 2: the room is that of an accepted create event


def test_a_room_without_create_event(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start()
    message = room.event(state, "m.room.message", ALICE, {})
    assert verdict(message, state)
    del state["m.room.create", ""]
    assert not verdict(message, state)


def test_a_forged_room_id(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start()
    assert not verdict(room.event(state, "m.room.message", ALICE, {}, room_id="!other:a.org"), state)
    # A create event that claims the room's id with another hash.
    forged = room.event({}, "m.room.create", ALICE, {"creator": ALICE}, "", prev_events=[], name="forged")
    message = room.event(state, "m.room.message", ALICE, {})
    assert verdict(message, {**state, forged.key: forged}) is not since(12, version)


# Rule 3: the choice of auth events


def test_auth_events(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start(BOB)
    topic = room.event(state, "m.room.topic", ALICE, {"topic": "t"}, "")
    chosen = [room.events[auth] for auth in topic.auth_events]
    create, power, rules = room.create, state["m.room.power_levels", ""], state["m.room.join_rules", ""]
    assert (create in chosen) is not since(12, version)
    assert verdict(topic, state, auth_events=chosen)
    assert not verdict(topic, state, auth_events=[*chosen, power])  # 3.1 duplicates
    assert not verdict(topic, state, auth_events=[*chosen, rules])  # 3.2 not selected
    assert not verdict(topic, state, auth_events=[*chosen, room.event(state, "m.room.message", ALICE, {})])
    assert verdict(topic, state, auth_events=[*chosen, create]) is False  # twice to v11, not selected in v12
    assert not verdict(topic, state, auth_events=chosen, rejected={power.event_id})  # 3.3
    assert verdict(topic, state, auth_events=chosen, rejected={rules.event_id})
    without = [event for event in chosen if event is not create]
    assert verdict(topic, state, auth_events=without) is since(12, version)  # 3.4


def test_auth_events_of_another_room(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start()
    topic = room.event(state, "m.room.topic", ALICE, {"topic": "t"}, "")
    foreign = room.event(state, "m.room.power_levels", ALICE, {}, "", room_id="!other:a.org")
    chosen = [room.events[auth] for auth in topic.auth_events]
    swapped = [foreign if event.type == "m.room.power_levels" else event for event in chosen]
    assert not verdict(topic, state, auth_events=swapped)


def test_selection(version: RoomVersion) -> None:
    def select(event_type: str, key: str | None = None, **content: Any) -> list[tuple[str, str]]:
        keys = auth_types_for(event_type, ALICE, key, content, version)
        assert len(set(keys)) == len(keys)
        common = [("m.room.power_levels", ""), ("m.room.member", ALICE)]
        create = [] if since(12, version) else [("m.room.create", "")]
        assert event_type == "m.room.create" or keys[: len(create) + 2] == create + common
        return keys[len(create) + 2 :]

    rules = ("m.room.join_rules", "")
    signed = {"signed": {"token": "t", "mxid": BOB}}
    assert select("m.room.create", "") == []
    assert select("m.room.message") == []
    assert select("m.room.member", BOB, membership="ban") == [("m.room.member", BOB)]
    assert select("m.room.member", ALICE, membership="leave") == []
    assert select("m.room.member", ALICE, membership="join") == [rules]
    assert select("m.room.member", ALICE, membership="knock") == [rules]
    assert select("m.room.member", BOB, membership="invite") == [("m.room.member", BOB), rules]
    assert select("m.room.member", BOB, membership="invite", third_party_invite=signed) == [
        ("m.room.member", BOB),
        rules,
        ("m.room.third_party_invite", "t"),
    ]
    for junk in (None, "x", {}, {"signed": 1}, {"signed": {"token": 1}}):
        assert select("m.room.member", BOB, membership="invite", third_party_invite=junk)[1:] == [rules]
    restricted = select("m.room.member", ALICE, membership="join", join_authorised_via_users_server=BOB)
    assert restricted == [rules] + ([("m.room.member", BOB)] if since(8, version) else [])
    assert select("m.room.member", ALICE, membership="join", join_authorised_via_users_server=7) == [rules]


# Rule 4: m.federate


@pytest.mark.parametrize("federate", [True, False, None])
def test_federate(version: RoomVersion, federate: bool | None) -> None:
    room = Room(version, ALICE, **({} if federate is None else {"m.federate": federate}))
    state = room.start()
    assert verdict(room.event(state, "m.room.member", DAVE, {"membership": "join"}, DAVE), state)
    assert verdict(room.event(state, "m.room.member", BOB, {"membership": "join"}, BOB), state) is (
        federate is not False
    )


# m.room.aliases, to v5


def test_aliases(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start(BOB)

    def allowed(sender: str, key: str | None) -> bool:
        return verdict(room.event(state, "m.room.aliases", sender, {"aliases": []}, key), state)

    has_rule = not since(6, version)
    assert allowed(CAROL, "c.org") is has_rule  # not even a member
    assert allowed(BOB, "b.org") is has_rule  # since v6 it is state like any other and asks for 50
    assert allowed(ALICE, "b.org") is not has_rule
    assert allowed(ALICE, None) is not has_rule


# Rules 6 to 9: sending


@pytest.mark.parametrize("membership", [None, "invite", "leave", "ban", "knock"])
def test_only_members_send(version: RoomVersion, membership: str | None) -> None:
    room = Room(version)
    state = room.start(BOB)
    message = room.event(state, "m.room.message", BOB, {})
    assert verdict(message, state)
    gone = room.event(state, "m.room.member", BOB, {"membership": membership}, BOB)
    assert not verdict(message, {**state, gone.key: gone})
    del state["m.room.member", BOB]
    assert not verdict(message, state)


def test_third_party_invites_ask_for_the_invite_level(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start(BOB, power={"invite": 30, "users": {BOB: 30}, "events": {"m.room.third_party_invite": 99}})
    assert verdict(room.event(state, "m.room.third_party_invite", BOB, {}, "token"), state)
    state = room.send(state, "m.room.power_levels", ALICE, room.levels({"invite": 31, "users": {BOB: 30}}))
    assert not verdict(room.event(state, "m.room.third_party_invite", BOB, {}, "token"), state)


def test_required_levels(version: RoomVersion) -> None:
    room = Room(version)
    power = {"events": {"m.room.name": 20, "m.reaction": 21}, "state_default": 30, "events_default": 10}
    state = room.start(BOB, power={**power, "users": {BOB: 20}})
    assert verdict(room.event(state, "m.room.message", BOB, {}), state)
    assert verdict(room.event(state, "m.room.name", BOB, {}, ""), state)
    assert not verdict(room.event(state, "m.reaction", BOB, {}), state)
    assert not verdict(room.event(state, "m.room.topic", BOB, {}, ""), state)
    assert verdict(room.event(state, "m.room.topic", ALICE, {}, ""), state)


def test_state_keys_that_are_users(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start(BOB, power={"state_default": 0})
    assert verdict(room.event(state, "org.example.status", BOB, {}, BOB), state)
    assert not verdict(room.event(state, "org.example.status", BOB, {}, ALICE), state)
    assert not verdict(room.event(state, "org.example.status", ALICE, {}, BOB), state)
    assert not verdict(room.event(state, "org.example.status", BOB, {}, "@"), state)
    assert verdict(room.event(state, "org.example.status", BOB, {}, "_" + ALICE), state)


# Redactions


def test_redaction_rule(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start(BOB, CAROL)

    def allowed(sender: str, target: str | None) -> bool:
        return verdict(room.event(state, "m.room.redaction", sender, {"redacts": target}, redacts=target), state)

    checked = not since(3, version)
    assert allowed(ALICE, "$event:c.org")
    assert allowed(BOB, "$event:b.org")
    assert allowed(BOB, "$event:c.org") is not checked
    assert allowed(BOB, "$event") is not checked
    assert allowed(BOB, None) is not checked


def test_whether_a_redaction_is_applied(version: RoomVersion) -> None:
    room = Room(version)
    state = MappingState(room.start(BOB, CAROL, power={"redact": 40, "users": {CAROL: 40}}))
    target = room.event({}, "m.room.message", BOB, {})

    def applied(sender: str, **pdu: Any) -> bool:
        return may_redact(room.event({}, "m.room.redaction", sender, {}, **pdu), target, state)

    assert applied(CAROL)
    assert applied(ALICE)
    assert applied(BOB)
    assert applied("@other:b.org")
    assert applied("@other:e.org") is not since(3, version)  # in v1 and v2 the rules have decided before
    assert not applied(ALICE, room_id="!other:a.org")
