"""Backups of room keys against a naive model, large ones, and what is left of deleted ones."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.e2e.backup import CHUNK, BackedUp, BackupLimits, Backups, Stored
from homeserver.storage.dialect import Sql
from homeserver.storage.unit import Database
from tests.support.store import open_store

ALICE = "@alice:hromada.test"
_ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
_ROWS = Sql("SELECT count(*) FROM key_backup_keys WHERE user_id = :user_id")

Place = tuple[str, str]


def sent(index: int, forwarded: int, verified: bool, data: str) -> BackedUp:
    return BackedUp(index, forwarded, verified, orjson.dumps({"ciphertext": data}))


@dataclass
class _Version:
    keys: dict[Place, BackedUp] = field(default_factory=dict)
    etag: int = 0

    @property
    def stored(self) -> Stored:
        return Stored(self.etag, len(self.keys))

    def put(self, keys: dict[Place, BackedUp]) -> Stored:
        better = {place: key for place, key in keys.items() if self._is_better(key, self.keys.get(place))}
        self.keys.update(better)
        self.etag += bool(better)
        return self.stored

    def delete(self, places: list[Place]) -> Stored:
        for place in places:
            del self.keys[place]
        self.etag += bool(places)
        return self.stored

    @staticmethod
    def _is_better(new: BackedUp, old: BackedUp | None) -> bool:
        """The rule as the specification words it."""
        if old is None:
            return True
        if new.is_verified != old.is_verified:
            return new.is_verified
        if new.first_message_index != old.first_message_index:
            return new.first_message_index < old.first_message_index
        return new.forwarded_count < old.forwarded_count

    def json(self, room: str | None) -> dict[str, Any]:
        rooms: dict[str, Any] = {}
        for (room_id, session_id), key in self.keys.items():
            shown = {
                "first_message_index": key.first_message_index,
                "forwarded_count": key.forwarded_count,
                "is_verified": key.is_verified,
                "session_data": orjson.loads(key.session_data),
            }
            rooms.setdefault(room_id, {"sessions": {}})["sessions"][session_id] = shown
        return {"rooms": rooms} if room is None else rooms.get(room, {"sessions": {}})


class _Script:
    """Does the same to the service and to the model."""

    def __init__(self, backups: Backups, user_id: str) -> None:
        self.backups = backups
        self.user_id = user_id
        self.versions: dict[int, _Version] = {}
        self.last = 0

    async def play(self, step: tuple[Any, ...]) -> None:
        name, *arguments = step
        try:
            expected = getattr(self, f"_model_{name}")(*arguments)
        except MatrixError as error:
            with pytest.raises(MatrixError) as raised:
                await getattr(self, name)(*arguments)
            assert raised.value.body() == error.body() | {"error": raised.value.message}
        else:
            assert await getattr(self, name)(*arguments) == expected

    async def create(self) -> Any:
        return await self.backups.create(self.user_id, _ALGORITHM, {})

    def _model_create(self) -> int:
        self.last += 1
        self.versions[self.last] = _Version()
        return self.last

    async def drop(self, version: int) -> Any:
        return await self.backups.delete(self.user_id, str(version))

    def _model_drop(self, version: int) -> None:
        if not 1 <= version <= self.last:
            raise MatrixError(ErrCode.NOT_FOUND, "")
        self.versions.pop(version, None)

    async def put(self, version: int, keys: dict[Place, BackedUp]) -> Any:
        by_room: dict[str, dict[str, BackedUp]] = {}
        for (room_id, session_id), key in keys.items():
            by_room.setdefault(room_id, {})[session_id] = key
        return await self.backups.put_keys(self.user_id, str(version), by_room)

    def _model_put(self, version: int, keys: dict[Place, BackedUp]) -> Stored:
        found = self._existing(version)
        if version != max(self.versions):
            raise MatrixError(ErrCode.WRONG_ROOM_KEYS_VERSION, "", current_version=str(max(self.versions)))
        return found.put(keys)

    async def delete(self, version: int, room: str | None, session: str | None) -> Any:
        return await self.backups.delete_keys(self.user_id, str(version), room, room and session)

    def _model_delete(self, version: int, room: str | None, session: str | None) -> Stored:
        found = self._existing(version)
        gone = [
            place
            for place in found.keys
            if room is None or (place[0] == room and (session is None or place[1] == session))
        ]
        return found.delete(gone)

    def _existing(self, version: int) -> _Version:
        if version not in self.versions:
            raise MatrixError(ErrCode.NOT_FOUND, "")
        return self.versions[version]

    async def check(self, store: Database) -> None:
        for number, version in self.versions.items():
            for room in (None, *_ROOMS):
                answer = await self.backups.keys(self.user_id, str(number), room)
                assert isinstance(answer, bytes)
                assert orjson.loads(answer) == version.json(room)
            found = await self.backups.get(self.user_id, str(number))
            assert (found.etag, found.count) == (version.etag, len(version.keys))
        if self.versions:
            assert (await self.backups.get(self.user_id, None)).version == max(self.versions)
        async with store.engine.read_committed() as connection:
            (rows,) = await _ROWS.first(connection, user_id=self.user_id)
        assert rows == sum(len(version.keys) for version in self.versions.values()), "nothing is left of deleted ones"
        sizes = [len(key.session_data) for version in self.versions.values() for key in version.keys.values()]
        async with store.read() as tx:
            assert await tx.backups.totals(self.user_id) == (len(self.versions), len(sizes), sum(sizes))


_ROOMS = ["!a", "!b", "!é"]
_SESSIONS = st.sampled_from(["s", "t", "S", 'u"\\'])
_VERSIONS = st.integers(0, 4)
_KEYS = st.dictionaries(
    st.tuples(st.sampled_from(_ROOMS), _SESSIONS),
    st.builds(sent, st.integers(0, 2), st.integers(0, 1), st.booleans(), st.sampled_from(["", "x", "\0", "é"])),
    max_size=6,
)
_STEP = st.one_of(
    st.tuples(st.just("create")),
    st.tuples(st.just("drop"), _VERSIONS),
    *[st.tuples(st.just("put"), _VERSIONS, _KEYS)] * 4,
    st.tuples(st.just("delete"), _VERSIONS, st.sampled_from([None, *_ROOMS]), st.none() | _SESSIONS),
)
_STEPS = st.lists(_STEP, max_size=25)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_any_use_is_as_the_model(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'backups.db'}"
    else:
        url = request.getfixturevalue("postgres_cluster").make_database()
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(open_store(url))
    backups = Backups(store, BackupLimits())
    users = iter(range(10_000))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_STEPS)
    def run(steps: list[tuple[Any, ...]]) -> None:
        async def one() -> None:
            script = _Script(backups, f"@u{next(users)}:hromada.test")
            await script.play(("create",))
            for step in steps:
                await script.play(step)
            await script.check(store)

        loop.run_until_complete(one())

    try:
        run()
    finally:
        loop.run_until_complete(store.engine.dispose())
        loop.close()


def batch(first: int, size: int) -> dict[str, dict[str, BackedUp]]:
    """Keys of ten rooms."""
    keys: dict[str, dict[str, BackedUp]] = {f"!room{number}": {} for number in range(10)}
    for number in range(first, first + size):
        keys[f"!room{number % 10}"][f"session{number:08}"] = sent(0, 0, False, "x" * 300)
    return keys


async def test_many_keys_come_and_go_in_bounded_memory(store: Database) -> None:
    total, size = int(os.environ.get("BACKUP_KEYS", "20000")), 2_500
    backups = Backups(store, BackupLimits())
    version = str(await backups.create(ALICE, _ALGORITHM, {}))
    for first in range(0, total, size):
        stored = await backups.put_keys(ALICE, version, batch(first, size))
    assert stored == Stored(total // size, total)
    pieces = await backups.keys(ALICE, version)
    assert not isinstance(pieces, bytes)
    tracemalloc.start()
    names: set[tuple[str, str]] = set()
    length = 0
    decoder = orjson.loads
    document = bytearray()
    async for piece in pieces:
        length += len(piece)
        document += piece
        assert len(piece) < 1_000_000
    del piece
    current, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"\n{total} keys, {length} bytes: at most {peak - current} bytes at a time")
    assert peak - current < 8_000_000 + length // 8, "the answer is never in memory as a whole, but for our copy"
    for room_id, room in decoder(bytes(document))["rooms"].items():
        names |= {(room_id, session_id) for session_id in room["sessions"]}
    assert len(names) == total
    of_room = await backups.keys(ALICE, version, "!room3")
    assert not isinstance(of_room, bytes)
    assert len(decoder(b"".join([piece async for piece in of_room]))["sessions"]) == total // 10
    assert await backups.delete_keys(ALICE, version, "!room3") == Stored(total // size + 1, total * 9 // 10)
    await backups.delete(ALICE, version)
    async with store.engine.read_committed() as connection:
        assert (await _ROWS.first(connection, user_id=ALICE))[0] == 0


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
async def test_sizes_around_a_piece(store: Database, count: int) -> None:
    backups = Backups(store, BackupLimits())
    version = str(await backups.create(ALICE, _ALGORITHM, {}))
    await backups.put_keys(ALICE, version, batch(0, count))
    answer = await backups.keys(ALICE, version)
    if not isinstance(answer, bytes):
        answer = b"".join([piece async for piece in answer])
    assert sum(len(room["sessions"]) for room in orjson.loads(answer)["rooms"].values()) == count


async def test_an_answer_breaks_off_when_its_backup_goes(store: Database) -> None:
    backups = Backups(store, BackupLimits())
    version = str(await backups.create(ALICE, _ALGORITHM, {}))
    await backups.put_keys(ALICE, version, batch(0, 2 * CHUNK))
    pieces = await backups.keys(ALICE, version)
    assert not isinstance(pieces, bytes)
    assert await anext(pieces) == b'{"rooms":{'
    await backups.delete(ALICE, version)
    await anext(pieces)
    with pytest.raises(MatrixError):
        await anext(pieces)


async def test_what_an_ended_account_had_is_purged(store: Database) -> None:
    backups = Backups(store, BackupLimits())
    for _ in range(2):
        version = str(await backups.create(ALICE, _ALGORITHM, {}))
        await backups.put_keys(ALICE, version, batch(0, CHUNK + 10))
    async with store.write() as tx:
        await tx.backups.forget_user(ALICE)
    with pytest.raises(MatrixError):
        await backups.get(ALICE, None)
    steps = 0
    while await backups.purge():
        steps += 1
    assert steps == 4
    async with store.engine.read_committed() as connection:
        for table in ("key_backups", "key_backup_keys", "key_backup_counters"):
            assert (await Sql(f"SELECT count(*) FROM {table}").first(connection))[0] == 0


async def test_too_many_keys_are_refused_whole(store: Database) -> None:
    backups = Backups(store, BackupLimits(keys=10))
    version = str(await backups.create(ALICE, _ALGORITHM, {}))
    await backups.put_keys(ALICE, version, batch(0, 8))
    with pytest.raises(MatrixError) as refused:
        await backups.put_keys(ALICE, version, batch(6, 5))
    assert refused.value.code is ErrCode.RESOURCE_LIMIT_EXCEEDED
    assert (await backups.get(ALICE, version)).count == 8
    assert (await backups.put_keys(ALICE, version, batch(6, 4))).count == 10


async def test_too_many_bytes_are_refused_whole(store: Database) -> None:
    large = len(sent(0, 0, False, "x" * 300).session_data)
    backups = Backups(store, BackupLimits(bytes=10 * large))
    version = str(await backups.create(ALICE, _ALGORITHM, {}))
    await backups.put_keys(ALICE, version, batch(0, 10))
    for keys in (batch(9, 2), {"!room0": {"session00000000": sent(0, 0, True, "x" * 301)}}):
        with pytest.raises(MatrixError) as refused:
            await backups.put_keys(ALICE, version, keys)
        assert refused.value.code is ErrCode.RESOURCE_LIMIT_EXCEEDED
    assert await backups.get(ALICE, version) == await backups.get(ALICE, None)
    assert (await backups.get(ALICE, version)).count == 10
    await backups.delete_keys(ALICE, version, "!room9")
    assert (await backups.put_keys(ALICE, version, batch(10, 1))).count == 10
