"""Encryption at rest of the database: what is stored, what opens it, and changing over while the server runs."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import aiohttp
import asyncpg
import pytest

from homeserver.ports.accounts import AccountDataChanged, Device
from homeserver.ports.appservices import Delivery
from homeserver.ports.atrest import KeysMissing
from homeserver.ports.events import NewEvent
from homeserver.ports.support import Case
from homeserver.services.renewal import Renewal
from homeserver.storage.engine import EngineSettings, create_engine, sqlite_path
from homeserver.storage.sealing import Sealing, UnknownKey
from homeserver.storage.unit import Database
from tests.media.test_control import run
from tests.storage.rooms import commit, decide, make_event, make_room
from tests.support.client import Client, part
from tests.support.fixtures import StartServer
from tests.support.store import SERVER_NAME

ALICE = "@alice:hromada.test"
K1, K2 = ("k1", bytes(range(32))), ("k2", bytes(range(1, 33)))
SECRET = "a sentence nobody else may read"
OFF, FIRST, SECOND, BACK = Sealing(), Sealing([K1], enabled=True), Sealing([K2, K1], enabled=True), Sealing([K2, K1])


def test_only_its_own_key_and_use_open_a_value() -> None:
    sealed = FIRST.seal(b"plain", "event")
    assert b"plain" not in sealed
    assert sealed != FIRST.seal(b"plain", "event"), "a nonce of its own each time"
    assert SECOND.open(sealed, "event") == BACK.open(sealed, "event") == b"plain"
    with pytest.raises(UnknownKey, match="k1"):
        OFF.open(sealed, "event")
    for bad in (sealed[:-1], sealed[:-1] + b"x", sealed[:5]):
        with pytest.raises((UnknownKey, ValueError)):
            FIRST.open(bad, "event")
    with pytest.raises(UnknownKey):
        FIRST.open(sealed, "account")
    with pytest.raises(UnknownKey):
        Sealing([("k1", bytes(range(2, 34)))]).open(sealed, "event")
    assert OFF.seal(b'{"a":1}', "event") == FIRST.open(b'{"a":1}', "event") == b'{"a":1}'


def test_text_that_looks_sealed_is_text() -> None:
    assert FIRST.open_text(FIRST.seal_text("hello", "excerpt"), "excerpt") == "hello"
    for sealing in (OFF, FIRST):
        kept = sealing.open_text(sealing.seal_text("\ue0e1nonsense", "excerpt"), "excerpt")
        assert kept == "nonsense"


def reopened(store: Database, sealing: Sealing) -> Database:
    settings = replace(EngineSettings(), sealing=sealing)
    return Database(create_engine(store.engine.url, settings), SERVER_NAME, searchable=not sealing.is_on)


async def dump(url: str) -> bytes:
    """Everything in all tables."""
    if url.startswith("sqlite"):
        with sqlite3.connect(sqlite_path(url)) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows: list[Any] = [row for name in names for row in connection.execute(f'SELECT * FROM "{name}"')]
    else:
        raw = await asyncpg.connect(url)
        try:
            tables = await raw.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            rows = [tuple(row) for name in tables for row in await raw.fetch(f'SELECT * FROM "{name[0]}"')]
        finally:
            await raw.close()
    return b"\n".join(v if isinstance(v, bytes) else str(v).encode() for row in rows for v in row)


async def write(store: Database, name: str) -> dict[str, str]:
    """One of everything that holds what somebody wrote; event ids by what they are."""
    room = f"!{name}"
    head = await make_room(store, room)
    topic = make_event(room, "m.room.topic", {"topic": SECRET}, state_key="")
    said = make_event(room, "m.room.message", {"body": SECRET, "msgtype": "m.text"})
    after = head.state.set(("m.room.topic", ""), topic.event_id)
    made = NewEvent(topic, after, unsigned={"prev_content": {"topic": SECRET}})
    head = (await commit(store, decide(head, made, said)))[0].head
    async with store.write() as tx:
        await tx.account_data.put(AccountDataChanged(ALICE, room, "m.fully_read", SECRET.encode()), head.room_nid)
        await tx.devices.create(Device(ALICE, name, 1))
        queues = {device_id: queue for _, device_id, queue in await tx.to_device.queues([ALICE])}
        await tx.to_device.add(head.room_nid, SECRET.encode(), [queues[name]], [b""])
        await tx.appservices.put_delivery(Delivery(name, 1, 1, "t", SECRET.encode()))
        await tx.media.put_preview(name.encode(), 1, 2**50, SECRET.encode())
        await tx.support.put_case(Case(room, "site", head.room_nid, ALICE, 1, 1, excerpt=SECRET))
    return {"topic": topic.event_id, "said": said.event_id, "room": room, "number": str(head.room_nid)}


async def check(store: Database, written: dict[str, str]) -> None:
    """All of it is there."""
    number = int(written["number"])
    async with store.read() as tx:
        events = await tx.events.get_many([written["topic"], written["said"]])
        assert events[written["said"]].event.content["body"] == SECRET
        assert events[written["topic"]].unsigned == {"prev_content": {"topic": SECRET}}
        assert await tx.account_data.get(ALICE, written["room"], "m.fully_read") == SECRET.encode()
        assert SECRET.encode() in [change.content for change in await tx.account_data.after(ALICE, number - 1)]
        waiting = await tx.to_device.waiting((ALICE, written["room"][1:]), number - 1, number, 10)
        assert [message.json for message in waiting] == [SECRET.encode() + b"}"]
        delivery = await tx.appservices.delivery(written["room"][1:])
        assert delivery is not None
        assert delivery.body == SECRET.encode()
        case = await tx.support.case(written["room"])
        assert case is not None
        assert case.excerpt == SECRET


async def test_changing_over(store: Database) -> None:
    written = [await write(store, "plain")]
    assert SECRET.encode() in await dump(store.engine.url)
    for name, sealing in (("one", FIRST), ("two", SECOND)):
        own = reopened(store, sealing)
        written.append(await write(own, name))
        for one in written:
            await check(own, one)
        assert await Renewal(own, keeps_words=False).once() > 0
        for one in written:
            await check(own, one)
        stored = await dump(store.engine.url)
        assert SECRET.encode() not in stored
        assert b"sentence" not in stored, "nor in the index of words"
        assert await Renewal(own, keeps_words=False).once() == 0
        async with own.read() as tx:
            assert await tx.media.preview(b"plain", 1) is None
        await own.engine.dispose()
    with pytest.raises(KeysMissing, match="k2"):
        await Renewal(store, keeps_words=True).begin()
    own = reopened(store, Sealing([K2], enabled=True))  # the first key may go
    await Renewal(own, keeps_words=False).begin()
    for one in written:
        await check(own, one)
    await own.engine.dispose()

    own = reopened(store, BACK)
    await Renewal(own, keeps_words=True).once()
    await own.engine.dispose()
    await Renewal(store, keeps_words=True).begin()  # no key is needed any more
    for one in written:
        await check(store, one)


async def test_an_interrupted_change_goes_on(store: Database) -> None:
    written = await write(store, "plain")
    own = reopened(store, Sealing([K1, K2], enabled=True))
    renewal = Renewal(own, keeps_words=False)
    after = await renewal.begin()
    assert after is not None
    async with own.write() as tx:
        reached = await tx.at_rest.renew_events(after, 1)
    assert await renewal.begin() == reached, "where it was"
    other = reopened(store, SECOND)
    assert await Renewal(other, keeps_words=False).begin() == after, "another key begins anew"
    assert await renewal.begin() == after, "and so does the first, when it comes back"
    await Renewal(own, keeps_words=False).once()
    assert SECRET.encode() not in await dump(store.engine.url)
    await check(own, written)
    await other.engine.dispose()
    await own.engine.dispose()


async def test_a_redaction_takes_sealed_content_away(store: Database) -> None:
    own = reopened(store, FIRST)
    head = await make_room(own, "!a")
    topic = make_event("!a", "m.room.topic", {"topic": SECRET}, state_key="")
    head = (await commit(own, decide(head, topic)))[0].head
    newer = make_event("!a", "m.room.topic", {"topic": "other"}, state_key="")
    after = head.state.set(("m.room.topic", ""), newer.event_id)
    made = NewEvent(newer, after, unsigned={"prev_content": {"topic": SECRET}})
    head = (await commit(own, decide(head, made)))[0].head
    redaction = make_event("!a", "m.room.redaction", {"redacts": topic.event_id}, redacts=topic.event_id)
    await commit(own, decide(head, NewEvent(redaction, head.state, redacts_allowed=True)))
    async with own.read() as tx:
        events = await tx.events.get_many([topic.event_id])
    assert events[topic.event_id].event.content == {}
    assert events[topic.event_id].redacted_by == redaction.event_id
    await own.engine.dispose()


@pytest.mark.all_only
async def test_a_server_turns_it_on_and_off(
    start_server: StartServer, database: str, http: aiohttp.ClientSession
) -> None:
    server = start_server(database)
    user = await Client(http, server.url).register("secretive")
    room = await user.create_room(topic=SECRET)
    said = await user.send(room, SECRET)
    path = f"/user/{part(user.user_id)}/account_data/chat.hromada.test"
    await user.ok("PUT", path, {"note": SECRET})

    async def restart(environment: dict[str, str]) -> None:
        server.reconfigure(environment=environment)
        await asyncio.to_thread(server.restart)
        user.base_url = server.url
        synced = await user.ok("GET", "/sync")
        events = synced["rooms"]["join"][room]["timeline"]["events"]
        assert SECRET in [event["content"].get("body") for event in events if event["event_id"] == said]
        assert (await user.ok("GET", path)) == {"note": SECRET}

    on = {"HROMADA_AT_REST_ENABLED": "true"}
    await restart(on)
    body = {"search_categories": {"room_events": {"search_term": "sentence"}}}
    (await user.request("POST", "/search", body)).error((400, 404), "M_UNRECOGNIZED", "M_UNKNOWN")
    await run(server, "renew")  # waits for what the server has begun by itself, or finds nothing left
    later = await user.send(room, SECRET)
    if database == "sqlite":
        await asyncio.to_thread(server.stop)
        files = b"".join(file.read_bytes() for file in server.data_dir.glob("*.db*"))
        assert SECRET.encode() not in files, "nor in what SQLite has freed"
        assert later.encode() in files
        await asyncio.to_thread(server.start)
    keys = server.data_dir / "at-rest.keys"
    keys.rename(keys.with_name("elsewhere"))
    server.stop()
    server.reconfigure(environment={})
    server.launch()
    assert server.wait() == 2
    assert "which are not configured" in server.log_tail()
    keys.with_name("elsewhere").rename(keys)
    await asyncio.to_thread(server.start)
    await run(server, "renew")
    keys.unlink()
    await restart({})
