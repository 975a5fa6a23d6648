"""No input gives a 5xx: every operation of the specification, called with values it does not expect.

reliability: C11. The operations come from the specification's own list, the values from a seed that a failure names.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.support.client import Client, Reply, part
from tests.support.server import Server

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "spec" / "operations.tsv"
ROUNDS = 6
# The server may fill caches; what it may not do is keep what strangers send.
GROWTH_BYTES = 64 * 1024 * 1024

TEXTS = [
    *("", " ", "\0", "x" * 300, "../..", "%2e%2e", "ünï💬", "@a:b", "!r:b", "$e", "#a:b", "mxc://a/b", "0", "-1"),
    *("9" * 30, "null", "{}", "[]", "a\nb", "\u202e", "*" * 40, "'; DROP TABLE events;--", "m.room.member"),
]
SCALARS: list[Any] = [*TEXTS, None, True, False, 0, -1, 2**53 - 1, 2**53, -(2**63), 2**70, 1.5, 1e308]
KEYS = """
    type user user_id room_id identifier password auth session content body membership invite initial_state filter room
    timeline limit types displayname avatar_url devices username token refresh_token alias reason name preset since
    creation_content event_id m.relates_to one_time_keys device_keys messages typing presence pattern actions
    search_term new_version additional_creators score
""".split()
QUERY = """
    limit from to since dir filter timeout full_state access user_id at kind ts room_id suggested_only max_depth
""".split()
# A remote server that cannot be reached is not our failure.
REMOTE = {502, 504}


def value(chance: random.Random, depth: int = 0) -> Any:
    """A JSON value, seldom a sensible one."""
    kind = chance.random()
    if depth < 4 and kind < 0.25:
        return {chance.choice(KEYS): value(chance, depth + 1) for _ in range(chance.randint(0, 5))}
    if depth < 4 and kind < 0.4:
        return [value(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    return chance.choice(SCALARS)


def operations() -> Iterator[tuple[str, str]]:
    """Method and path of every client-server operation, except those that would end the session."""
    for line in OPERATIONS.read_text().splitlines():
        api, method, path, *_ = line.split("\t")
        if api == "client-server" and "/logout" not in path and "/deactivate" not in path:
            yield method, path


async def test_no_operation_fails(alice: Client, server: Server) -> None:
    chance = random.Random(1)
    room = await alice.create_room()
    known = {"roomId": room, "userId": alice.user_id, "roomIdOrAlias": room, "deviceId": alice.device_id}
    process = psutil.Process(server.pid)
    before = process.memory_info().rss

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        text = known[name] if name in known and chance.random() < 0.6 else chance.choice(TEXTS)
        return part(text)

    failures = []
    for _ in range(ROUNDS):
        for method, template in operations():
            path = re.sub(r"\{(\w+)\}", fill, template)
            params = {chance.choice(QUERY): chance.choice(TEXTS) for _ in range(chance.randint(0, 2))}
            params["timeout"] = "0"
            body = None if method == "GET" else value(chance) if chance.random() < 0.5 else _object(chance)
            reply = await alice.request(method, path, body, params=params)
            if not _is_fair(reply):
                failures.append(f"{method} {path} {params} {body!r}: {reply}")
    assert not failures, f"{len(failures)} of them:\n" + "\n".join(failures[:10])
    server.assert_alive()
    assert process.memory_info().rss - before < GROWTH_BYTES
    await alice.send(await alice.create_room(), "still well")


def _is_fair(reply: Reply) -> bool:
    """Whether the answer is a success, an error of the specification, or a challenge to authenticate."""
    if reply.status in REMOTE or reply.status < 400:
        return True
    return reply.status < 500 and (bool(reply.errcode) or (isinstance(reply.body, dict) and "flows" in reply.body))


def _object(chance: random.Random) -> dict[str, Any]:
    return {chance.choice(KEYS): value(chance, 1) for _ in range(chance.randint(0, 6))}
