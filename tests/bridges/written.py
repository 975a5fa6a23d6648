"""What people write into documents of MongoDB while everything is killed: it is there once, and answered once.

Rows of their own are inserted and changed on the server that is killed; elements are appended to lists on the double,
which alone knows how (`tests.support.wirestore`), and which loses answers instead.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient

from tests.bridges.support import messages
from tests.support.client import Client
from tests.support.wirestore import WireStore

CONFIG = """
[source.double]
driver = "mongodb"
url = { env = "DOUBLE_URL" }
[mapping.filed]
source = "helpdesk"
collection = "filed"
key = ["_id"]
columns = ["_id", "stamp"]
capture = { mode = "changestream", poll = "50ms" }
backfill = { mode = "all" }
room = { alias = "_db_filed_{{ _id }}", invite = ["@sales:hromada.test"] }
message = [{ on = "update", text = "{{ old.stamp }} -> {{ stamp }}" }]
command.stamp = { set = { stamp = "{{ args }}" } }
[mapping.filed.write.message]
insert = "entries"
values = { _id = "{{ event_uuid }}", body = "{{ body }}" }
[mapping.pushed]
source = "double"
collection = "pushed"
key = ["_id"]
columns = ["_id", "lines", "rev"]
capture = { mode = "changestream", poll = "50ms" }
backfill = { mode = "all" }
room = { alias = "_db_pushed_{{ _id }}", invite = ["@sales:hromada.test"] }
[mapping.pushed.write.message]
push = "lines"
value = { id = "{{ event_uuid }}", text = "{{ body }}" }
bump = "rev"
"""
MAPPINGS = ("filed", "pushed")
ROWS = ("one", "two")
_LOST_ANSWERS = 2
"""At most, of one write: the driver asks once more by itself, so the bridge asks again as well."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What somebody wrote: `inserted`, `stamped` and `pushed` are in here, other kinds elsewhere."""

    kind: str
    row: str
    body: str

    @property
    def alias(self) -> str:
        """The room that it is written in."""
        return f"_db_{'pushed' if self.kind == 'pushed' else 'filed'}_{self.row}"

    @property
    def text(self) -> str:
        """What is sent."""
        return f"!stamp {self.body}" if self.kind == "stamped" else self.body


class Written:
    """Both databases, and what is to be in them."""

    def __init__(self, url: str, double: WireStore) -> None:
        self._url, self._double = url, double
        self._rows = itertools.cycle(ROWS)
        with MongoClient[Any](url) as client:
            client.get_default_database()["filed"].insert_many([{"_id": row, "stamp": "none"} for row in ROWS])
        double.documents = [{"_id": row, "lines": [], "rev": 0} for row in ROWS]

    def reply(self, kind: str, body: str, chance: random.Random) -> Reply:
        """What is to be written next."""
        if kind == "pushed":
            self._double.lose_answers = chance.randint(0, _LOST_ANSWERS)
        return Reply(kind, next(self._rows), body)

    async def check(self, sales: Client, replies: Sequence[Reply]) -> None:
        """All of it is there once, and nothing of it came back as a change."""
        with MongoClient[Any](self._url) as client:
            database = client.get_default_database()
            entries = sorted(one["body"] for one in database["entries"].find({}))
            stamps = {one["_id"]: one["stamp"] for one in database["filed"].find({})}
        assert entries == sorted(reply.body for reply in replies if reply.kind == "inserted")
        last = {reply.row: reply.body for reply in replies if reply.kind == "stamped"}
        assert stamps == dict.fromkeys(ROWS, "none") | last
        for document in self._double.documents:
            _check_list(document, [r.body for r in replies if (r.kind, r.row) == ("pushed", document["_id"])])
        for mapping in MAPPINGS:
            for row in ROWS:
                told = await messages(sales, f"_db_{mapping}_{row}")
                assert {event["sender"] for event in told} <= {sales.user_id}, "our own echo, or a refusal"


def _check_list(document: Mapping[str, Any], bodies: list[str]) -> None:
    assert [line["text"] for line in document["lines"]] == bodies
    assert len({line["mx_event_id"] for line in document["lines"]}) == document["rev"] == len(bodies)
