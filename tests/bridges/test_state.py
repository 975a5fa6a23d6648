"""What the bridge remembers, in a file and in PostgreSQL: the same of both."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg.conninfo
import pytest

from bridges.config import ConfigError
from bridges.database import parameters
from bridges.http import make_app
from bridges.moving import move
from bridges.state import Delivery, Made, RoomRow, RowState, State, StateAway, StateInUse, Stored
from bridges.webhooks import outgoing
from bridges.webhooks.incoming import Hooks
from tests.bridges.test_webhooks import make_config, signed
from tests.support.postgres import PostgresCluster

BOT = "@_db_bot:hromada.test"


@pytest.fixture(params=["sqlite", "postgres"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a new state is."""
    if request.param == "sqlite":
        yield tmp_path / "state.db"
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    url = cluster.make_database()
    yield url
    cluster.drop_database(url)


def message(lane: str, body: str, mapping: str = "rows") -> Delivery:
    """A message to a room."""
    return Delivery(f"{lane}-{body}", mapping, lane, "m.room.message", BOT, {"body": body}, 1234567890123)


def test_what_is_captured(at: Path | str) -> None:
    state = State(at)
    first = Stored(
        [message("a", "one"), message("a", "one"), message("b", "two")],
        {"a": RoomRow("a", "_db_a", "A", "about a")},
        {"[1]": RowState("[1]", 1, "h1", {"text": "nul \0, € and \ud83d"}, True, 5)},
        ["place 1", "place 2"],
        progress={"position": "7", "scan": "x"},
    )
    state.expect_echo("rows", "[1]", "h0", "$e")
    state.store("rows", first)
    state.store("rows", Stored(taken=["place 2"], rows={"[1]": RowState("[1]", 2, None, None, False, 3)}))
    assert state.taken("rows") == {"place 1", "place 2"}
    assert state.taken("others") == set()
    assert state.row("rows", "[1]") == RowState("[1]", 2, None, None, False, 5), "a scan that met it is remembered"
    assert state.row("rows", "[2]") is None
    assert state.progress("rows") == {"position": "7", "scan": "x"}
    state.note("rows", position="8", scan=None)
    assert state.progress("rows") == {"position": "8"}
    assert state.waiting() == 2, "the same transaction is stored once"
    assert state.expects_echoes("rows")
    assert state.echoes("rows", "[1]") == [("h0", "$e")]
    state.store("rows", Stored(echoes=[("[1]", "$e")]))
    assert not state.expects_echoes("rows")
    state.expect_echo("rows", "[1]", "h1", "$f")
    state.expect_echo("rows", "[1]", "h2", "$f")
    assert state.echoes("rows", "[1]") == [("h2", "$f")]
    state.forget_echo("rows", "$f")
    assert state.echoes("rows", "[1]") == []
    state.close()
    state = State(at)
    state.forget_taken("rows")
    assert state.taken("rows") == set()
    state.close()


def test_scans(at: Path | str) -> None:
    state = State(at)
    keys = ['["B"]', '["a"]', '["ä"]', "[10]", "[9]"]
    state.store("rows", Stored(rows={key: RowState(key, 1, "h", {"x": 1}, True, 1) for key in keys}))
    state.store("rows", Stored(rows={"[0]": RowState("[0]", 1, None, None, False, 1)}))
    state.met("rows", ["[9]"], 2)
    assert state.not_met("rows", 2, "", 10) == sorted(set(keys) - {"[9]"}), "by bytes, and only what is there"
    assert state.not_met("rows", 2, '["B"]', 1) == ['["a"]']
    state.note("rows", ahead="1")
    state.clear_ahead("rows")
    found = state.row("rows", "[10]")
    assert found is not None
    assert not found.ahead
    assert state.progress("rows") == {}
    state.close()


def test_what_is_delivered(at: Path | str) -> None:
    state = State(at)
    state.enqueue(message("busy", f"{number}") for number in range(450))
    state.enqueue([message("a", "1"), message("b", "1"), message("a", "2")])
    assert state.lanes((), 1) == ["busy"]
    assert state.lanes((), 5) == ["busy", "a", "b"]
    assert state.lanes(["busy", "b"], 5) == ["a"]
    assert state.lanes((), 0) == []
    one, two = state.heads("a", 5)
    assert (one.content, two.content, one.ts, one.attempts) == ({"body": "1"}, {"body": "2"}, 1234567890123, 0)
    state.settle(one, "waiting", "busy \0")
    assert state.heads("a", 1)[0].attempts == 1
    state.settle_made([Made(one, "$1", keep=True), Made(two, "$2", keep=True)])
    state.settle_made([Made(one, "$1", keep=True)])
    assert state.sent("a") == ["$1", "$2"]
    state.forget_sent("a", "$1")
    assert state.sent("a") == ["$2"]
    parked = state.heads("b", 1)[0]
    state.settle(parked, "parked", "refused")
    assert state.lanes(["busy"], 5) == []
    assert state.heads("b", 5) == []
    assert state.waiting() == 451
    assert state.troubles() == [(parked.id, "parked", "rows", "b", "refused")]
    assert state.retry(parked.id)
    assert not state.retry(parked.id)
    assert not state.drop(parked.id)
    failed = Delivery("f", "rows", "c", "failed", BOT, {"error": "cannot be \0 rendered"})
    state.enqueue([failed])
    [(number, word, _, _, why)] = state.troubles()
    assert (word, why) == ("dead", "cannot be \ufffd rendered")
    assert not state.retry(number)
    assert state.drop(number)
    state.prune(int(time.time() * 1000) + 60_000)
    state.enqueue([one])
    assert [d.txn for d in state.heads("a", 5)] == [one.txn], "what is pruned can come again"
    state.close()


def test_what_is_received_and_made(at: Path | str) -> None:
    state = State(at)
    events = [{"event_id": f"${n}", "body": "\0 😀"} for n in range(3)]
    assert state.receive("t1", [*events, {"event_id": 5}, {"event_id": "$large", "x": "x" * 300_000}]) == 3
    assert state.receive("t1", events) == 0
    assert state.receive("t2", [*events, {"event_id": "$new"}]) == 1
    page = state.inbox(2)
    assert [event["event_id"] for _, event in page] == ["$0", "$1"]
    assert page[0][1] == events[0]
    state.handled([id_ for id_, _ in page], [message("a", "answer")])
    assert [event["event_id"] for _, event in state.inbox(9)] == ["$2", "$new"]
    assert [event["event_id"] for _, event in state.inbox(9, state.inbox(1)[0][0])] == ["$new"]
    assert state.waiting() == 1
    state.store("rows", Stored(rooms={"a": RoomRow("a", "_db_a", "A", "", True)}))
    assert state.room_by_alias("_db_a") is None, "before it is made"
    state.made_room("a", "!a")
    assert state.room_by_alias("_db_a") == state.room("a") == state.room_by_id("!a")
    assert state.room("a") == RoomRow("a", "_db_a", "A", "", True, "!a")
    state.made_space("_db_s", "!s")
    state.made_space("_db_s", "!s2")
    assert (state.space("_db_s"), state.space("_db_x")) == ("!s2", None)
    assert not state.has_ghost("@g")
    state.made_ghost("@g")
    state.made_ghost("@g")
    state.set_profile("@g", "Name", None)
    assert state.has_ghost("@g")
    assert state.profile("@g") == ("Name", None)
    assert state.profile("@h") == (None, None)
    state.set_member("a", "@g", True)
    state.set_member("a", "@g", True)
    assert state.is_member("a", "@g")
    state.set_member("a", "@g", False)
    assert not state.is_member("a", "@g")
    assert state.linked("@x") is None
    state.close()


def test_webhooks(at: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, config = State(at), make_config(tmp_path, monkeypatch)
    hooks = Hooks(config, state, lambda: None, lambda: 1000.0)
    body = b'{"order": {"id": 7}, "status": "paid"}'
    assert hooks.receive("shop", signed(body, 1000.0), body) == ({"stored": True}, 202)
    assert hooks.receive("shop", signed(body, 1000.0), body) == ({"stored": False}, 202)
    assert state.waiting() == 1
    outgoing.Endpoints(config, state, lambda _name, _text: None)
    assert outgoing.troubles(state) == []
    state.close()


def test_one_bridge_at_a_time(at: Path | str) -> None:
    state = State(at)
    with pytest.raises(StateInUse):
        State(at)
    beside = State(at, shared=True)
    beside.note("rows", paused="by hand")
    assert state.progress("rows") == {"paused": "by hand"}
    with pytest.raises(ZeroDivisionError), state.transaction() as db:
        db.execute("DELETE FROM progress")
        raise ZeroDivisionError
    assert state.progress("rows") == {"paused": "by hand"}, "all or nothing"
    state.close()
    after = State(at)
    assert after.progress("rows") == {"paused": "by hand"}
    after.close()
    beside.close()


def test_who_took_over_is_the_one(at: Path | str) -> None:
    """The first lock did not hold: whoever came last has the number, and the other can write nothing."""
    old = State(at)
    if isinstance(at, Path):
        at.with_name("state.db.lock").unlink()
    else:
        old._db.execute("SELECT pg_advisory_unlock_all()")
    new = State(at)
    writes = (
        lambda: old.store("rows", Stored(progress={"position": "1"})),
        lambda: old.forget_taken("rows"),
        lambda: old.made_room("a", "!a"),
        lambda: old.made_ghost("@g"),
        lambda: old.enqueue([message("a", "1")]),
        lambda: old.receive("t", [{"event_id": "$e"}]),
    )
    for write in writes:
        with pytest.raises(StateInUse):
            write()
    new.store("rows", Stored(progress={"position": "2"}))
    assert new.progress("rows") == {"position": "2"}
    assert not new.has_ghost("@g")
    assert new.waiting() == 0
    assert new.inbox(5) == []
    old.close()
    new.close()


def test_a_session_that_ends(postgres_cluster: PostgresCluster) -> None:
    """Nothing is half done, and nothing is gone on with: the bridge begins anew."""
    url = postgres_cluster.make_database()
    state = State(url)
    state.note("rows", position="1")
    pid = state._db.execute("SELECT pg_backend_pid()").fetchone()[0]
    with pytest.raises(StateAway), state.transaction() as db:
        db.execute("DELETE FROM progress")
        postgres_cluster.sql(f"SELECT pg_terminate_backend({pid})")
        db.execute("DELETE FROM taken")
    with pytest.raises(StateAway):
        state.waiting()
    state.close()
    again = State(url)
    assert again.progress("rows") == {"position": "1"}
    again.close()
    with pytest.raises(StateAway):
        State(url.replace("hromada@", "nobody@"))
    postgres_cluster.drop_database(url)


async def test_what_is_sent_to_a_lost_state_is_to_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path, monkeypatch)
    old = State(config.state)
    Path(f"{config.state}.lock").unlink()
    new = State(config.state)
    client = make_app(config, old, lambda: None).test_client()
    token = config.appservice.hs_token.read()
    answer = await client.put(
        "/_matrix/app/v1/transactions/1",
        json={"events": [{"event_id": "$e", "sender": "@a:x"}]},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 503
    assert new.inbox(5) == []
    old.close()
    new.close()


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://b@127.0.0.1/x", None),
        ("postgresql://b@localhost:5433/x", None),
        ("postgresql:///x?host=/run/postgresql", None),
        ("postgresql://b@db.example.org/x", "verify-full"),
        ("postgresql://b@127.0.0.1,db.example.org/x", "verify-full"),
        ("postgresql://b@db.example.org/x?sslmode=require", "require"),
    ],
)
def test_beyond_this_machine_it_is_encrypted(url: str, mode: str | None) -> None:
    found = parameters(psycopg.conninfo, url)
    assert found.get("sslmode") == mode
    assert found.get("sslrootcert") == ("system" if mode == "verify-full" else None)


@pytest.mark.parametrize("url", ["postgresql://[", "postgresql://x/y?nonsense=1"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"appservice\.state"):
        State(url)


def test_a_file_is_moved(postgres_cluster: PostgresCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tmp_path, monkeypatch)
    old = State(config.state)
    hooks = Hooks(config, old, lambda: None, lambda: 1000.0)
    body = b'{"order": {"id": 7}, "status": "paid"}'
    hooks.receive("shop", signed(body, 1000.0), body)
    old.enqueue(message("a", f"{number}") for number in range(2_500))
    old.settle_made([Made(delivery, f"$z{delivery.id}", keep=True) for delivery in old.heads("a", 2)])
    old.settle_made([Made(delivery, "$a", keep=True) for delivery in old.heads("a", 1)])
    row = RowState("[1]", 2, "h", {"x": 1}, True, 5)
    old.store("rows", Stored(rows={"[1]": row}, taken=["p"], progress={"n": "1"}))
    old.receive("t", [{"event_id": "$e"}, {"event_id": "$f"}])
    url = postgres_cluster.make_database()
    moved = msgspec.structs.replace(config, appservice=msgspec.structs.replace(config.appservice, state=url))
    options = argparse.Namespace(file=str(config.state))
    with pytest.raises(StateInUse):
        move(moved, options)
    sent = old.sent("a")
    old.close()
    assert move(moved, options) == 0
    assert move(moved, options) == 1, "not over what is there"
    assert move(config, options) == 1, "not into a file"
    new = State(url)
    assert new.waiting() == 2_498
    assert [delivery.content["body"] for delivery in new.heads("a", 2)] == ["3", "4"]
    assert new.sent("a") == sent == [*sent[:2], "$a"]
    assert new.row("rows", "[1]") == row
    assert (new.taken("rows"), new.progress("rows")) == ({"p"}, {"n": "1"})
    assert new.receive("t", [{"event_id": "$g"}]) == 0
    hooks = Hooks(config, new, lambda: None, lambda: 1000.0)
    assert hooks.receive("shop", signed(body, 1000.0), body) == ({"stored": False}, 202)
    new.enqueue([message("a", "new")])
    new.receive("t2", [{"event_id": "$h"}])
    assert new.heads("a", 3_000)[-1].content["body"] == "new", "numbers go on"
    assert [event["event_id"] for _, event in new.inbox(9)] == ["$e", "$f", "$h"]
    new.close()
    postgres_cluster.drop_database(url)
