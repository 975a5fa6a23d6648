"""A page of events is decided at once where nothing changes between them, with the same outcome as each alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core import canonical
from homeserver.core.event import Event
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.events import StoredEvent
from homeserver.ports.sync import ViewChange
from homeserver.services.rooms.visibility import History, history_of
from tests.services.rooms.conftest import ALICE, BOB

_ROOM = "!room:example.org"
_MEMBERSHIPS = ["join", "leave", "invite", "ban"]
_VISIBILITIES = ["world_readable", "shared", "invited", "joined"]
_CHANGES = st.dictionaries(
    st.integers(1, 60),
    st.one_of(
        st.tuples(st.just(True), st.sampled_from(_MEMBERSHIPS)),
        st.tuples(st.just(False), st.sampled_from(_VISIBILITIES)),
    ),
    max_size=12,
)


def stored(order: int | None, change: tuple[bool, str] | None) -> StoredEvent:
    pdu = {"auth_events": [], "prev_events": [], "content": {}, "depth": 1, "origin_server_ts": 1, "sender": BOB}
    if change is None:
        pdu |= {"type": "m.room.message"}
    elif change[0]:
        pdu |= {"type": "m.room.member", "state_key": ALICE, "content": {"membership": change[1]}}
    else:
        pdu |= {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": change[1]}}
    event = Event.stored(canonical.encode(pdu), ROOM_VERSIONS["11"], f"${order}", _ROOM)
    return StoredEvent(event, order or -1, order, order, 1, 1)


def read(changes: dict[int, tuple[bool, str]], apart: list[ViewChange]) -> History:
    told = [ViewChange(order, 1, *change) for order, change in sorted(changes.items())]
    return history_of(ALICE, [*told, *apart])


@given(_CHANGES, st.lists(st.integers(1, 60), max_size=3), st.booleans(), st.one_of(st.none(), st.integers(0, 62)))
def test_a_page_shows_what_its_events_show(
    changes: dict[int, tuple[bool, str]], forks: list[int], backwards: bool, end: int | None
) -> None:
    apart = [ViewChange(order, 1, True, "join", apart=True) for order in forks]
    history = read(changes, apart)
    events = [stored(order, changes.get(order)) for order in (*range(1, 62), None)]
    if backwards:
        events.reverse()
    alone = [one for one in events if history.visible(one) and (end is None or (one.order or 0) <= end)]
    assert history.shown(events, end) == alone


def test_what_decides_is_looked_at_once_for_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {10: (False, "joined"), 20: (True, "join"), 30: (True, "leave"), 40: (True, "join")}
    history = read(changes, [])
    events = [stored(order, changes.get(order)) for order in range(1, 101)]
    asked: list[int] = []
    decide = History.sees_at

    def counting(self: History, order: int, key: tuple[str, str] | None) -> bool:
        asked.append(order)
        return decide(self, order, key)

    monkeypatch.setattr(History, "sees_at", counting)
    unseen = [*range(11, 20), *range(31, 40)]
    assert [one.order for one in history.shown(events)] == [order for order in range(1, 101) if order not in unseen]
    assert len(asked) == 9  # four changes and the five stretches around them
