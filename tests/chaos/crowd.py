"""Writers and readers of one server, set to work and brought to rest together, and the verdict on what they saw."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.chaos.checker import check
from tests.chaos.history import Final, History
from tests.chaos.readers import Reader, StreamReader, fetch, registers, summary
from tests.chaos.target import Target
from tests.chaos.writers import STATE_TYPE, Caller, HttpCaller, StreamCaller, Writer
from tests.support.client import PASSWORD, Client, part, rooms

ROOMS = 2
# The server is one process, so the first response has to bring what was acknowledged before it.
WITHIN = 1
SETTLE_S = 0.3


@dataclass
class Crowd:
    """Everybody who uses the server in a run."""

    target: Target
    history: History
    users: list[Client]
    room_ids: list[str]
    writers: list[Writer]
    readers: list[Reader]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def gather(cls, target: Target, http: aiohttp.ClientSession, seed: int, *, users: int = 3) -> Crowd:
        """Register users, put all of them into two rooms; a writer for each in each room, four readers."""
        history = History(seed)
        people = [await Client(http, target.url).register(f"user{seed}.{number}") for number in range(users)]
        levels = {"events": {STATE_TYPE: 0}}
        room_ids = [await people[0].shared_room(*people[1:], power_level_content_override=levels) for _ in range(ROOMS)]
        writers = []
        for u, person in enumerate(people):
            for r, room in enumerate(room_ids):
                device = await person.another_device()
                # One of them does over the stream what the others do over HTTP.
                caller: Caller = StreamCaller(device, target) if (u, r) == (1, 0) else HttpCaller(device, target)
                chance = random.Random(f"{seed}/{u}/{r}")
                writers.append(Writer(f"u{u}r{r}", device, room, caller, history, chance))
        kinds = [(Reader, 1000), (Reader, 3), (StreamReader, 1000), (StreamReader, 3)]
        readers = []
        for number, (kind, limit) in enumerate(kinds):
            device = await people[number % len(people)].another_device()
            name = f"{'stream' if kind is StreamReader else 'sync'}{limit}"
            readers.append(kind(name, device, target, history, limit))
        devices = {reader.name: (reader.client.user_id, reader.client.device_id) for reader in readers}
        for writer in writers:
            writer.devices = devices
        for reader in readers:
            assert await reader.step() is not None
        return cls(target, history, people, room_ids, writers, readers)

    def start(self) -> None:
        """Set everybody to work."""
        self.tasks = [asyncio.create_task(worker.run(), name=worker.name) for worker in (*self.writers, *self.readers)]

    @property
    def acknowledged(self) -> int:
        """How many writes have been acknowledged so far."""
        return sum(writer.acknowledged for writer in self.writers)

    @property
    def failures(self) -> Counter[int]:
        """Statuses of failed requests; 0 stands for those without an answer."""
        return sum((writer.failures for writer in self.writers), Counter())

    async def progress(self, more: int, timeout: float = 180.0) -> None:
        """Wait until this many more writes are acknowledged, which they are only if the server recovered."""
        goal = self.acknowledged + more
        deadline = asyncio.get_running_loop().time() + timeout
        while self.acknowledged < goal:
            self._raise_failures()
            self.target.check()
            assert asyncio.get_running_loop().time() < deadline, (
                f"{goal - self.acknowledged} of {more} writes missing after {timeout:.0f} s:\n"
                + self.target.server.log_tail()
            )
            await asyncio.sleep(0.01)

    def _raise_failures(self) -> None:
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def stop(self) -> None:
        """Let writers finish what they are doing, then everything that is still under way, then readers."""
        for writer in self.writers:
            writer.stopped = True
        for reader in self.readers:
            reader.stopped = True
        writing, reading = self.tasks[: len(self.writers)], self.tasks[len(self.writers) :]
        await asyncio.gather(*writing)
        await asyncio.sleep(SETTLE_S)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        self._raise_failures()

    async def abandon(self) -> None:
        """End everybody at once; what is under way stays unknown."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self.writers:
            await writer.caller.close()

    # ---- the verdict ----

    async def verdict(self) -> list[str]:
        """Every broken rule. The crowd has been stopped; the server runs and answers in the end."""
        while True:
            before = await self.final()
            for reader in self.readers:
                await reader.drain()
            self.history.final = await self.final()
            if self.history.final.events == before.events:
                break
            # A request that nobody waits for any more was still on its way.
        await self._newcomers()
        return [str(violation) for violation in check(self.history, within=WITHIN)]

    async def verdict_after_restart(self) -> list[str]:
        """The verdict, and whether the server says the same when it has forgotten all that is only in memory."""
        found = await self.verdict()
        self.target.fault_words = ""
        await self.target.restart()
        after = await self.final()
        for name in ("events", "walks", "state", "registers", "unread"):
            if getattr(after, name) != getattr(self.history.final, name):
                found.append(f"{name} differ after a restart: {_difference(self.history.final, after, name)}")
        return found

    async def _newcomers(self) -> None:
        """Devices that sync for the first time when all is over."""
        for number, person in enumerate(self.users[:2]):
            device = await self._login(person)
            await Reader(f"newcomer{number}", device, self.target, self.history).drain()

    async def _login(self, person: Client) -> Client:
        while True:
            with contextlib.suppress(AssertionError, aiohttp.ClientError, OSError):
                return await self.target.reach(person).another_device(PASSWORD)
            await asyncio.sleep(0.1)

    async def final(self) -> Final:
        """What the server says of everything, now."""
        final = Final()
        for room in self.room_ids:
            events = await self._walk(self.users[0], room, "f", 500)
            final.events[room] = [summary(event) for event in events]
            walks = {"0 b": await self._walk(self.users[0], room, "b", 17)}
            walks["1 f"] = await self._walk(self.users[1], room, "f", 41)
            final.walks[room] = {
                name: [event["event_id"] for event in (walk if name.endswith("f") else walk[::-1])]
                for name, walk in walks.items()
            }
            state = await fetch(self.target, self.users[0], f"/rooms/{part(room)}/state")
            final.state[room] = {f"{event['type']}|{event['state_key']}": event["event_id"] for event in state}
        for person in self.users:
            answer = await fetch(self.target, person, "/sync", timeout=0)
            assert set(rooms(answer, "join")) == set(self.room_ids)
            final.registers.update(registers(answer, person.user_id))
            for room, joined in rooms(answer, "join").items():
                final.unread[f"{room}|{person.user_id}"] = joined["unread_notifications"]
        return final

    async def _walk(self, person: Client, room: str, direction: str, limit: int) -> list[dict[str, object]]:
        events: list[dict[str, object]] = []
        path, token = f"/rooms/{part(room)}/messages", None
        while True:
            page = await fetch(self.target, person, path, **{"dir": direction, "from": token, "limit": limit})
            events += page["chunk"]
            if (token := page.get("end")) is None:
                return events

    async def check_sessions(self) -> None:
        """Every token still opens, and every password."""
        for person in self.users:
            who = await fetch(self.target, person, "/account/whoami")
            assert who["user_id"] == person.user_id
        await self._login(self.users[0])


def _difference(before: Final, after: Final, name: str) -> str:
    one, two = getattr(before, name), getattr(after, name)
    for key in one.keys() | two.keys():
        if one.get(key) != two.get(key):
            first, second = one.get(key), two.get(key)
            if isinstance(first, list) and isinstance(second, list):
                pairs = [(a, b) for a, b in zip(first, second, strict=False) if a != b]
                return f"{key}: {len(first)} and {len(second)}, {pairs[:1]}"
            return f"{key}: {str(first)[:300]} and {str(second)[:300]}"
    return "nothing"


@contextlib.asynccontextmanager
async def saved_on_failure(crowd: Crowd) -> AsyncIterator[None]:
    """Save the history of a run that fails, say where it is, and leave nobody running."""
    try:
        yield
    except BaseException as failure:
        file = Path(tempfile.mkdtemp(prefix="hromada-chaos-")) / "history.json"
        crowd.history.save(file)
        failure.add_note(f"seed {crowd.history.seed}, history in {file}, faults {crowd.history.faults}")
        raise
    finally:
        await crowd.abandon()
