"""What a user has not read, as the store counts it.  spec: client-server-api#receiving-notifications"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

MAIN = ""
"""The thread of what is in no thread."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Notifying and highlighted events behind what a user has read."""

    notify: int = 0
    highlight: int = 0


NOTHING = Unread()


@dataclass(frozen=True, slots=True)
class UnreadEvent:
    """An event that the default rules may count, by its row id; `thread` is the root's event id, or MAIN."""

    nid: int
    thread: str


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event of a timeline, as far as it says whether its reader was told of it."""

    nid: int
    order: int
    room_nid: int
    sender: str
    push: int  # `core.pushbits`
    mentioned: bool
    invites: bool
    """Whether it is the reader's own member event, which may have been an invitation."""
    is_redacted: bool


class UnreadRepo(Protocol):
    """Counts of events behind the receipts of a user, of many rooms in one statement.

    Read is what a receipt covers (an unthreaded one all threads), what is before the user's last message in the same
    thread, and what is before they came into the room. Redacted events, own ones and those of ignored users count
    nothing. At most `most` newest events of a room are looked at.
    """

    async def counts(
        self, user_id: str, room_nids: Collection[int], ignored: Collection[str], most: int
    ) -> tuple[dict[int, dict[str, Unread]], int]:
        """By room and thread, under the default rules; threads without any are absent. And the position of the log up
        to which everything is in them, and nothing else.
        """
        ...

    async def events(
        self, user_id: str, room_nids: Collection[int], ignored: Collection[str], most: int
    ) -> Mapping[int, Sequence[UnreadEvent]]:
        """The unread events themselves, oldest first, for rules of one's own: whatever is in the timeline."""
        ...

    async def unread_among(
        self, user_id: str, room_nids: Collection[int], nids: Collection[int], ignored: Collection[str], most: int
    ) -> set[int]:
        """Those of the events in these rooms that are unread."""
        ...

    async def past(self, user_id: str, room_nids: Collection[int], before: int, limit: int) -> Sequence[PastEvent]:
        """The newest events of all these rooms together whose order is below `before`, newest first."""
        ...
