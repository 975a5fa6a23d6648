"""Rooms, spaces and ghosts at the homeserver. Everything here may be done again: names are made of keys."""

from __future__ import annotations

import asyncio
from typing import Any

from bridges.config import Config
from bridges.faults import reach
from bridges.mapper import transaction_id
from bridges.matrix import Homeserver, MatrixFailure, part
from bridges.state import Delivery, State

_NO_WRITER = 100


class Rooms:
    """Makes rooms and users, and keeps them as their rows are."""

    def __init__(self, config: Config, state: State, homeserver: Homeserver) -> None:
        self._service = config.appservice
        self._state = state
        self._homeserver = homeserver
        self._bot = f"@{self._service.bot}:{self._service.server_name}"
        self._space_lock = asyncio.Lock()

    async def make(self, delivery: Delivery) -> None:
        """Make the room of a lane, and put it into its space."""
        room = self._state.room(delivery.lane)
        if room is None or room.room_id is not None:
            return
        await self.ready(self._bot)
        content = delivery.content
        space = await self._space(content["space"], content["invite"]) if content.get("space") else None
        initial = []
        if space is not None:
            parent = {"via": [self._service.server_name], "canonical": True}
            initial.append({"type": "m.space.parent", "state_key": space, "content": parent})
        body = {
            "room_alias_name": room.alias,
            "preset": "private_chat",
            "name": content["name"],
            "topic": content["topic"],
            "invite": content["invite"],
            "creation_content": {"m.federate": content["federate"]},
            "initial_state": initial,
        }
        reach("making-room")
        room_id = await self._create(room.alias, body)
        reach("made-room")
        if content.get("power"):
            await self._give_power(room_id, content["power"])
        if space is not None:
            path = f"/rooms/{part(space)}/state/m.space.child/{part(room_id)}"
            await self._homeserver.call("PUT", path, {"via": [self._service.server_name]})
        self._state.made_room(delivery.lane, room_id)

    async def _create(self, alias: str, body: dict[str, Any]) -> str:
        try:
            return str((await self._homeserver.call("POST", "/createRoom", body))["room_id"])
        except MatrixFailure as failure:
            # The answer to an earlier request was lost: the alias, which is ours alone, leads to the room it made.
            if failure.errcode not in ("M_ROOM_IN_USE", "M_ALIAS_IN_USE"):
                raise
            path = f"/directory/room/{part(f'#{alias}:{self._service.server_name}')}"
            return str((await self._homeserver.call("GET", path))["room_id"])

    async def _space(self, alias: str, invite: list[str]) -> str:
        async with self._space_lock:
            if (known := self._state.space(alias)) is not None:
                return known
            local, _, server = alias.removeprefix("#").partition(":")
            if local.startswith(self._service.prefix) and server == self._service.server_name:
                body = {
                    "room_alias_name": local,
                    "preset": "private_chat",
                    "name": local.removeprefix(self._service.prefix),
                    "invite": invite,
                    "creation_content": {"type": "m.space"},
                }
                space = await self._create(local, body)
            else:  # somebody else's: the bot has to be in it and allowed to
                space = str((await self._homeserver.call("GET", f"/directory/room/{part(alias)}"))["room_id"])
                await self._homeserver.call("POST", f"/join/{part(alias)}", {})
            self._state.made_space(alias, space)
            return space

    async def set_archived(self, room_id: str, archived: bool) -> None:
        """Let nobody write in a room, or everybody again."""
        path = f"/rooms/{part(room_id)}/state/m.room.power_levels/"
        levels = await self._homeserver.call("GET", path)
        wanted = _NO_WRITER if archived else 0
        if levels.get("events_default", 0) != wanted:
            await self._homeserver.call("PUT", path, {**levels, "events_default": wanted})

    async def _give_power(self, room_id: str, levels: dict[str, int]) -> None:
        """Not while the room is made: whether its creator is named among them depends on the room's version."""
        path = f"/rooms/{part(room_id)}/state/m.room.power_levels/"
        before = await self._homeserver.call("GET", path)
        users = before.get("users") or {}
        if any(users.get(user) != level for user, level in levels.items()):
            await self._homeserver.call("PUT", path, {**before, "users": {**users, **levels}})

    async def redact(self, lane: str, room_id: str) -> None:
        """Take every message away that the lane was sent."""
        for event_id in self._state.sent(lane):
            path = f"/rooms/{part(room_id)}/redact/{part(event_id)}/{transaction_id('redact', event_id)}"
            await self._homeserver.call("PUT", path, {"reason": "The row was deleted"}, user=self._bot, device=True)
            self._state.forget_sent(lane, event_id)

    async def ready(self, user_id: str) -> None:
        """The user is registered and has the bridge's device."""
        if self._state.has_ghost(user_id):
            return
        if user_id != self._bot:
            body = {
                "type": "m.login.application_service",
                "username": user_id[1:].partition(":")[0],
                "inhibit_login": True,
            }
            try:
                await self._homeserver.call("POST", "/register", body)
            except MatrixFailure as failure:
                if failure.errcode != "M_USER_IN_USE":
                    raise
        device = {"display_name": "Bridge"}
        await self._homeserver.call("PUT", f"/devices/{part(self._service.device_id)}", device, user=user_id)
        self._state.made_ghost(user_id)

    async def profile(self, user_id: str, name: str, avatar: str) -> None:
        """Give a ghost its name and avatar, where they are other ones now."""
        await self.ready(user_id)
        before = self._state.profile(user_id)
        for field, value, old in (("displayname", name, before[0]), ("avatar_url", avatar, before[1])):
            if value != (old or ""):
                await self._homeserver.call("PUT", f"/profile/{part(user_id)}/{field}", {field: value}, user=user_id)
        self._state.set_profile(user_id, name, avatar)

    async def join(self, lane: str, room_id: str, user_id: str) -> None:
        """The user is in the room."""
        await self.ready(user_id)
        if user_id == self._bot or self._state.is_member(lane, user_id):
            return
        try:
            await self._homeserver.call("POST", f"/rooms/{part(room_id)}/invite", {"user_id": user_id})
        except MatrixFailure as failure:
            if failure.status != 403:  # it is in the room already, or the next request says why it is not
                raise
        await self._homeserver.call("POST", f"/join/{part(room_id)}", {}, user=user_id)
        self._state.set_member(lane, user_id, True)
