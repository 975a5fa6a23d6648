"""Restricted joins: is a condition of the room met, and who of this server vouches for the newcomer.

spec: client-server-api#restricted-rooms
"""

from __future__ import annotations

from typing import Any

from homeserver.core.auth.power import PowerLevels
from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.event import Event
from homeserver.ports.events import RoomHead
from homeserver.services.rooms.writer import RoomMemory

_MAX_CANDIDATES = 200


class Authorisers:
    """Finds a local user who can authorise a restricted join."""

    def __init__(self, memory: RoomMemory, server_name: str) -> None:
        self._memory = memory
        self._server_name = server_name

    async def for_join(self, room_id: str, user_id: str) -> str | None:
        """The user to name in the join; None if the room asks for none or the user does not need one.

        Chosen before the room's queue is entered; the rules check there that the choice still holds. For somebody who
        is invited it is chosen if it can be: the invitation may be taken back until then.
        Raises MatrixError: FORBIDDEN if no condition is met, UNABLE_TO_AUTHORISE_JOIN if none can be checked here,
        UNABLE_TO_GRANT_JOIN if nobody of this server may invite.
        """
        memory = self._memory
        head = await memory.heads.fetch(room_id, memory.store)
        if head is None:
            return None
        own = ("m.room.member", user_id)
        found = await memory.read_events(head.state, (CREATE, JOIN_RULES, POWER_LEVELS, own))
        state = {key: stored.event for key, stored in found.items()}
        join_rules, member = state.get(JOIN_RULES), state.get(own)
        if join_rules is None or not _is_restricted(join_rules, head):
            return None
        if member is not None and member.membership in ("join", "ban"):
            return None
        levels = PowerLevels(head.room_version, state.get(CREATE), state.get(POWER_LEVELS))
        try:
            await self._check_conditions(join_rules.content.get("allow"), user_id)
            return await self._pick(head, levels)
        except MatrixError:
            if member is not None and member.membership == "invite":
                return None
            raise

    async def _check_conditions(self, allow: Any, user_id: str) -> None:
        conditions = [c for c in allow if isinstance(c, dict)] if isinstance(allow, list) else []
        rooms = [c.get("room_id") for c in conditions if c.get("type") == "m.room_membership"]
        unknown = False
        for room_id in rooms:
            if not isinstance(room_id, str):
                continue
            head = await self._memory.heads.fetch(room_id, self._memory.store)
            if head is None:
                unknown = True
                continue
            key = ("m.room.member", user_id)
            member = (await self._memory.read_events(head.state, [key])).get(key)
            if member is not None and member.event.membership == "join":
                return
        if unknown:
            raise MatrixError(
                ErrCode.UNABLE_TO_AUTHORISE_JOIN, "This server is not in the rooms whose members may join"
            )
        raise NotAllowed("You meet none of the room's conditions for joining")

    async def _pick(self, head: RoomHead, levels: PowerLevels) -> str:
        """A joined local user with the power to invite: the most powerful one, so that it lasts."""
        invite = levels.named("invite")
        async with self._memory.store.read_committed() as tx:
            joined = await tx.rooms.joined_local_users(head.room_nid)
        candidates = [user_id for user_id in joined if levels.user(user_id) >= invite]
        if candidates:
            return min(candidates, key=lambda user_id: (-levels.user(user_id), user_id))
        raise MatrixError(ErrCode.UNABLE_TO_GRANT_JOIN, "Nobody of this server may invite to the room")


def _is_restricted(join_rules: Event, head: RoomHead) -> bool:
    rules = head.room_version.auth
    rule = join_rules.content.get("join_rule")
    return (rule == "restricted" and rules.restricted) or (rule == "knock_restricted" and rules.knock_restricted)
