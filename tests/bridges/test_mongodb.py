"""The MongoDB source against a server that speaks its protocol: streams, polling, scans, writes, and logins."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId, Timestamp
from pymongo import AsyncMongoClient

from bridges.config import Config, load
from bridges.sources import Batch, Change, SourceUnavailable, Write
from bridges.sources.mongodb import MongoSource, PollFeed, StreamFeed, plain
from bridges.users.directory import Directory, Verdict
from bridges.users.mongodb import MongoUsers
from bridges.users.people import Table
from tests.bridges.bench import Bench
from tests.bridges.support import Bridge
from tests.bridges.test_login import stored
from tests.support.certificates import make_certificates
from tests.support.client import PASSWORD, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import unavailable
from tests.support.mongo import Mongo, MongoUnavailable, running_mongo
from tests.support.mongofaults import HISTORY_LOST, MongoFaults

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
as_token = { env = "TOKEN" }
hs_token = { env = "TOKEN" }
[source.helpdesk]
driver = "mongodb"
url = { env = "HELPDESK_URL" }
timeouts = { connect = "3s" }
[mapping.tickets]
source = "helpdesk"
collection = "support_tickets"
key = ["_id"]
columns = ["_id", "subject", "status", "messages", "rev"]
deliver = "latest"
filter = { col = "status", op = "ne", value = "spam" }
capture = { mode = "changestream", fallback = "overlap", cursor = "updated_at", overlap = "60s", poll = "100ms" }
room = { alias = "_db_tickets_{{ _id }}", name = "{{ subject }}" }
"""

STEPPED = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
listen = "127.0.0.1:1"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
[source.shop]
driver = "mongodb"
url = {{ env = "SHOP_URL" }}
[mapping.rows]
source = "shop"
collection = "rows_"
key = ["_id"]
columns = ["_id", "state"]
capture = {{ mode = "changestream", poll = "20ms" }}
room = {{ alias = "_db_rows_{{{{ _id }}}}" }}
message = [
  {{ on = "insert", text = "{{{{ state }}}}" }},
  {{ on = "update", text = "{{{{ old.state }}}} -> {{{{ state }}}}" }},
  {{ on = "delete", text = "gone" }},
]
"""


@pytest.fixture(scope="module")
def mongo() -> Iterator[Mongo]:
    try:
        with running_mongo() as server:
            yield server
    except MongoUnavailable as reason:
        unavailable(str(reason))


@pytest.fixture
def config(mongo: Mongo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("TOKEN", "t")
    monkeypatch.setenv("HELPDESK_URL", mongo.url())
    (tmp_path / "bridges.toml").write_text(CONFIG)
    return load(tmp_path / "bridges.toml")


@pytest.fixture
async def source(config: Config) -> AsyncIterator[MongoSource]:
    opened = MongoSource(config, "helpdesk")
    yield opened
    await opened.close()


@pytest.fixture
async def tickets(config: Config) -> AsyncIterator[Any]:
    """The collection, as the application uses it."""
    client: Any = AsyncMongoClient(config.source["helpdesk"].url.read())
    yield client.get_default_database()["support_tickets"]
    await client.close()


def ticket(number: int, **more: Any) -> dict[str, Any]:
    return {"_id": ObjectId(f"{number:024x}"), "subject": f"Ticket {number}", "status": "open", "rev": 1} | more


async def read(feed: StreamFeed | PollFeed, position: str, wanted: int) -> tuple[list[Change], str]:
    """Read until so many changes have come."""
    found: list[Change] = []
    for _ in range(100):
        batch: Batch = await feed.read(position, 100)
        found += batch.changes
        position = batch.position
        await feed.acknowledge(batch)
        if len(found) >= wanted:
            break
    return found, position


async def test_a_stream_goes_on_where_it_was(source: MongoSource, tickets: Any, config: Config, mongo: Mongo) -> None:
    await tickets.insert_one(ticket(1))
    feed = source.feed("tickets")
    assert isinstance(feed, StreamFeed)
    position = await feed.open(None)
    assert "token" in position
    await tickets.insert_one(ticket(2, price=1.5))
    await tickets.update_one({"_id": ObjectId(f"{1:024x}")}, {"$set": {"status": "closed"}})
    changes, position = await read(feed, position, 2)
    assert {change.op for change in changes} == {"seen"}
    assert {str(change.key[0])[-1]: change.new["status"] for change in changes if change.new} == {
        "1": "closed",
        "2": "open",
    }
    await feed.stop()
    # While nobody listened, and the server was killed.
    await tickets.delete_one({"_id": ObjectId(f"{2:024x}")})
    await tickets.insert_one(ticket(3, status="spam"))
    if not mongo.outside:
        mongo.kill()
        mongo.start()
    second = MongoSource(config, "helpdesk")
    try:
        again = second.feed("tickets")
        assert isinstance(again, StreamFeed)
        assert await again.open(position) == position
        changes, position = await read(again, position, 2)
        assert {str(change.key[0])[-1]: change.new for change in changes} == {"2": None, "3": None}
        await again.stop()
    finally:
        await second.close()


@pytest.fixture
async def faults(mongo: Mongo) -> AsyncIterator[MongoFaults]:
    """What stands between the server and the bridge."""
    if mongo.outside:
        pytest.skip("a server of somebody else is not in our hands")
    async with MongoFaults(mongo.port).running() as between:
        yield between


@pytest.fixture
async def bench(
    mongo: Mongo, faults: MongoFaults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """A bridge that is stepped by hand, with the faults between it and its collection."""
    url = mongo.url()
    monkeypatch.setenv("SHOP_URL", url.replace(str(mongo.port), str(faults.port)))
    bridge = Bridge(tmp_path)
    bridge.file.write_text(STEPPED.format(folder=tmp_path))
    made = Bench(load(bridge.file), url)
    yield made
    await made.close()


async def until_told(bench: Bench, expected: dict[str, list[str]]) -> None:
    """Step until all of it was told, and once more: nothing is told twice."""

    async def told() -> bool:
        await bench.step()
        return {row: bench.told(json.dumps(row)) for row in expected} == expected

    await eventually(told)
    await bench.step()
    assert await told()


def _invalidated(command: dict[str, Any]) -> dict[str, Any]:
    """The collection was dropped, renamed, or restored: the stream ends here."""
    event = {"_id": {"_data": "82"}, "operationType": "invalidate", "clusterTime": Timestamp(1, 1)}
    cursor = {
        "id": Int64(0),
        "ns": f"{command['$db']}.rows_",
        "nextBatch": [event],
        "postBatchResumeToken": event["_id"],
    }
    return {"ok": 1.0, "cursor": cursor}


@pytest.mark.parametrize("fault", ["getMore", "aggregate", "invalidate"])
async def test_a_stream_that_cannot_go_on_makes_a_scan(bench: Bench, faults: MongoFaults, fault: str) -> None:
    client: Any = AsyncMongoClient(bench.url)
    rows = client.get_default_database()["rows_"]
    notices = list[str]()
    try:
        await bench.drain()
        await rows.insert_many([{"_id": "x", "state": "a"}, {"_id": "y", "state": "b"}])
        await until_told(bench, {"x": ["a"], "y": ["b"]})
        if fault == "aggregate":  # which asks a server where to go on
            await bench.restart()
        bench.capture.notify = lambda _mapping, text: notices.append(text)
        await rows.update_one({"_id": "x"}, {"$set": {"state": "c"}})
        await rows.delete_one({"_id": "y"})
        await rows.insert_one({"_id": "z", "state": "d"})
        faults.answer(
            "aggregate" if fault == "aggregate" else "getMore", _invalidated if fault == "invalidate" else HISTORY_LOST
        )
        await until_told(bench, {"x": ["a", "a -> c"], "y": ["b", "gone"], "z": ["d"]})
        assert faults.answered == 1
        assert json.loads(bench.state.progress("rows")["last_scan"])["kind"] == "reconcile"
        assert [text for text in notices if "cannot go on" in text and "the table is compared" in text] == notices
        assert len(notices) == (fault != "invalidate")
        await rows.update_one({"_id": "z"}, {"$set": {"state": "e"}})
        await until_told(bench, {"z": ["d", "d -> e"]})
    finally:
        await client.close()


async def _asked(folder: Path, patch: pytest.MonkeyPatch, url: str, tls: str) -> str:
    """What the first document is, or why there is none."""
    patch.setenv("SHOP_URL", url)
    bridge = Bridge(folder)
    more = f'url = {{ env = "SHOP_URL" }}\ntls = {tls}\ntimeouts = {{ connect = "3s" }}'
    bridge.file.write_text(STEPPED.format(folder=folder).replace('url = { env = "SHOP_URL" }', more))
    source = MongoSource(load(bridge.file), "shop")
    try:
        return str(await source.documents("rows_", {}, limit=1))
    except SourceUnavailable as error:
        return str(error)
    finally:
        await source.close()


# What pymongo could not encrypt, it leaves to the collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_the_certificate_is_checked(mongo: Mongo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nx-27017 speaks no TLS: what ends it stands in front."""
    if mongo.outside:
        pytest.skip("a server of somebody else has a certificate of its own")
    ours, other = make_certificates(tmp_path / "ours"), make_certificates(tmp_path / "other")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ours.certificate, ours.key)
    verified = f'{{ ca = "{ours.authority}" }}'
    with FaultProxy.running(mongo.port, tls=context) as proxy:
        right, wrong = (f"mongodb://{host}:{proxy.port}/shop" for host in ("localhost", "127.0.0.1"))
        for tls in (verified, '{ mode = "require" }'):
            assert await _asked(tmp_path, monkeypatch, right, tls) == "[]"
        refused = [(right, f'{{ ca = "{other.authority}" }}'), (right, "{}"), (wrong, verified)]
        asked = [_asked(tmp_path, monkeypatch, *one) for one in refused]
        for answer in await asyncio.gather(*asked):
            assert re.match(r"the certificate of the database is not trusted: .*; see tls\.ca", answer)
    gc.collect()


async def test_polling_sees_what_commits_late(source: MongoSource, tickets: Any) -> None:
    now = datetime.now(UTC)
    feed = PollFeed(source, "tickets")
    position = await feed.open(None)
    await tickets.insert_many([ticket(number, updated_at=now) for number in range(1, 8)])
    found: dict[str, Any] = {}
    more = True
    while more:
        batch = await feed.read(position, 3)
        found |= {str(change.key[0]): change.new for change in batch.changes}
        position, more = batch.position, batch.more
    assert len(found) == 7
    await tickets.insert_one(ticket(8, updated_at=now - timedelta(seconds=30)))
    changes, position = await read(feed, position, 8)
    assert f"{8:024x}" in {change.key[0] for change in changes}


async def test_polling_by_a_clock_that_was_set_back(source: MongoSource, tickets: Any) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    behind = ticket(1, updated_at=now - 5 * hour)
    await tickets.insert_many([behind, ticket(2, updated_at=now + hour)])
    feed = PollFeed(source, "tickets")
    position = await feed.open(None)
    changes, _ = await read(feed, position, 2)
    assert len(changes) == 2, "begins at the newest that is not of tomorrow"
    fast = int((await source.now()) + hour.total_seconds() * 1000)
    again = PollFeed(source, "tickets")
    await tickets.insert_one(ticket(3, updated_at=now))
    batch = await again.read(json.dumps({"newest": fast, "clock": fast}), 100)
    assert [str(change.key[0])[-1] for change in batch.changes] == ["3", "2"]
    assert batch.rescan, "nobody knows what was stamped since"
    batch = await again.read(batch.position, 100)
    assert (len(batch.changes), batch.rescan) == (2, False)


async def test_scans_page_in_the_order_of_the_key(source: MongoSource, tickets: Any) -> None:
    await tickets.insert_many([ticket(number, status="spam" if number == 4 else "open") for number in range(1, 8)])
    after, seen = None, []
    while page := await source.scan("tickets", after, 3, {"col": "subject", "op": "ne", "value": "Ticket 2"}):
        seen += [(int(str(one.key[0]), 16), one.row is not None, one.chosen) for one in page]
        after = page[-1].key
    assert seen == [(number, number != 4, number != 2) for number in range(1, 8)]
    assert await source.count("tickets") == 7
    assert await source.nth_last("tickets", 2) == [f"{6:024x}"]
    rows = await source.fetch("tickets", [[f"{7:024x}"], [f"{9:024x}"], [f"{4:024x}"], [f"{1:024x}"]])
    assert [None if row is None else row["subject"] for row in rows] == ["Ticket 7", None, None, "Ticket 1"]
    assert "subject" in await source.columns("support_tickets")
    assert all(finding.good for finding in await source.examine("tickets", deep=True))


async def test_documents_are_changed_under_their_condition(source: MongoSource, tickets: Any) -> None:
    await tickets.insert_one(ticket(1))
    key = [f"{1:024x}"]
    intended: list[Any] = []
    close = Write("$event2", "update", "support_tickets", key, {"status": "closed"}, {"status": ["open", "pending"]})
    ended = await source.write("tickets", close, intended.append)
    assert ended.verdict == "applied"
    assert ended.row is not None
    assert ended.row["status"] == intended[0]["status"] == "closed"
    assert (await source.write("tickets", close, intended.append)).verdict == "already"
    reopen = Write("$event3", "update", "support_tickets", key, {"status": "pending"}, {"status": ["open"]})
    assert (await source.write("tickets", reopen, intended.append)).verdict == "conflict"
    gone = Write("$event4", "update", "support_tickets", ["f" * 24], {"status": "closed"})
    assert (await source.write("tickets", gone, intended.append)).verdict == "gone"
    insert = Write("$event5", "insert", "answers", (), {"_id": "uuid", "text": {"$set": 1}})
    assert (await source.write("tickets", insert, intended.append)).verdict == "applied"
    assert (await source.write("tickets", insert, intended.append)).verdict == "already"


def test_values() -> None:
    at = datetime(2026, 1, 31, 10, tzinfo=UTC)
    values = {"a": ObjectId("0" * 24), "b": [2**60, 1.5, True, None, b"xyz"], "c": {"d": at}}
    assert plain(values) == {
        "a": "0" * 24,
        "b": [str(2**60), "1.5", True, None, "3 bytes"],
        "c": {"d": "2026-01-31T10:00:00+00:00"},
    }


async def test_people_log_in(config: Config, tickets: Any) -> None:
    people = tickets.database["users"]
    await people.insert_many(
        [
            {"_id": ObjectId(f"{1:024x}"), "nick": "olena", "hash": stored("node-bcrypt"), "active": True},
            {"_id": ObjectId(f"{2:024x}"), "nick": "taras", "hash": stored("node-bcrypt"), "active": False},
            {"_id": ObjectId(f"{3:024x}"), "nick": {"$ne": None}, "hash": stored("node-bcrypt"), "active": True},
        ]
    )
    table = Table("users", "_id", ("nick",), "hash", ("bcrypt",), enabled={"col": "active", "op": "eq", "value": True})
    users = MongoUsers(table, config.source["helpdesk"].url.read(), tls=None, seconds=10, pool=2)

    async def here(work: Any) -> bool:
        return bool(work())

    directory = Directory(table, users, here, seconds=10)
    try:
        verdict, person = await directory.check("olena", None, PASSWORD)
        assert person is not None
        assert (verdict, person.key, person.localpart) == (Verdict.RIGHT, f"{1:024x}", "olena")
        assert (await directory.check("olena", None, "wrong"))[0] is Verdict.WRONG
        assert (await directory.check("taras", None, PASSWORD))[0] is Verdict.DISABLED
        for nobody in ('{"$ne": null}', "$ne", "nobody"):
            assert (await directory.check(nobody, None, PASSWORD))[0] is Verdict.UNKNOWN
        assert (await directory.check("", person.key, PASSWORD))[0] is Verdict.RIGHT
        assert set(await directory.people([person.key, "f" * 24])) == {person.key}
        pages = [page async for page in directory.pages(2)]
        assert [len(page) for page in pages] == [2, 1]
    finally:
        await directory.close()
