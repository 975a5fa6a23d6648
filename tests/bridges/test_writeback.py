"""What becomes of what people write, without a homeserver: two at once, long questions, what is not heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridges.config import load
from bridges.matrix import Homeserver
from bridges.sources import SourceUnavailable
from bridges.state import RoomRow, Stored
from bridges.writeback import Writeback
from tests.bridges.bench import OUTBOX, Bench, make_bench

ROOM = RoomRow("rows:[1]", "_db_rows_1", "", "")
NUMBERS = "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 60) SELECT n FROM t ORDER BY n"
ENDLESS = "SELECT count(*) FROM " + ", ".join(f"information_schema.columns {name}" for name in "abcdef")
QUERIES = """
[query.numbers]
source = "shop"
statement = "{numbers}"
mappings = ["rows"]
[query.endless]
source = "shop"
statement = "{endless}"
mappings = ["rows"]
"""


@pytest.fixture(params=["postgresql", "mysql"])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """A row with its room."""
    made = make_bench(request, tmp_path, monkeypatch, request.param, OUTBOX)
    async with made.session() as run:
        await run("INSERT INTO rows_ (id, state) VALUES (1, 'a')")
        await made.drain()
        made.state.store("rows", Stored(rooms={ROOM.lane: ROOM}))
        made.state.made_room(ROOM.lane, "!room")
    yield made
    await made.close()


def event(number: int, body: str, kind: str = "m.room.message", **content: Any) -> dict[str, Any]:
    """Something that somebody writes."""
    text = {"msgtype": "m.text", "body": body, **content}
    return {"event_id": f"${number}", "room_id": "!room", "type": kind, "content": text}


def writeback(bench: Bench) -> Writeback:
    """What handles it."""
    return Writeback(bench.config, bench.state, Homeserver("", "", ""), {"shop": bench.source})


async def test_of_two_at_once_one_is_refused(bench: Bench) -> None:
    handler = writeback(bench)
    asked = [
        handler.handle(event(number, f"!set {state}"), f"@{state}:hromada.test") for number, state in enumerate("bc")
    ]
    ended = await asyncio.gather(*asked)
    assert sorted(result for result, _ in ended) == ["applied", "refused"]
    row = (await bench.source.fetch("rows", [[1]]))[0]
    assert row is not None
    assert ended["bc".index(row["state"])][0] == "applied"
    await bench.drain()
    assert bench.told(1) == ["a"], "our own echo"


async def test_what_is_not_heard(bench: Bench) -> None:
    handler = writeback(bench)
    edit = event(1, "!set b", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$0"}})
    notice = event(2, "!set b", msgtype="m.notice")
    reaction = event(3, "", kind="m.reaction")
    elsewhere = {**event(4, "!set b"), "room_id": "!other"}
    state = {**event(5, "!set b"), "state_key": ""}
    for ignored in (edit, notice, reaction, elsewhere, state):
        assert await handler.handle(ignored, "@anna:hromada.test") == ("ignored", [])
    result, [answer] = await handler.handle(event(6, "", kind="m.room.encrypted"), "@anna:hromada.test")
    assert (result, answer.content["body"]) == ("refused", "This room is encrypted: the bridge cannot read it")
    assert [one and one["state"] for one in await bench.source.fetch("rows", [[1]])] == ["a"]


async def test_sessions_only_read(bench: Bench) -> None:
    source: Any = bench.source
    for statement in ("DELETE FROM rows_", "UPDATE rows_ SET state = 'x'"):
        with pytest.raises(SourceUnavailable, match=r"(?i)read.only"):
            await source.fetch_all(statement)
    assert [one and one["state"] for one in await bench.source.fetch("rows", [[1]])] == ["a"]


async def test_questions_have_an_end(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def silent() -> AsyncIterator[Any]:
        raise SourceUnavailable("not in time") from TimeoutError()
        yield

    file = tmp_path / "bridges.toml"
    text = file.read_text() + QUERIES.format(numbers=NUMBERS, endless=ENDLESS)
    limited = text.replace('env = "SHOP_URL" }', 'env = "SHOP_URL" }\ntimeouts = { statement = "1s" }')
    for number, (settings, body, first) in enumerate(
        (
            (text, "!numbers", "n"),
            (limited, "!endless", "The database refuses: "),
            (text, "!numbers", "n"),
        )
    ):
        file.write_text(settings)
        bench.config = load(file)
        await bench.restart()
        result, [answer] = await writeback(bench).handle(event(number, body), "@anna:hromada.test")
        assert answer.content["body"].startswith(first)
        if first == "n":
            assert (result, answer.content["body"].split("\n")[1:]) == ("answered", [str(n) for n in range(1, 51)])
    monkeypatch.setattr(bench.source, "connection", silent)
    result, [answer] = await writeback(bench).handle(event(9, "!numbers"), "@anna:hromada.test")
    assert (result, answer.content["body"]) == ("refused", "The database refuses: it took too long")
