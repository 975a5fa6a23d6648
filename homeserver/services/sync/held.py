"""The register of everything that is held open for users: long polls, peeks and sockets.

It ends what must not learn anything more, and lets go of all when the server stops. Who wakes whom for news is not
its affair (`waiter`, `peek`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from homeserver.core.errors import ErrCode, MatrixError


class Held(Protocol):
    """Something held open for a session."""

    @property
    def session_id(self) -> str | None:
        """Whose it is; None for those who have none (application services)."""
        ...

    def end(self, reason: MatrixError) -> None:
        """It must not learn anything more, and be told why. Raises nothing."""
        ...

    def stop(self) -> None:
        """The server stops: answer now. Raises nothing."""
        ...


class HeldOpen:
    """All that is held open in this process, by user."""

    def __init__(self) -> None:
        self._held: dict[str, set[Held]] = {}
        self.released = False
        """Whether nothing is to be held any more."""

    @property
    def count(self) -> int:
        """How many are held."""
        return sum(map(len, self._held.values()))

    def add(self, user_id: str, held: Held) -> None:
        """It is open from now on, until it is removed."""
        self._held.setdefault(user_id, set()).add(held)

    def remove(self, user_id: str, held: Held) -> None:
        """It is over."""
        theirs = self._held.get(user_id, set())
        theirs.discard(held)
        if not theirs:
            self._held.pop(user_id, None)

    def of(self, user_id: str) -> Iterable[Held]:
        """What is held for a user."""
        return list(self._held.get(user_id, ()))

    def all(self) -> list[Held]:
        """What is held for anybody."""
        return [held for theirs in self._held.values() for held in theirs]

    def end_session(self, user_id: str, session_id: str) -> None:
        """Answer what is held for a session that was ended with M_UNKNOWN_TOKEN, now."""
        reason = MatrixError(ErrCode.UNKNOWN_TOKEN, "The session has ended")
        for held in self.of(user_id):
            if held.session_id == session_id:
                held.end(reason)

    def end_user(self, user_id: str, reason: MatrixError) -> None:
        """Answer all that is held for a user with `reason`, now."""
        for held in self.of(user_id):
            held.end(reason)

    def release(self) -> None:
        """Answer all that is held now and hold nothing from here on (shutdown)."""
        self.released = True
        for held in self.all():
            held.stop()
