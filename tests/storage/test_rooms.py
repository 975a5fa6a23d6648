"""State, members and memberships, on both databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from homeserver.core.event import Event
from homeserver.ports.events import RoomHead
from homeserver.storage.engine import sqlite_path
from homeserver.storage.repos.sync import _VISIBILITY_HISTORIES
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, ids, make_event, make_room, message, whole
from tests.support.statements import counted


def member(room_id: str, user: str, membership: str, sender: str = "@alice:hromada.test") -> Event:
    return make_event(room_id, "m.room.member", {"membership": membership}, state_key=user, sender=sender)


async def grown(store: Database, room_id: str, *memberships: tuple[str, str]) -> RoomHead:
    """A room with these (user, membership) pairs, one after another."""
    head = await make_room(store, room_id)
    (result,) = await commit(store, decide(head, *(member(room_id, user, what) for user, what in memberships)))
    assert result.head is not None
    return result.head


async def test_state_of_many_rooms_is_a_constant_number_of_statements(store: Database) -> None:
    a = await grown(store, "!a", ("@bob:hromada.test", "join"))
    b = await grown(store, "!b", ("@carol:else.where", "invite"))
    rooms = [a.room_nid, b.room_nid]
    async with store.read() as tx:
        with counted(store) as statements:
            everything = await tx.rooms.current_state(rooms)
            typed = await tx.rooms.current_state(rooms, types=["m.room.member", "m.room.create"])
            without = await tx.rooms.current_state(rooms, not_types=["m.room.member"])
            some = await tx.rooms.member_events({a.room_nid: ["@bob:hromada.test", "@nobody:x"], b.room_nid: []})
            counts = await tx.rooms.member_counts(rooms)
        assert len(statements) == 9, "each finds which events, and reads them; counts need none"
        members = await tx.rooms.current_members(a.room_nid)
        invited = await tx.rooms.current_members(b.room_nid, ["invite"])
    assert {nid: set(ids(events)) for nid, events in everything.items()} == {
        head.room_nid: set(whole(head).values()) for head in (a, b)
    }
    assert {nid: set(ids(events)) for nid, events in typed.items()} == {
        head.room_nid: set(whole(head).values()) for head in (a, b)
    }
    assert [item.event.type for item in without[a.room_nid]] == ["m.room.create"]
    assert [item.event.state_key for item in some[a.room_nid]] == ["@bob:hromada.test"]
    assert some[b.room_nid] == []
    assert counts == {a.room_nid: {"join": 2}, b.room_nid: {"join": 1, "invite": 1}}
    assert [item.event.state_key for item in members] == ["@alice:hromada.test", "@bob:hromada.test"]
    assert [item.event.state_key for item in invited] == ["@carol:else.where"]


async def test_memberships_of_local_users_follow_the_state(store: Database) -> None:
    head = await grown(store, "!a", ("@bob:hromada.test", "invite"), ("@bob:else.where", "join"))

    async def bob(membership: str) -> tuple[str, bool]:
        nonlocal head
        (result,) = await commit(store, decide(head, member("!a", "@bob:hromada.test", membership)))
        assert result.head is not None
        head = result.head
        async with store.read() as tx:
            (found,) = await tx.rooms.memberships("@bob:hromada.test")
        assert found.position == result.events[0].position
        assert found.event_id == result.events[0].event.event_id
        return found.membership, found.forgotten

    async with store.read() as tx:
        assert await tx.rooms.memberships("@bob:else.where") == []
        assert await tx.rooms.joined_local_users(head.room_nid) == ["@alice:hromada.test"]
        assert await tx.rooms.joined_members([head.room_nid]) == {"@alice:hromada.test", "@bob:else.where"}
        pairs = await tx.rooms.joined_pairs([head.room_nid], ["@alice:hromada.test", "@bob:hromada.test"])
        assert pairs == [(head.room_nid, "@alice:hromada.test")]
    assert await bob("join") == ("join", False)
    assert await bob("leave") == ("leave", False)
    async with store.write() as tx:
        await tx.rooms.set_forgotten("@bob:hromada.test", head.room_nid)
    assert await bob("ban") == ("ban", True)
    assert await bob("invite") == ("invite", False)


async def test_heroes_are_the_first_members_and_never_oneself(store: Database) -> None:
    users = [f"@u{number}:hromada.test" for number in range(8)]
    a = await grown(store, "!a", *((user, "invite" if index == 2 else "join") for index, user in enumerate(users)))
    b = await grown(store, "!b", (users[0], "leave"), (users[1], "ban"))
    async with store.read() as tx:
        with counted(store) as statements:
            heroes = await tx.rooms.heroes([a.room_nid, b.room_nid], "@alice:hromada.test")
        assert len(statements) == 1
        mine = await tx.rooms.heroes([a.room_nid], users[1])
    assert heroes == {a.room_nid: users[:5], b.room_nid: users[:2]}
    assert mine[a.room_nid] == ["@alice:hromada.test", users[0], *users[2:5]]


async def test_the_directory_lists_published_rooms(store: Database) -> None:
    a, b = await make_room(store, "!a"), await make_room(store, "!b")
    async with store.write() as tx:
        await tx.rooms.set_public(a.room_nid, True)
        await tx.rooms.set_public(b.room_nid, True)
        await tx.rooms.set_public(b.room_nid, False)
    async with store.read() as tx:
        assert await tx.rooms.public_rooms() == [(a.room_nid, "!a")]


async def test_what_decides_who_may_see_what_is_in_timeline_order(store: Database) -> None:
    head = await make_room(store, "!a")
    seen = "m.room.history_visibility"
    events = [
        make_event("!a", "m.room.member", {"membership": "invite"}, state_key="@z:x"),
        make_event("!a", seen, {"history_visibility": "joined", "membership": "join"}, state_key=""),
        make_event("!a", "m.room.member", {"membership": "join"}, state_key="@y:x"),
        make_event("!a", "m.room.member", {"membership": "join", "history_visibility": "shared"}, state_key="@z:x"),
        message("!a"),
        make_event("!a", seen, {"history_visibility": ["nonsense"]}, state_key=""),
        make_event("!a", "m.room.member", {"membership": "leave"}, state_key="@z:x"),
    ]
    await commit(store, decide(head, *events))
    async with store.read() as tx:
        found = await tx.sync.visibility_histories([head.room_nid, 77], "@z:x")
        everything = await tx.events.get_many([event.event_id for event in events])
    assert found[77] == []
    values = [(True, "invite"), (False, "joined"), (True, "join"), (False, "shared"), (True, "leave")]
    assert [(one.is_member, one.value) for one in found[head.room_nid]][-5:] == values
    last = everything[events[-1].event_id]
    assert (found[head.room_nid][-1].order, found[head.room_nid][-1].snapshot) == (last.order, last.snapshot)


async def test_what_decides_who_may_see_what_is_found_without_reading_the_timeline(store: Database) -> None:
    """SQLite knows nothing of how long timelines are, and would read a million messages for two rows."""
    if not store.engine.is_sqlite:
        return
    with counted(store) as statements:
        async with store.read() as tx:
            await tx.sync.visibility_histories([1], "@z:x")
    with closing(sqlite3.connect(sqlite_path(store.engine.url))) as connection:
        values = ["[1]" if "rooms" in name else "@z:x" for name in _VISIBILITY_HISTORIES.sqlite_names]
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statements[0]}", values)]
    assert [step for step in plan if "ix_events_state" in step], plan
    assert not [step for step in plan if "ix_events_timeline" in step], plan
