"""The membership rule, as tables of (situation, event, verdict) per room version."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.signatures import SigningKey, encode_base64, sign_json
from homeserver.core.versions import V8, V12, RoomVersion
from tests.core.rooms import ALICE, BOB, CAROL, DAVE, ELLA, Room, State, verdict
from tests.core.support import KEY, VERSIONS

all_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock")


def since(number: int, version: RoomVersion) -> bool:
    return int(version.id) >= number


def put(room: Room, state: State, user: str, membership: str) -> State:
    """The state with a membership set, allowed or not."""
    event = room.event(state, "m.room.member", user, {"membership": membership}, user)
    return {**state, event.key: event}


def situation(version: RoomVersion, join_rule: str = "public") -> tuple[Room, State]:
    """Alice 100 (or creator), Bob 50, Carol 50, Dave 0 are in the room; Ella is not."""
    room = Room(version)
    return room, room.start(BOB, CAROL, DAVE, power={"users": {BOB: 50, CAROL: 50}, "invite": 10}, join_rule=join_rule)


def allowed(room: Room, state: State, sender: str, target: str, membership: Any, **more: Any) -> bool:
    event = room.event(state, "m.room.member", sender, {"membership": membership, **more}, target)
    return verdict(event, state)


@all_versions
@pytest.mark.parametrize("content", [{}, {"membership": None}, {"membership": 1}, {"membership": "sit"}])
def test_malformed(version: RoomVersion, content: dict[str, Any]) -> None:
    room, state = situation(version)
    assert not verdict(room.event(state, "m.room.member", ELLA, content, ELLA), state)
    assert not verdict(room.event(state, "m.room.member", ELLA, {"membership": "join"}), state)


@all_versions
def test_first_join(version: RoomVersion) -> None:
    room = Room(version)
    state = {room.create.key: room.create}
    assert allowed(room, state, ALICE, ALICE, "join")

    def later(user: str, prev: list[str]) -> bool:
        return verdict(room.event(state, "m.room.member", user, {"membership": "join"}, user, prev_events=prev), state)

    first = [room.create.event_id]
    assert later(ALICE, first)
    assert not later(BOB, first)
    assert not later(ALICE, [])
    assert not later(ALICE, [*first, "$other"])
    assert not later(ALICE, ["$other"])


@all_versions
def test_the_creator_who_joins_first(version: RoomVersion) -> None:
    room = Room(version)
    named = room.event({}, "m.room.create", ALICE, {"creator": CAROL}, "", name="x")
    state = {named.key: named}
    for user in (ALICE, CAROL):
        join = room.event(
            state,
            "m.room.member",
            user,
            {"membership": "join"},
            user,
            prev_events=[named.event_id],
            room_id=named.room_id,
        )
        if not since(12, version):
            assert verdict(join, state) is (user == (ALICE if since(11, version) else CAROL))


RULES = ("public", "invite", "knock", "restricted", "knock_restricted", "private", "unknown")


def join_expected(version: RoomVersion, rule: str, membership: str) -> bool:
    if membership == "ban":
        return False
    if rule == "public":
        return True
    introduced = {"invite": 1, "knock": 7, "restricted": 8, "knock_restricted": 10}.get(rule, 99)
    return since(introduced, version) and membership in ("join", "invite")


@all_versions
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_join(version: RoomVersion, rule: str, membership: str) -> None:
    room, state = situation(version, rule)
    assert allowed(room, put(room, state, ELLA, membership), ELLA, ELLA, "join") is join_expected(
        version, rule, membership
    )
    assert not allowed(room, put(room, state, ELLA, membership), ALICE, ELLA, "join")


@all_versions
def test_join_without_or_with_malformed_join_rules(version: RoomVersion) -> None:
    room, state = situation(version)
    for content in ({"join_rule": None}, {"join_rule": ["public"]}, {}):
        rules = room.event(state, "m.room.join_rules", ALICE, content, "")
        assert not allowed(room, {**state, rules.key: rules}, ELLA, ELLA, "join")
    del state["m.room.join_rules", ""]
    assert not allowed(room, state, ELLA, ELLA, "join")
    assert allowed(room, put(room, state, ELLA, "invite"), ELLA, ELLA, "join")


@all_versions
@pytest.mark.parametrize("rule", ["restricted", "knock_restricted", "invite", "public"])
def test_restricted_join(version: RoomVersion, rule: str) -> None:
    room, state = situation(version, rule)
    knows = since({"restricted": 8, "knock_restricted": 10}.get(rule, 99), version)

    def join(authoriser: Any) -> bool:
        return allowed(room, state, ELLA, ELLA, "join", join_authorised_via_users_server=authoriser)

    assert join(BOB) is (knows or rule == "public")
    assert join(DAVE) is (rule == "public")  # may not invite
    assert join("@gone:b.org") is (rule == "public")
    for junk in (1, None, "bob", [BOB], ""):
        assert join(junk) is (rule == "public" and not since(8, version))
    state = put(room, state, BOB, "leave")
    assert join(BOB) is (rule == "public")
    state = put(room, state, ELLA, "ban")
    assert not join(CAROL)


@all_versions
def test_the_authorising_server_has_to_sign(version: RoomVersion) -> None:
    room, state = situation(version, "public")
    content = {"membership": "join", "join_authorised_via_users_server": BOB}
    event = room.event(state, "m.room.member", ELLA, content, ELLA)
    asked: list[str] = []

    def signed_by(server: str) -> bool:
        asked.append(server)
        return False

    assert verdict(event, state, signed_by=signed_by) is not since(8, version)
    assert asked == (["b.org"] if since(8, version) else [])
    assert verdict(event, state, signed_by=lambda server: server == "b.org")
    plain = room.event(state, "m.room.member", ELLA, {"membership": "join"}, ELLA)
    assert verdict(plain, state, signed_by=lambda server: False)


@all_versions
@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_invite(version: RoomVersion, membership: str) -> None:
    room, state = situation(version)
    state = put(room, state, ELLA, membership)
    assert allowed(room, state, BOB, ELLA, "invite") is (membership not in ("join", "ban"))
    assert not allowed(room, state, DAVE, ELLA, "invite")
    assert not allowed(room, put(room, state, BOB, "leave"), BOB, ELLA, "invite")
    assert not allowed(room, state, "@stranger:x.org", ELLA, "invite")


@all_versions
@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_own_leave(version: RoomVersion, membership: str) -> None:
    room, state = situation(version)
    expected = membership in ("invite", "join") or (membership == "knock" and since(7, version))
    assert allowed(room, put(room, state, ELLA, membership), ELLA, ELLA, "leave") is expected
    assert not allowed(room, state, ELLA, ELLA, "leave")


@all_versions
def test_kick(version: RoomVersion) -> None:
    room, state = situation(version)
    assert allowed(room, state, BOB, DAVE, "leave")
    assert not allowed(room, state, BOB, CAROL, "leave")  # equals
    assert not allowed(room, state, BOB, ALICE, "leave")
    assert not allowed(room, state, DAVE, BOB, "leave")
    assert not allowed(room, put(room, state, BOB, "leave"), BOB, DAVE, "leave")
    assert not allowed(room, put(room, state, BOB, "ban"), BOB, DAVE, "leave")
    # An invite may be taken back by whoever may kick.
    assert allowed(room, put(room, state, ELLA, "invite"), BOB, ELLA, "leave")


@all_versions
def test_unban_asks_for_kick_and_ban(version: RoomVersion) -> None:
    for ban, kick, expected in ((50, 50, True), (51, 50, False), (50, 51, False), (0, 0, True)):
        room = Room(version)
        state = room.start(BOB, power={"users": {BOB: 50}, "ban": ban, "kick": kick})
        assert allowed(room, put(room, state, ELLA, "ban"), BOB, ELLA, "leave") is expected
    assert not allowed(room, put(room, state, BOB, "ban"), BOB, BOB, "leave")


@all_versions
@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_ban(version: RoomVersion, membership: str) -> None:
    room, state = situation(version)
    state = put(room, state, ELLA, membership)
    assert allowed(room, state, BOB, ELLA, "ban")
    assert not allowed(room, state, DAVE, ELLA, "ban")
    assert not allowed(room, state, BOB, CAROL, "ban")
    assert not allowed(room, state, BOB, ALICE, "ban")
    assert not allowed(room, state, BOB, BOB, "ban")
    assert not allowed(room, put(room, state, BOB, "leave"), BOB, ELLA, "ban")


@all_versions
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_knock(version: RoomVersion, rule: str, membership: str) -> None:
    room, state = situation(version, rule)
    introduced = {"knock": 7, "knock_restricted": 10}.get(rule, 99)
    state = put(room, state, ELLA, membership)
    assert allowed(room, state, ELLA, ELLA, "knock") is (
        since(introduced, version) and membership in ("leave", "knock")
    )
    assert not allowed(room, state, ALICE, ELLA, "knock")


# Third-party invites

OTHER = SigningKey("ed25519:other", bytes(32))


def public(key: SigningKey) -> str:
    return encode_base64(key.public_bytes)


def third_party(version: RoomVersion, offer: dict[str, Any], **signed: Any) -> tuple[Room, State, dict[str, Any]]:
    room, state = situation(version)
    offered = room.event(state, "m.room.third_party_invite", DAVE, {"display_name": "e", **offer}, "token")
    invite = sign_json({"mxid": ELLA, "token": "token", **signed}, "id.org", KEY)
    return room, {**state, offered.key: offered}, {"display_name": "e", "signed": invite}


@all_versions
@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ({"public_key": public(KEY)}, True),
        ({"public_key": public(OTHER)}, False),
        ({"public_keys": [{"public_key": public(OTHER)}, {"public_key": public(KEY)}]}, True),
        ({"public_key": public(OTHER), "public_keys": [{"public_key": public(KEY)}]}, True),
        ({"public_keys": [{"public_key": public(OTHER)}]}, False),
        ({"public_key": public(KEY)[:-4]}, False),
        ({"public_key": "not base64!"}, False),
        ({"public_key": 1, "public_keys": [1, {}, {"public_key": None}]}, False),
        ({"public_keys": public(KEY)}, False),
        ({}, False),
    ],
)
def test_third_party_invite_keys(version: RoomVersion, offer: dict[str, Any], expected: bool) -> None:
    room, state, invite = third_party(version, offer)
    assert allowed(room, state, DAVE, ELLA, "invite", third_party_invite=invite) is expected


@all_versions
def test_third_party_invite(version: RoomVersion) -> None:
    offer = {"public_key": public(KEY)}
    room, state, invite = third_party(version, offer)

    def allows(invite: Any, sender: str = DAVE, target: str = ELLA, state: State = state) -> bool:
        return allowed(room, state, sender, target, "invite", third_party_invite=invite)

    assert allows(invite)  # although Dave may not invite
    assert allows(invite, state=put(room, state, DAVE, "leave"))  # and even when gone
    assert not allows(invite, state=put(room, state, ELLA, "ban"))
    assert not allows(invite, sender=ALICE)
    assert not allows(invite, target=BOB)
    signed = invite["signed"]
    malformed: list[Any] = [None, "x", {}, {"signed": None}, {"signed": {}}, {"signed": {"mxid": ELLA}}]
    assert not any(map(allows, malformed))
    changes: list[dict[str, Any]] = [{"mxid": DAVE}, {"token": "other"}, {"token": 1}, {"signatures": {}}, {"x": 1}]
    assert not any(allows({"signed": signed | change}) for change in changes)
    valid = signed["signatures"]["id.org"]["ed25519:1"]
    unusable: list[Any] = [1, {"ed25519:1": 1}, {"rsa:1": valid}, {"ed25519:1": "x"}]
    assert not any(allows({"signed": signed | {"signatures": {"id.org": keys}}}) for keys in unusable)
    mixed = {"a.org": {"ed25519:bad": "A" * 86}, **signed["signatures"]}
    assert allows({"signed": signed | {"signatures": mixed}})
    no_offer = {key: event for key, event in state.items() if key[0] != "m.room.third_party_invite"}
    assert not allows(invite, state=no_offer)


def test_third_party_verifications_are_bounded() -> None:
    keys = [{"public_key": encode_base64(bytes([i % 256, i // 256]) + bytes(30))} for i in range(1000)]
    room, state, invite = third_party(V12, {"public_keys": keys})
    signatures = {"id.org": {f"ed25519:{i}": encode_base64(bytes([i % 256, i // 256]) + bytes(62)) for i in range(500)}}
    flooded = {"signed": invite["signed"] | {"signatures": signatures}}
    assert not allowed(room, state, DAVE, ELLA, "invite", third_party_invite=flooded)


# Creators of v12


def test_creators_of_v12_cannot_be_kicked_or_banned() -> None:
    room = Room(V12, additional_creators=[BOB])
    state = room.start(BOB, CAROL, power={"users": {CAROL: 2**53 - 1}})
    for target in (ALICE, BOB):
        for membership in ("leave", "ban"):
            assert not allowed(room, state, CAROL, target, membership)
    assert not allowed(room, state, ALICE, BOB, "ban")
    assert not allowed(room, state, BOB, ALICE, "leave")
    assert allowed(room, state, ALICE, CAROL, "ban")
    assert allowed(room, state, BOB, CAROL, "ban")


def test_creators_vouch_for_restricted_joins_whatever_the_invite_level() -> None:
    for version, expected in ((V12, True), (V8, False)):
        room = Room(version)
        state = room.start(power={"users": {ALICE: 100}, "invite": 101} if version is V8 else {"invite": 2**53 - 1})
        rules = room.event(state, "m.room.join_rules", ALICE, {"join_rule": "restricted"}, "")
        state = {**state, rules.key: rules}
        assert allowed(room, state, ELLA, ELLA, "join", join_authorised_via_users_server=ALICE) is expected
