"""Message events, state events and redactions of local users.

spec: client-server-api#sending-events-to-a-room
"""

from __future__ import annotations

from typing import Any, Protocol

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.rooms.claims import MEMBER, check_state_type
from homeserver.services.rooms.drafts import Draft
from homeserver.services.rooms.guests import GUEST_ACCESS, GuestAccess
from homeserver.services.rooms.transactions import transaction
from homeserver.services.rooms.writer import RoomWriter

_REDACTION = "m.room.redaction"


class AliasCheck(Protocol):
    """Checks what an m.room.canonical_alias event claims."""

    async def check_canonical_alias(self, room_id: str, content: dict[str, Any]) -> None:
        """Raises MatrixError(BAD_ALIAS) if a newly named alias does not lead to the room."""
        ...


class MembershipByState(Protocol):
    """Changes memberships as their own endpoints do."""

    async def by_state(
        self, sender: str, room_id: str, target: str, content: dict[str, Any], *, ts: int | None = None
    ) -> str:
        """Do what a client's member event asks for; returns the id of the event that says so. Raises MatrixError."""
        ...


class Sending:
    """Sends events for users. Permission is decided by the writer, on the room's latest state."""

    def __init__(
        self, writer: RoomWriter, aliases: AliasCheck, memberships: MembershipByState, guests: GuestAccess
    ) -> None:
        self._writer = writer
        self._aliases = aliases
        self._memberships = memberships
        self._guests = guests

    async def send_message(
        self,
        room_id: str,
        sender: tuple[str, str],
        event_type: str,
        txn_id: str | None,
        content: dict[str, Any],
        *,
        ts: int | None = None,
    ) -> str:
        """Send a message event for `sender` (user id, device id); returns its event id.

        The same `txn_id` again gives the same event id; without one, each call sends anew. A redaction sent this way
        names its target in `redacts`.
        spec: client-server-api#put_matrixclientv3roomsroomidsendeventtypetxnid
        """
        if event_type == _REDACTION:
            redacts = content.get("redacts")
            if not isinstance(redacts, str):
                raise MatrixError(ErrCode.BAD_JSON, "A redaction must name the event in redacts")
            content = {key: value for key, value in content.items() if key != "redacts"}
            return await self._redact(room_id, sender, redacts, (event_type, txn_id), content)
        user_id, device_id = sender
        txn = transaction(user_id, device_id, room_id, event_type, txn_id)
        draft = Draft(user_id, event_type, content, txn=txn, origin_server_ts=ts)
        return await self._writer.send(room_id, draft)

    async def set_state(
        self,
        room_id: str,
        sender: str,
        key: tuple[str, str],
        content: dict[str, Any],
        *,
        ts: int | None = None,
    ) -> str:
        """Set the state at `key` (type, state_key); returns the id of the event that says so, new or not.

        spec: client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey
        """
        event_type, state_key = key
        check_state_type(event_type)
        if event_type == MEMBER:
            return await self._memberships.by_state(sender, room_id, state_key, content, ts=ts)
        if event_type == "m.room.canonical_alias" and state_key == "":
            await self._aliases.check_canonical_alias(room_id, content)
        event_id = await self._writer.send(room_id, Draft(sender, event_type, content, state_key, origin_server_ts=ts))
        if key == GUEST_ACCESS:
            await self._guests.changed(room_id)
        return event_id

    async def redact(
        self, room_id: str, sender: tuple[str, str], event_id: str, txn_id: str | None, reason: str | None
    ) -> str:
        """Redact an event; returns the id of the redaction.

        spec: client-server-api#put_matrixclientv3roomsroomidredacteventidtxnid
        """
        content = {} if reason is None else {"reason": reason}
        # The endpoint is another one than /send, and so is the scope of its transaction ids.
        return await self._redact(room_id, sender, event_id, (f"redact {event_id}", txn_id), content)

    async def _redact(
        self,
        room_id: str,
        sender: tuple[str, str],
        event_id: str,
        endpoint: tuple[str, str | None],
        content: dict[str, Any],
    ) -> str:
        user_id, device_id = sender
        txn = transaction(user_id, device_id, room_id, *endpoint)
        redaction = await self._writer.send(room_id, Draft(user_id, _REDACTION, content, redacts=event_id, txn=txn))
        await self._guests.redacted(room_id, event_id)
        return redaction
