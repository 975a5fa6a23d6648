"""Change streams that break, on a server that breaks them: lost histories, ended collections, cut connections."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridges.config import load
from bridges.sources import Gap, SourceUnavailable
from bridges.sources.mongodb import MongoSource, StreamFeed
from tests.bridges.test_mongodb import CONFIG
from tests.support.wiredouble import Cut, WireDouble

LOST = 286
"""ChangeStreamHistoryLost."""


class Stream:
    """A feed on the double."""

    def __init__(self, server: WireDouble, source: MongoSource) -> None:
        self.server, self.source = server, source
        feed = source.feed("tickets")
        assert isinstance(feed, StreamFeed)
        self.feed: StreamFeed = feed


@pytest.fixture
async def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stream]:
    async with WireDouble().running() as server:
        monkeypatch.setenv("TOKEN", "t")
        monkeypatch.setenv("HELPDESK_URL", server.url)
        (tmp_path / "bridges.toml").write_text(CONFIG)
        source = MongoSource(load(tmp_path / "bridges.toml"), "helpdesk")
        made = Stream(server, source)
        yield made
        await made.feed.stop()
        await source.close()


def changed(number: int, operation: str = "update") -> dict[str, Any]:
    return {"operationType": operation, "documentKey": {"_id": f"t{number}"}, "ns": {"db": "test", "coll": "c"}}


def pipeline(command: dict[str, Any]) -> dict[str, Any]:
    return dict(command["pipeline"][0]["$changeStream"])


async def test_a_history_that_is_lost_is_a_gap(stream: Stream) -> None:
    """Neither at the beginning nor on the way anything is passed over: the table is compared then."""
    position = await stream.feed.open(None)
    stream.server.fails(LOST)
    with pytest.raises(Gap):
        await stream.feed.read(position, 10)
    stream.server.fails(LOST)
    with pytest.raises(Gap):
        await stream.feed.open(position)
    assert "token" in await stream.feed.open(None), "and then it begins anew"


async def test_a_collection_that_ends_and_comes_again(stream: Stream) -> None:
    position = await stream.feed.open(None)
    stream.server.documents = [{"_id": "t1", "subject": "one"}]
    stream.server.events(changed(1), {"operationType": "drop"}, {"operationType": "invalidate"})
    batch = await stream.feed.read(position, 10)
    assert [change.key for change in batch.changes] == [["t1"]]
    assert batch.rescan, "what was in it is gone, and nothing told of each"
    stream.server.events(changed(1, "insert"))
    again = await stream.feed.read(batch.position, 10)
    assert [change.key for change in again.changes] == [["t1"]]
    opened = pipeline([command for command in stream.server.asked if "aggregate" in command][-1])
    assert opened["startAfter"] == json.loads(batch.position)["token"], "an ended stream cannot be resumed, but gone on"


async def test_a_connection_that_is_cut(stream: Stream) -> None:
    """The driver goes on behind the last event that it gave out."""
    position = await stream.feed.open(None)
    stream.server.documents = [{"_id": "t1"}, {"_id": "t2"}]
    stream.server.events(changed(1))
    stream.server.script.append(Cut())
    stream.server.events(changed(2))
    keys: list[Any] = []
    for _ in range(10):
        batch = await stream.feed.read(position, 1)
        keys += [change.key for change in batch.changes]
        position = batch.position
        if len(keys) == 2:
            break
    assert keys == [["t1"], ["t2"]]
    opened = pipeline([command for command in stream.server.asked if "aggregate" in command][-1])
    assert opened.get("resumeAfter", opened.get("startAfter")) == {"_data": "token 1"}


async def test_a_cursor_that_the_server_has_closed(stream: Stream) -> None:
    """Without a word of an end: the driver asks no more, so the stream is opened again where it was."""
    position = await stream.feed.open(None)
    stream.server.documents = [{"_id": "t1"}, {"_id": "t2"}]
    stream.server.events(changed(1))
    closed = await stream.feed.read(position, 1)
    stream.server.script.append({"ok": 1, "cursor": {"id": 0, "ns": "test.c", "events": []}})
    nothing = await stream.feed.read(closed.position, 10)
    assert (nothing.changes, nothing.position, nothing.rescan) == ([], closed.position, False)
    stream.server.events(changed(2))
    assert [change.key for change in (await stream.feed.read(nothing.position, 10)).changes] == [["t2"]]
    opened = pipeline([command for command in stream.server.asked if "aggregate" in command][-1])
    assert opened["startAfter"] == {"_data": "token 1"}


@pytest.mark.parametrize("code", [59, 40573])
async def test_no_streams_at_all(stream: Stream, code: int) -> None:
    """A server alone, or one that is not MongoDB's: polling instead, but not for a position of a stream."""
    stream.server.fails(code)
    assert "newest" in json.loads(await stream.feed.open(None))
    stream.server.fails(code)
    with pytest.raises((SourceUnavailable, Gap)):
        await stream.feed.open(json.dumps({"token": {"_data": "token 1"}}))


async def test_an_idle_stream_moves_on(stream: Stream) -> None:
    """Else its place falls off the history while nothing happens."""
    position = await stream.feed.open(None)
    stream.server._token = 50  # others' changes
    assert json.loads((await stream.feed.read(position, 10)).position)["token"] == {"_data": "token 50"}
