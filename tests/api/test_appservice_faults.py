"""Faults of other servers towards application services, each as a test (docs/subsystems/known-faults.md)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from client_api.routes import ROUTES
from tests.api.test_appservice_ephemeral import ephemeral, readers, to_device
from tests.api.test_appservice_push import Place, place
from tests.support.appservice import BOT, registration, running_service
from tests.support.client import Client, part
from tests.support.fixtures import StartServer
from tests.support.seeding import AT_ONCE, services
from tests.support.server import Server, ServerOptions

pytestmark = pytest.mark.all_only

OUTAGE = int(os.environ.get("HROMADA_TEST_OUTAGE_EVENTS", "3000"))
"""Events while a service is away; 50,000 take minutes to make."""
NAMES = {
    "users": [
        {"exclusive": True, "regex": "@_db_.*"},
        {"exclusive": True, "regex": r"@_db_[a-z+]+=\.x/.*:hromada\.test"},
    ],
    "aliases": [{"exclusive": True, "regex": "#_db_.*"}],
}
OTHERS = {"users": [{"exclusive": True, "regex": "@_x_.*"}], "aliases": [{"exclusive": True, "regex": "#_x_.*"}]}


def another(url: str | None, **more: object) -> dict[str, object]:
    """The registration of a second service."""
    tokens = {"as_token": "x-as", "hs_token": registration(None)["hs_token"]}
    return {**registration(url, id="x", sender_localpart="_x_bot"), **tokens, "namespaces": OTHERS, **more}


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory, sqlite_migrated: Path) -> Iterator[Server]:
    """A server with two services that are told nothing."""
    folder = tmp_path_factory.mktemp("quiet")
    files = [folder / "db.yaml", folder / "x.yaml"]
    for file, one in zip(files, (registration(None, namespaces=NAMES), another(None)), strict=True):
        file.write_text(json.dumps(one))
    environment = {"HROMADA_APPSERVICES_FILES": ",".join(map(str, files))}
    server = Server(folder / "data", ServerOptions(environment=environment))
    server.begin_with(sqlite_migrated)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def quiet(quiet_server: Server, http: aiohttp.ClientSession) -> Place:
    here = Place(quiet_server, http)
    here.alice = await here.person("alice")
    return here


def as_service(here: Place, token: str, user_id: str) -> Client:
    client = here.client()
    client.token, client.user_id = token, user_id
    return client


async def test_names_are_the_services_own(quiet: Place) -> None:
    """Of dendrite#1597, conduwuit#337 and what is like them."""
    here = quiet
    bot, other = here.bot, as_service(here, "x-as", "@_x_bot:hromada.test")
    for name in ("_db_one", "_db_plus+=.x/y", "_db_+=.x/1", "_db_" + "long" * 30):
        ghost = await here.ghost(name)
        assert ghost == f"@{name}:hromada.test"
        assert (await here.as_ghost(ghost, "GET", "/account/whoami"))["user_id"] == ghost
    # The bot is there already, which a bridge takes for done; it can be logged in.
    body = {"type": "m.login.application_service", "username": "_db_bot", "inhibit_login": True}
    (await bot.request("POST", "/register", body)).error(400, "M_USER_IN_USE")
    login = {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "_db_bot"}}
    assert (await bot.ok("POST", "/login", login))["user_id"] == BOT
    # Neither people nor another service take its names.
    taken = await here.alice.request("GET", "/register/available", params={"username": "_db_two"})
    taken.error(400, "M_EXCLUSIVE", "M_INVALID_USERNAME")
    (await other.request("POST", "/register", {**body, "username": "_db_two"})).error(400, "M_EXCLUSIVE")
    (await other.request("POST", "/login", login)).error(400, "M_EXCLUSIVE")
    (await other.request("GET", "/account/whoami", params={"user_id": BOT})).error(403, "M_FORBIDDEN")
    room = await bot.create_room(room_alias_name="_db_made", preset="public_chat")
    await bot.ok("PUT", f"/directory/room/{part('#_db_put:hromada.test')}", {"room_id": room})
    theirs = await other.create_room(preset="public_chat")
    for client, own in ((here.alice, await here.alice.create_room()), (other, theirs)):
        taken = await client.request("PUT", f"/directory/room/{part('#_db_no:hromada.test')}", {"room_id": own})
        taken.error(400, "M_EXCLUSIVE")
        (await client.request("POST", "/createRoom", {"room_alias_name": "_db_no"})).error(400, "M_EXCLUSIVE")
    # With an upgrade its aliases move on.
    upgraded = (await bot.ok("POST", f"/rooms/{part(room)}/upgrade", {"new_version": "11"}))["replacement_room"]
    for alias in ("#_db_made:hromada.test", "#_db_put:hromada.test"):
        assert (await here.alice.ok("GET", f"/directory/room/{part(alias)}"))["room_id"] == upgraded


async def test_times_are_the_services_own(quiet: Place) -> None:
    """Of 5233: `ts` counts for everything that a service sends, and moves nothing in the timeline."""
    here = quiet
    bot, alice = here.bot, here.alice
    ghost = await here.ghost("_db_timely")
    room = await bot.create_room(preset="public_chat")
    await alice.join(room)
    root = f"/rooms/{part(room)}"
    said = {"msgtype": "m.text", "body": "late"}
    ids = [
        (await bot.ok("PUT", f"{root}/send/m.room.message/t1", said, params={"ts": 3000}))["event_id"],
        (await bot.ok("PUT", f"{root}/state/m.room.topic/", {"topic": "x"}, params={"ts": 2000}))["event_id"],
        (
            await here.as_ghost(
                ghost, "PUT", f"{root}/state/m.room.member/{part(ghost)}", {"membership": "join"}, ts=1000
            )
        )["event_id"],
    ]
    found = [await bot.event(room, event_id) for event_id in ids]
    assert [event["origin_server_ts"] for event in found] == [3000, 2000, 1000]
    timeline = [event["event_id"] for event in (await bot.history(room, "f")) if event["event_id"] in ids]
    assert timeline == ids, "order is that of arrival"
    own = (await alice.ok("PUT", f"{root}/send/m.room.message/t1", said, params={"ts": 3000}))["event_id"]
    assert (await alice.event(room, own))["origin_server_ts"] > 1_600_000_000_000
    for bad in ("-1", "soon", "1.5", str(10**30)):
        for path in ("send/m.room.message/bad", "state/m.room.topic/"):
            assert (await bot.request("PUT", f"{root}/{path}", said, params={"ts": bad})).status == 400, (path, bad)


async def test_no_interactive_authentication_but_of_people(quiet: Place) -> None:
    """Of 18946; and 20180: whoever asks for no session needs no password either."""
    here = quiet
    ghost = await here.ghost("_db_keys")
    for client, user_id, status in ((here.bot, ghost, 200), (here.alice, here.alice.user_id, 401)):
        params = {"user_id": user_id} if client is here.bot else None
        if client is here.bot:
            await client.ok("PUT", "/devices/D", {}, params=params)
        body = {"devices": ["D"]}
        assert (await client.request("POST", "/delete_devices", body, params=params)).status == status
        for letter in "AB":  # the second one replaces the first
            key = letter * 43
            keys = {"user_id": user_id, "usage": ["master"], "keys": {f"ed25519:{key}": key}}
            done = await client.request("POST", "/keys/device_signing/upload", {"master_key": keys}, params=params)
            assert done.status == (200 if letter == "A" else status), done


async def test_only_those_concerned_are_told(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Of dendrite#2690 and #2692: an invite goes to the service whose user is invited, in the form of clients."""
    async with running_service() as one, running_service() as two:
        here = await place(start_server, tmp_path, http, "sqlite", registration(one.url), another(two.url))
        ghost = await here.ghost("_db_one")
        other = as_service(here, "x-as", "@_x_bot:hromada.test")
        room = await here.alice.create_room()
        await here.alice.ok("POST", f"/rooms/{part(room)}/invite", {"user_id": ghost})
        await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/join", {})
        await here.alice.send(room, "hello")
        await one.until(lambda: one.messages() == ["hello"])
        for event in one.events():
            assert {"event_id", "type", "sender", "room_id", "origin_server_ts", "content", "unsigned"} <= set(event)
            assert event["unsigned"]["age"] >= 0
            assert not {"auth_events", "prev_events", "depth", "hashes", "signatures"} & set(event)
        own = await other.create_room()
        await two.until(lambda: any(event["room_id"] == own for event in two.events()))
        assert room not in {event["room_id"] for event in two.events()}


@pytest.mark.parametrize("log", ["read", "pruned"])
async def test_an_unreadable_event_stops_nothing(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, log: str
) -> None:
    """Of 17206 and 1834: events, receipts and messages to devices go on, and how far behind it is can be seen."""
    async with running_service() as service:
        one = registration(service.url, receive_ephemeral=True)
        here = await place(start_server, tmp_path, http, "sqlite", one)
        ghost = await here.ghost("_db_one")
        await here.as_ghost(ghost, "PUT", "/devices/D", {})
        room = await here.bot.create_room(preset="public_chat")
        await here.alice.join(room)
        await service.until(lambda: any(event.get("state_key") == here.alice.user_id for event in service.events()))
        await service.stop()
        service.transactions.clear()
        await here.alice.send(room, "first")
        broken, missing = [await here.alice.send(room, text) for text in ("broken", "missing")]
        last = await here.alice.send(room, "last")
        here.server.kill()
        with closing(sqlite3.connect(here.server.data_dir / "hromada.db")) as database, database:
            assert database.execute("UPDATE events SET json = x'00' WHERE event_id = ?", [broken]).rowcount == 1
            database.execute(
                "DELETE FROM event_txns WHERE event_nid IN (SELECT nid FROM events WHERE event_id = ?)", [missing]
            )
            assert database.execute("DELETE FROM events WHERE event_id = ?", [missing]).rowcount == 1
            if log == "pruned":
                database.execute("DELETE FROM log_entries")
        await service.start()
        here.server.start()
        here.again()
        await service.until(lambda: "last" in service.messages())
        await here.alice.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(last)}", {})
        await here.alice.ok("PUT", "/sendToDevice/x.test/1", {"messages": {ghost: {"D": {"n": 1}}}})
        await here.alice.send(room, "after")
        await service.until(lambda: service.messages() == ["first", "last", "after"])
        await service.until(lambda: [event for event, _, _, _ in readers(service)] == [last])
        await service.until(lambda: [item["content"] for item in to_device(service)] == [{"n": 1}])
        assert "appservice_entry_left_out" in here.server.log.read_text()
        service.check()


async def test_a_long_outage(start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """Of 8604, 8704 and 4587: many wait, and are told in order, a hundred at once, in little memory."""
    async with running_service() as service:
        here = await place(start_server, tmp_path, http, "sqlite", registration(service.url))
        room = await here.bot.create_room(preset="public_chat")
        await here.alice.join(room)
        await service.until(lambda: any(event.get("state_key") == here.alice.user_id for event in service.events()))
        here.server.stop()
        service.transactions.clear()
        await service.stop()
        async with services(here.server) as core:
            for first in range(0, OUTAGE, AT_ONCE):
                contents = [{"msgtype": "m.text", "body": f"{n}"} for n in range(first, min(first + AT_ONCE, OUTAGE))]
                sending = core.rooms.sending.send_message
                device = (here.alice.user_id, here.alice.device_id)
                # Requests that are begun in order are decided in order.
                await asyncio.gather(*(sending(room, device, "m.room.message", None, content) for content in contents))
        here.server.start()
        here.again()
        before = memory_of(here)
        await service.start()
        await service.until(lambda: len(service.transactions) >= OUTAGE // 100)
        await service.until(lambda: len(service.messages()) >= OUTAGE)
        assert service.messages() == [f"{number}" for number in range(OUTAGE)]
        assert all(len(body["events"]) <= 100 for body in service.bodies())
        assert len(service.bodies()) <= OUTAGE // 100 + 3
        assert memory_of(here) - before < 64 * 1024 * 1024
        service.check()


def memory_of(here: Place) -> int:
    """Resident bytes of the server."""
    status = Path(f"/proc/{here.server.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


async def test_an_idle_server_tells_at_once(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Of dendrite#2677: what wakes a sender is the event, not a timer; another service's outage is none of its own."""
    async with running_service() as service, running_service() as dead:
        here = await place(start_server, tmp_path, http, "sqlite", registration(service.url), another(dead.url))
        await dead.stop()
        other = as_service(here, "x-as", "@_x_bot:hromada.test")
        room = await other.create_room(preset="public_chat", invite=[BOT])
        await here.bot.join(room)
        for number in range(3):
            if number == 1:
                here.server.restart()
                here.again()
                other.base_url = here.server.url
            await asyncio.sleep(1.5)  # long enough for it to have stored its place and gone to sleep
            await other.send(room, f"{number}")
            # Its timers are of 30 s; a machine under load is given most of that.
            wanted = f"{number}"
            await service.until(lambda wanted=wanted: wanted in service.messages(), seconds=25)  # type: ignore[misc] # a default binds it


async def test_any_request_of_a_service_ends_the_waiting(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Of 1601."""
    async with running_service() as service:
        here = await place(start_server, tmp_path, http, "sqlite", registration(service.url))
        here.server.options.environment["HROMADA_APPSERVICES_LONGEST_WAIT_SECONDS"] = "3600"
        here.server.restart()
        here.again()
        service.status = 503
        attempts = service.attempts
        room = await here.bot.create_room(name="late")
        await service.until(lambda: service.attempts >= attempts + 5)  # the next one would be 16 s later
        service.status = 200
        await here.bot.ok("GET", "/account/whoami")
        await service.until(lambda: any(event["room_id"] == room for event in service.events()), seconds=14)


@pytest.mark.parametrize("unknown", [404, 405])
async def test_a_path_that_is_not_known(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, unknown: int
) -> None:
    """Of 6306 and 15317: a URL with a path, the old paths where the new ones are unknown, and remembering that."""
    async with running_service() as service:
        service.legacy_only, service.unknown_status, service.prefix = True, unknown, "/bridge"
        one = registration(f"{service.url}/bridge/", namespaces=NAMES)
        here = await place(start_server, tmp_path, http, "sqlite", one)
        await here.bot.create_room(name="old")
        await service.until(lambda: any(event["type"] == "m.room.name" for event in service.events()))
        assert service.unknown == 1, "it is remembered"
        (await here.alice.request("POST", f"/join/{part('#_db_no:hromada.test')}", {})).error(404, "M_NOT_FOUND")
        # A 404 of its own is an answer.
        assert [path for _, path, _ in service.asked] == ["/bridge/rooms/%23_db_no:hromada.test"]
        service.check()


async def test_users_who_have_clients_too(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Of 11423 and tuwunel#406: messages to their devices stay for their own sync; what they read is told."""
    shared = {"users": [{"exclusive": True, "regex": "@_db_.*"}, {"exclusive": False, "regex": "@alice-.*"}]}
    async with running_service() as service:
        one = registration(service.url, receive_ephemeral=True, namespaces=shared)
        here = await place(start_server, tmp_path, http, "sqlite", one)
        alice, bob = here.alice, await here.person("bob")
        messages = {"messages": {alice.user_id: {alice.device_id: {"n": 1}}}}
        await bob.ok("PUT", "/sendToDevice/x.test/1", messages)
        await service.until(lambda: len(to_device(service)) == 1)
        room = await bob.create_room(preset="public_chat")  # no ghost in it: alice is whom it concerns
        await alice.join(room)
        sent = await bob.send(room, "read this")
        await alice.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(sent)}", {})
        await alice.ok("PUT", f"/rooms/{part(room)}/typing/{part(alice.user_id)}", {"typing": True, "timeout": 60000})
        await service.until(lambda: (sent, "m.read", alice.user_id, None) in readers(service))
        await service.until(
            lambda: any(event["content"]["user_ids"] == [alice.user_id] for event in ephemeral(service, "m.typing"))
        )
        synced = await alice.sync()
        assert [item["content"] for item in synced["to_device"]["events"]] == [{"n": 1}]
        assert not (await alice.sync(synced["next_batch"])).get("to_device", {}).get("events")


async def test_keys_of_ghosts(start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """What concerns the devices of its users is told: their lists, and what is left of their keys."""
    async with running_service() as service:
        flags = {"receive_ephemeral": True, "org.matrix.msc3202": True}
        here = await place(start_server, tmp_path, http, "sqlite", registration(service.url, **flags))
        ghosts = [await here.ghost(name) for name in ("_db_one", "_db_two")]
        for ghost in ghosts:
            await here.as_ghost(ghost, "PUT", "/devices/D", {})
            keys = {f"signed_curve25519:{n}": {"key": f"k{n}", "signatures": {}} for n in range(2)}
            await here.as_ghost(ghost, "POST", "/keys/upload", {"one_time_keys": keys}, device_id="D")
        claim = {"one_time_keys": {ghost: {"D": "signed_curve25519"} for ghost in ghosts}}
        await here.alice.ok("POST", "/keys/claim", claim)

        def left() -> dict[str, int]:
            found: dict[str, int] = {}
            for body in service.bodies():
                for user_id, devices in body.get("device_one_time_keys_count", {}).items():
                    found[user_id] = devices["D"]["signed_curve25519"]
            return found

        await service.until(lambda: left() == dict.fromkeys(ghosts, 1))
        service.transactions.clear()
        keys = {"user_id": ghosts[0], "usage": ["master"], "keys": {"ed25519:" + "A" * 43: "A" * 43}}
        await here.as_ghost(ghosts[0], "POST", "/keys/device_signing/upload", {"master_key": keys})
        await service.until(
            lambda: any(ghosts[0] in body.get("device_lists", {}).get("changed", ()) for body in service.bodies())
        )


async def test_silence_is_told(start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """Who is not heard of any more goes offline for services too."""
    async with running_service() as service:
        here = await place(start_server, tmp_path, http, "sqlite", registration(service.url, receive_ephemeral=True))
        here.server.options.environment["HROMADA_PRESENCE_OFFLINE_SECONDS"] = "1"
        here.server.restart()
        here.again()
        room = await here.bot.create_room(preset="public_chat")
        await here.alice.join(room)
        await here.alice.ok("PUT", f"/presence/{part(here.alice.user_id)}/status", {"presence": "online"})

        def states() -> list[str]:
            found = [event for event in ephemeral(service, "m.presence") if event["sender"] == here.alice.user_id]
            return [event["content"]["presence"] for event in found]

        await service.until(lambda: states()[-1:] == ["offline"])


async def test_no_endpoint_minds_that_a_service_has_no_device(quiet: Place) -> None:
    """A service is a user without a session: every endpoint has a defined answer to that."""
    here = quiet
    ghost = await here.ghost("_db_everywhere")
    room = await here.bot.create_room(preset="public_chat")
    await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/join", {})
    values = {
        "roomId": room,
        "userId": ghost,
        "eventType": "m.room.message",
        "stateKey": "",
        "type": "m.x",
        "tag": "u.x",
    }
    for route in ROUTES:
        if "admin" in route.path or route.path.endswith(("/account/deactivate", "/leave", "/forget", "/upgrade")):
            continue
        path = re.sub(r"{(\w+)}", lambda name: part(values.get(name[1], "x")), route.path)
        for params in ({"user_id": ghost, "timeout": 0}, {"timeout": 0}):
            done = await here.bot.request(route.method, path, None if route.method == "GET" else {}, params=params)
            assert done.status < 500 or done.status == 502, (route.method, path, done)
    # What needs no device works without one.
    for path in ("/notifications", "/sync", "/pushers", "/pushrules/", "/joined_rooms", "/devices", "/account/whoami"):
        assert (await here.bot.request("GET", path, params={"user_id": ghost, "timeout": 0})).status == 200, path
    here.server.assert_alive()
