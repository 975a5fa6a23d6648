"""A second server that writes into the same room: it stands on whatever events it likes and sends them in any order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from homeserver.core import build
from homeserver.core.auth.select import auth_types_for
from homeserver.core.build import Signer
from homeserver.core.event import Event
from homeserver.core.signatures import SigningKey, encode_base64, reference_hash
from homeserver.core.versions import EventIdForm
from tests.simulation.oracle import Oracle, State

NAME = "peer.test"
USERS = [f"@{name}:{NAME}" for name in ("pia", "quinn", "rosa", "sven")]


class Peer:
    """Makes events of a room that `oracle` knows."""

    def __init__(self, oracle: Oracle, room_id: str, random: Random) -> None:
        self.oracle = oracle
        self.room_id = room_id
        self.random = random
        self._signer = Signer(NAME, SigningKey("ed25519:peer", bytes(range(32))))
        self._time = 1_700_000_000_000
        self._number = 0

    def make(
        self,
        prev_events: Sequence[str],
        before: State,
        sender: str,
        event_type: str,
        content: dict[str, Any],
        state_key: str | None = None,
        **more: Any,
    ) -> Event:
        """An event on `prev_events`, with the auth events that the state before it gives."""
        oracle, version = self.oracle, self.oracle.version
        keys = auth_types_for(event_type, sender, state_key, content, version)
        auth_events = [before[key] for key in keys if key in before]
        hashes = {}
        opaque_id = None
        if version.event_id is EventIdForm.GIVEN:
            named = {*auth_events, *prev_events}
            hashes = {name: encode_base64(reference_hash(oracle.events[name].pdu, version)) for name in named}
            self._number += 1
            opaque_id = f"peer{self._number}x{self.random.getrandbits(40):x}"
        # Clocks of servers differ: what is newer does not have a later time.
        self._time += self.random.randint(-5_000, 10_000)
        return build.build_event(
            version,
            build.ProtoEvent(self.room_id, sender, event_type, content, state_key, more.get("redacts")),
            build.Place(
                list(prev_events),
                auth_events,
                max(oracle.events[name].depth for name in prev_events) + 1,
                hashes,
            ),
            self._signer,
            origin_server_ts=self._time,
            opaque_id=opaque_id,
        )

    def prevs(self) -> list[str]:
        """What the next event stands on: what is newest here, or something older, or several."""
        oracle, random = self.oracle, self.random
        if random.random() < 0.4:
            return list(oracle.extremities)
        placed = [event_id for event_id in list(oracle.after)[-14:] if event_id not in oracle.rejected]
        if not placed:
            return list(oracle.extremities)
        return random.sample(placed, min(len(placed), random.choice([1, 1, 1, 2, 3])))

    def any_event(self, prev_events: Sequence[str], before: State, locals_: Sequence[str]) -> Event:
        """Something that somebody of this server might send, allowed or not."""
        oracle, random = self.oracle, self.random
        sender = random.choice(USERS)
        anybody = [*USERS, *locals_]
        kind = random.randrange(13)
        if kind == 12:
            # Of an event that is here, or that will come later.
            target = random.choice([*oracle.after][-8:] + oracle.held)
            return self.make(prev_events, before, sender, "m.room.redaction", {}, redacts=target)
        if kind < 2:
            return self.make(prev_events, before, sender, "m.room.message", {"body": str(random.random())})
        if kind == 2:
            return self.make(prev_events, before, sender, "m.room.topic", {"topic": str(random.random())}, "")
        if kind == 3:
            return self.make(prev_events, before, sender, "m.room.name", {"name": str(random.random())}, "")
        if kind < 6:
            return self._member(prev_events, before, sender, sender, random.choice(["join", "join", "leave"]))
        if kind < 9:
            membership = random.choice(["ban", "ban", "leave", "invite"])
            return self._member(prev_events, before, sender, random.choice(anybody), membership)
        if kind == 9:
            rule = {"join_rule": random.choice(["public", "public", "invite"])}
            return self.make(prev_events, before, sender, "m.room.join_rules", rule, "")
        if kind == 10:
            shown = {"history_visibility": random.choice(["shared", "joined", "invited"])}
            return self.make(prev_events, before, sender, "m.room.history_visibility", shown, "")
        held = before.get(("m.room.power_levels", ""))
        levels: dict[str, Any] = {} if held is None else dict(self.oracle.events[held].content)
        users = {**levels.get("users", {}), random.choice(anybody): random.choice([0, 50, 50, 100])}
        creator = self.oracle.events[before["m.room.create", ""]].sender
        if self.oracle.version.auth.privileged_creators:
            users.pop(creator, None)
        return self.make(prev_events, before, sender, "m.room.power_levels", {**levels, "users": users}, "")

    def _member(self, prev_events: Sequence[str], before: State, sender: str, target: str, membership: str) -> Event:
        return self.make(prev_events, before, sender, "m.room.member", {"membership": membership}, target)
