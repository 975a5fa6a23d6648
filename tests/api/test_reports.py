"""Reports of events, rooms and users reach the administrators, and tell the reporter nothing.

spec: client-server-api#reporting-content
"""

from __future__ import annotations

import aiohttp
import pytest

from tests.support.client import Client, Json, part
from tests.support.fixtures import StartServer
from tests.test_commands import hromada


async def test_what_may_be_reported(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob)
    event = await alice.send(room, "rude")
    path = f"/rooms/{part(room)}/report"
    body: Json
    for body in ({"reason": "rude"}, {"reason": ""}, {}, {"reason": "x", "score": -100}):
        assert await bob.ok("POST", f"{path}/{part(event)}", body) == {}
    assert await carol.ok("POST", path, {"reason": "not joined"}) == {}
    assert await carol.ok("POST", f"/users/{part(alice.user_id)}/report", {"reason": ""}) == {}


async def test_events_are_reported_by_members_only(alice: Client, bob: Client) -> None:
    room, other = await alice.create_room(preset="public_chat"), await bob.create_room()
    event, own = await alice.send(room, "x"), await bob.send(other, "y")
    answers = []
    for where, what in ((room, event), (room, "$unknown"), (other, event), ("!nowhere:hromada.test", event)):
        reply = await bob.request("POST", f"/rooms/{part(where)}/report/{part(what)}", {"reason": "r"})
        reply.error(404, "M_NOT_FOUND")
        answers.append(reply.raw)
    assert len(set(answers)) == 1
    (await alice.request("POST", f"/rooms/{part(room)}/report/{part(own)}", {})).error(404, "M_NOT_FOUND")
    await bob.join(room)
    await bob.ok("POST", f"/rooms/{part(room)}/report/{part(event)}", {})
    await bob.member(room, "leave")
    left = await bob.request("POST", f"/rooms/{part(room)}/report/{part(event)}", {})
    left.error(404, "M_NOT_FOUND")


async def test_a_report_does_not_tell_whether_a_room_or_user_exists(alice: Client, bob: Client) -> None:
    private = await bob.create_room()
    for room in (private, "!nowhere:hromada.test"):
        assert await alice.ok("POST", f"/rooms/{part(room)}/report", {"reason": "r"}) == {}
    for user in (bob.user_id, "@nobody:hromada.test"):
        assert await alice.ok("POST", f"/users/{part(user)}/report", {"reason": "r"}) == {}


@pytest.mark.parametrize("body", [{"reason": 5}, {"reason": None}, {"reason": ["x"]}, []])
async def test_bad_reasons(alice: Client, body: Json) -> None:
    room = await alice.create_room()
    for path in (f"/rooms/{part(room)}/report", f"/users/{part(alice.user_id)}/report"):
        (await alice.request("POST", path, body)).error(400, "M_BAD_JSON")
        (await alice.request("POST", path, {})).error(400, "M_MISSING_PARAM")
        (await alice.request("POST", path, {"reason": "x" * 2_001})).error(413, "M_TOO_LARGE")
    (await alice.request("POST", "/rooms/nonsense/report", {"reason": "x"})).error(400, "M_INVALID_PARAM")
    (await alice.request("POST", "/users/nonsense/report", {"reason": "x"})).error(400, "M_INVALID_PARAM")


async def test_administrators_read_reports_and_reporters_are_slowed_down(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database, rate_limits="on")
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    event = await alice.send(room, "x")
    await alice.ok("POST", f"/rooms/{part(room)}/report/{part(event)}", {"reason": "one\nline\0"})
    await alice.ok("POST", f"/users/{part('@bob:hromada.test')}/report", {"reason": "another"})
    url = server.options.database_url
    where = [
        "--data-dir",
        str(server.data_dir),
        "--server-name",
        server.name,
        *(["--database-url", url] if url else []),
    ]
    printed = hromada("report", "list", *where)
    assert printed.returncode == 0, printed.stderr
    newest, oldest = printed.stdout.splitlines()
    assert newest.split("\t")[1:] == ["@alice:hromada.test", "@bob:hromada.test", "-", "-", '"another"']
    assert oldest.split("\t")[1:] == ["@alice:hromada.test", "@alice:hromada.test", room, event, '"one\\nline\ufffd"']
    for _ in range(100):
        reply = await alice.request("POST", f"/rooms/{part(room)}/report", {"reason": "flood"})
        if reply.status == 429:
            break
    reply.error(429, "M_LIMIT_EXCEEDED")
