"""Writers and readers that keep a server busy while it is being broken, and the history that they note down.

A writer sends numbered messages, one after another, and repeats a send with the same transaction id until it is
acknowledged. A reader syncs and keeps every event it was given. Nobody forgets anything: the checker compares it all.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from tests.support.client import PASSWORD, Client, Json, part, rooms, timeline
from tests.support.server import Server

RETRY_S = 0.05
REQUEST_S = 15.0
# An acknowledged send is sent again with this probability, to see whether the answer stays the same.
REPEAT = 0.1


class Target:
    """Where the server is at the moment: it moves when it is restarted."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def client(self, like: Client) -> Client:
        """`like` at the server's present address."""
        like.base_url = self.server.url
        return like


@dataclass
class Writer:
    """One device that sends to one room; `acked` maps its texts to event ids, in the order of sending."""

    name: str
    client: Client
    room: str
    target: Target
    random: random.Random
    acked: dict[str, str] = field(default_factory=dict)
    failures: Counter[int] = field(default_factory=Counter)
    stopped: bool = False

    async def run(self) -> None:
        """Send until told to stop; the message on its way is finished first."""
        number = 0
        while not self.stopped:
            text = f"{self.name}/{number}"
            self.acked[text] = await self._send(text)
            if self.random.random() < REPEAT:
                again = await self._send(text)
                assert again == self.acked[text], f"{text} is {self.acked[text]}, and repeated it is {again}"
            number += 1

    async def _send(self, text: str) -> str:
        path = f"/rooms/{part(self.room)}/send/m.room.message/{part(text)}"
        while True:
            try:
                async with asyncio.timeout(REQUEST_S):
                    reply = await self.target.client(self.client).request(
                        "PUT", path, {"msgtype": "m.text", "body": text}
                    )
            except (aiohttp.ClientError, OSError, TimeoutError):
                reply = None
            if reply is not None and reply.status == 200:
                return str(reply.body["event_id"])
            if reply is not None:
                self.failures[reply.status] += 1
                assert reply.status >= 500, f"{text}: {reply}"
            await asyncio.sleep(RETRY_S)


@dataclass
class Reader:
    """A device that syncs without pause and keeps each room's message texts in the order they came."""

    client: Client
    target: Target
    seen: dict[str, list[str]] = field(default_factory=dict)
    since: str | None = None
    stopped: bool = False

    async def run(self) -> None:
        """Sync until told to stop."""
        while not self.stopped:
            if not await self.step(timeout=1000):
                await asyncio.sleep(RETRY_S)

    async def step(self, timeout: int = 0) -> bool:
        """One /sync; whether it succeeded."""
        params = {"timeout": timeout, "since": self.since, "filter": {"room": {"timeline": {"limit": 1000}}}}
        try:
            async with asyncio.timeout(REQUEST_S):
                reply = await self.target.client(self.client).request("GET", "/sync", params=params)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        if reply.status != 200:
            assert reply.status >= 500, f"sync: {reply}"
            return False
        self._take(reply.body)
        return True

    def _take(self, answer: Json) -> None:
        self.since = answer["next_batch"]
        for room, joined in rooms(answer, "join").items():
            assert not joined["timeline"].get("limited") or not self.seen.get(room), "a gap of over 1000 events"
            texts = [event["content"]["body"] for event in timeline(joined) if event["type"] == "m.room.message"]
            self.seen.setdefault(room, []).extend(texts)


@dataclass
class Crowd:
    """Writers and readers of one server, started and stopped together."""

    target: Target
    users: list[Client]
    room_ids: list[str]
    writers: list[Writer]
    readers: list[Reader]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def gather(cls, server: Server, http: aiohttp.ClientSession, seed: int, *, users: int = 3) -> Crowd:
        """Register users, put all of them into two rooms, and give each a writer per room and a reader."""
        target = Target(server)
        people = [await Client(http, server.url).register(f"user{number}") for number in range(users)]
        room_ids = [await people[0].shared_room(*people[1:]) for _ in range(2)]
        writers = [
            Writer(f"u{u}r{r}", person, room, target, random.Random(f"{seed}/{u}/{r}"))
            for u, person in enumerate(people)
            for r, room in enumerate(room_ids)
        ]
        readers = [Reader(await person.another_device(), target) for person in people[:2]]
        for reader in readers:
            assert await reader.step()
        return cls(target, people, room_ids, writers, readers)

    def start(self) -> None:
        """Set everybody to work."""
        workers: list[Writer | Reader] = [*self.writers, *self.readers]
        self.tasks = [asyncio.create_task(worker.run()) for worker in workers]

    @property
    def acknowledged(self) -> int:
        """How many sends have been acknowledged so far."""
        return sum(len(writer.acked) for writer in self.writers)

    async def progress(self, more: int, timeout: float = 60.0) -> None:
        """Wait until this many more sends are acknowledged, which they are only if the server recovered."""
        goal = self.acknowledged + more
        deadline = asyncio.get_running_loop().time() + timeout
        while self.acknowledged < goal:
            for task in self.tasks:
                if task.done():
                    task.result()
            assert asyncio.get_running_loop().time() < deadline, (
                f"{goal - self.acknowledged} of {more} sends missing after {timeout:.0f} s:\n"
                + self.target.server.log_tail()
            )
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Let everybody finish what they are doing."""
        for writer in self.writers:
            writer.stopped = True
        for reader in self.readers:
            reader.stopped = True
        await asyncio.gather(*self.tasks)

    async def check(self) -> None:
        """Nothing acknowledged is lost, doubled or out of order, for the history and for every reader."""
        histories = {room: await self._history(room) for room in self.room_ids}
        for writer in self.writers:
            mine = [text for text, _ in histories[writer.room] if text.startswith(writer.name + "/")]
            ids = dict(histories[writer.room])
            assert mine == list(writer.acked), f"{writer.name}: acknowledged {list(writer.acked)}, found {mine}"
            assert {text: ids[text] for text in mine} == writer.acked
        for reader in self.readers:
            while not await reader.step():
                await asyncio.sleep(RETRY_S)
            for room, history in histories.items():
                texts = [text for text, _ in history]
                assert reader.seen[room] == texts, f"a reader's stream differs from the history of {room}"
        await self.check_sessions()

    async def check_sessions(self) -> None:
        """Every token still opens, and every password."""
        for person in self.users:
            who = await self.target.client(person).ok("GET", "/account/whoami")
            assert who["user_id"] == person.user_id
        await self.users[0].another_device(PASSWORD)

    async def _history(self, room: str) -> list[tuple[str, str]]:
        events = await self.target.client(self.users[0]).history(room, "f", limit=500)
        texts = [(e["content"]["body"], e["event_id"]) for e in events if e["type"] == "m.room.message"]
        assert len(texts) == len({text for text, _ in texts}), "a message is there twice"
        return texts
