"""Who is online. In memory only: it is worth nothing after a restart.

A user who was not heard of for a while is offline, one who does nothing is unavailable; both follow from the times
kept here whenever somebody asks, so nothing has to run in the background.
spec: client-server-api#presence
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.members import RoomMembers

State = Literal["offline", "online", "unavailable"]

MAX_STATUS_BYTES = 2_048


@dataclass(frozen=True, slots=True)
class Presence:
    """A user's presence at the moment of asking."""

    state: State
    last_active_ago_ms: int | None = None
    status_msg: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `GET /presence/{userId}/status` and the content of m.presence show it."""
        shown: dict[str, Any] = {"presence": self.state}
        if self.state == "online":
            shown["currently_active"] = True
        if self.last_active_ago_ms is not None:
            shown["last_active_ago"] = self.last_active_ago_ms
        if self.status_msg is not None:
            shown["status_msg"] = self.status_msg
        return shown


@dataclass(slots=True)
class _Known:
    chosen: State
    heard: float  # monotonic seconds
    active: float | None = None
    status_msg: str | None = None


class PresenceTracker:
    """Presence of local users, of at most `max_users` of them: those longest silent are forgotten first."""

    def __init__(
        self,
        clock: Clock,
        members: RoomMembers,
        *,
        max_users: int = 100_000,
        idle_s: float = 300,
        offline_s: float = 300,
    ) -> None:
        """`idle_s` after the last activity a user is unavailable, `offline_s` after the last sign of a client gone."""
        self._clock = clock
        self._members = members
        self._max_users = max_users
        self._idle_s = idle_s
        self._offline_s = offline_s
        self._known: dict[str, _Known] = {}  # longest silent first
        self._on_change: list[Callable[[str], None]] = []

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call `callback(user_id)` when what others see of a user has changed by something that the user did."""
        self._on_change.append(callback)

    def of(self, user_id: str) -> Presence:
        """The user's presence, for those who may know it."""
        known = self._known.get(user_id)
        return Presence("offline") if known is None else self._now(known)

    def seen(self, user_id: str, state: State) -> None:
        """A client of the user asks for news and wants them shown as `state`; `offline` asks for no change.

        Asking for news is no activity; coming online is.  spec: client-server-api#get_matrixclientv3sync
        """
        if state != "offline":
            known = self._known.get(user_id)
            was_online = known is not None and known.chosen == "online" and self._now(known).state != "offline"
            self._hear(user_id, state, is_active=state == "online" and not was_online)

    def active(self, user_id: str) -> None:
        """The user did something, such as sending a message."""
        self._hear(user_id, "online", is_active=True)

    def set(self, user_id: str, state: State, status_msg: str | None) -> None:
        """The user chooses what others see. Raises TOO_LARGE."""
        if status_msg is not None and len(status_msg.encode()) > MAX_STATUS_BYTES:
            raise MatrixError(ErrCode.TOO_LARGE, f"status_msg has at most {MAX_STATUS_BYTES} bytes")
        known = self._hear(user_id, state, is_active=state == "online")
        if known.status_msg != status_msg:
            known.status_msg = status_msg
            self._tell(user_id)

    def has(self, user_id: str) -> bool:
        """Whether the user is there, for the server's own purposes."""
        known = self._known.get(user_id)
        return known is not None and self._now(known).state != "offline"

    def fades_in_s(self, user_id: str) -> float | None:
        """In how many seconds `of` will say something else, if nothing is heard of the user; None: it will not."""
        known = self._known.get(user_id)
        state = "offline" if known is None else self._now(known).state
        if known is None or state == "offline":
            return None
        ends = known.heard + self._offline_s
        if state == "online" and known.active is not None:
            ends = min(ends, known.active + self._idle_s)
        return max(ends - self._clock.monotonic(), 0.0) + 0.001  # it changes just after its end

    async def get(self, user_id: str, asked_by: str) -> Presence:
        """The user's presence. Raises FORBIDDEN unless they share a room with who asks."""
        if user_id != asked_by and not await self._members.share_a_room(user_id, asked_by):
            raise MatrixError(ErrCode.FORBIDDEN, "You are not allowed to see their presence")
        return self.of(user_id)

    def _tell(self, user_id: str) -> None:
        for callback in self._on_change:
            callback(user_id)

    def _now(self, known: _Known) -> Presence:
        now = self._clock.monotonic()
        state = known.chosen
        if now - known.heard > self._offline_s:
            state = "offline"
        elif state == "online" and (known.active is None or now - known.active > self._idle_s):
            state = "unavailable"
        ago = None if known.active is None else int((now - known.active) * 1000)
        return Presence(state, ago, known.status_msg)

    def _hear(self, user_id: str, state: State, *, is_active: bool) -> _Known:
        now = self._clock.monotonic()
        known = self._known.pop(user_id, None)
        shown = "offline" if known is None else self._now(known).state
        known = known or _Known(state, now)
        known.chosen = state
        known.heard = now
        if is_active:
            known.active = now
        self._known[user_id] = known
        if len(self._known) > self._max_users:
            del self._known[next(iter(self._known))]
        if self._now(known).state != shown:
            self._tell(user_id)
        return known
