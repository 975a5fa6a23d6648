"""The bits of events say what the default rules say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from homeserver.core import canonical
from homeserver.core.event import Event
from homeserver.core.pushbits import HIGHLIGHTS, NOTIFIES, default_push, mentioned_users
from homeserver.core.pushmatch import PushMatcher, RoomFacts
from homeserver.core.pushrules import default_rules
from homeserver.core.versions import ROOM_VERSIONS

ME, SENDER = "@me:hromada.test", "@sender:hromada.test"

TYPES = (
    *("m.room.message", "M.Room.Message", "m.room.encrypted", "m.reaction", "m.room.member", "m.call.invite"),
    *("m.room.tombstone", "m.room.server_acl", "m.room.topic", "org.example"),
)
types = st.sampled_from(TYPES)
mentions = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "user_ids": st.one_of(st.lists(st.sampled_from([ME, SENDER, "@other:x", 5])), st.just("x")),
            "room": st.sampled_from([True, False, "true", 1]),
        },
    ),
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "body": st.sampled_from(["hello", "@room hello", "me"]),
        "msgtype": st.sampled_from(["m.text", "m.notice", "M.NOTICE", 7]),
        "membership": st.sampled_from(["join", "leave"]),
        "m.mentions": mentions,
        "m.relates_to": st.sampled_from([{"rel_type": "m.replace"}, {"rel_type": "m.thread"}, "x", {}]),
    },
)


def made(pdu: dict[str, Any]) -> Event:
    return Event.stored(canonical.encode(pdu), ROOM_VERSIONS["11"], "$event", "!r")


@given(
    kind=types,
    content=contents,
    state_key=st.sampled_from([None, "", "x", SENDER]),
    level=st.integers(0, 100),
    count=st.integers(1, 5),
)
def test_bits_and_rules_agree(
    kind: str, content: dict[str, Any], state_key: str | None, level: int, count: int
) -> None:
    shown: dict[str, Any] = {"type": kind, "content": content, "sender": SENDER, "room_id": "!r"}
    pdu: dict[str, Any] = {**shown, "depth": 1, "origin_server_ts": 1, "prev_events": [], "auth_events": []}
    if state_key is not None:
        shown["state_key"] = pdu["state_key"] = state_key
    event = made(pdu)
    bits = default_push(event, lambda: level >= 50)
    mentioned = ME in mentioned_users(event)
    outcome = PushMatcher(ME, default_rules(ME)).match(shown, RoomFacts(count, level, {}))
    assert outcome.notify == (mentioned or bool(bits & NOTIFIES))
    assert outcome.highlight == (mentioned or bool(bits & HIGHLIGHTS))


def test_nobody_is_mentioned_twice_or_by_themselves() -> None:
    content = {"m.mentions": {"user_ids": [ME, ME, SENDER]}}
    pdu = {"type": "m.room.message", "content": content, "sender": SENDER, "room_id": "!r", "depth": 1}
    event = made({**pdu, "origin_server_ts": 1, "prev_events": [], "auth_events": []})
    assert mentioned_users(event) == [ME]
