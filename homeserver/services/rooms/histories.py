"""Who was when in which room, in memory: the histories that decide what a user may see.

Follows the log: a member event drops the history of that user in that room, a new visibility those of all users.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

from homeserver.core.event import StateKey
from homeserver.core.visibility import HISTORY_VISIBILITY
from homeserver.ports.events import EventFlags
from homeserver.ports.log import EventEntry, LogEntry, SessionsEntry, StateEntry
from homeserver.ports.store import Store, Transaction
from homeserver.services.rooms.visibility import History, history_of, load_history

_MEMBER = "m.room.member"


class HistoryCache:
    """Histories by room and user, the least recently used forgotten first."""

    def __init__(self, *, max_entries: int = 5_000, max_changes: int = 500_000) -> None:
        """`max_changes` bounds all histories together; one takes 16 bytes."""
        self._histories: OrderedDict[tuple[int, str], History] = OrderedDict()
        self._users: dict[int, set[str]] = {}  # of whom there is a history, by room
        self._max_entries = max_entries
        self._max_changes = max_changes
        self._held = 0  # changes in all histories
        self._changes = 0

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Log listener: forget what the events change."""
        for entry in entries:
            if isinstance(entry, EventEntry):
                if entry.stored.event.is_state:
                    self._set(entry.stored.room_nid, entry.stored.event.key)
                if entry.stored.flags and entry.stored.flags & EventFlags.APART:
                    self._set(
                        entry.stored.room_nid, HISTORY_VISIBILITY
                    )  # it may be seen by others than those around it
            elif isinstance(entry, StateEntry):
                for key in entry.correction.changes:
                    self._set(entry.correction.room_nid, key)
            elif isinstance(entry, SessionsEntry) and entry.erased:
                self.clear()  # rare, and it may concern everybody

    def _set(self, room_nid: int, key: StateKey) -> None:
        if key[0] == _MEMBER:
            self._changes += 1
            self._forget(room_nid, key[1])
        elif key == HISTORY_VISIBILITY:
            self._changes += 1
            for user_id in tuple(self._users.get(room_nid, ())):
                self._forget(room_nid, user_id)

    def clear(self) -> None:
        """Forget everything: the log has a gap, or an account was erased."""
        self._changes += 1
        self._histories.clear()
        self._held = 0
        self._users.clear()

    async def fetch(self, room_nid: int, user_id: str, store: Store) -> History:
        """The user's history in the room, from memory or the store."""
        history = self._histories.get((room_nid, user_id))
        if history is not None:
            self._histories.move_to_end((room_nid, user_id))
            return history
        changes = self._changes
        async with store.read_committed() as tx:
            history = await load_history(tx, room_nid, user_id)
        if changes == self._changes:  # else it may be from before the change
            self._keep(room_nid, user_id, history)
        return history

    def known(self, room_nids: Collection[int], user_id: str) -> dict[int, History] | None:
        """The user's histories in these rooms, if memory has them all."""
        found: dict[int, History] = {}
        for room_nid in room_nids:
            history = self._histories.get((room_nid, user_id))
            if history is None:
                return None
            self._histories.move_to_end((room_nid, user_id))
            found[room_nid] = history
        return found

    async def fetch_many(
        self, room_nids: Collection[int], user_id: str, store: Store, tx: Transaction | None = None
    ) -> dict[int, History]:
        """The user's histories in many rooms: one statement for those that memory does not have, in `tx` if given."""
        found = {nid: history for nid in room_nids if (history := self._histories.get((nid, user_id))) is not None}
        missing = [room_nid for room_nid in room_nids if room_nid not in found]
        if not missing:
            return found
        changes = self._changes
        if tx is not None:
            # An open transaction may be older than what memory knows: what it reads is good for its answer only.
            decisive = await tx.sync.visibility_histories(missing, user_id)
        else:
            async with store.read_committed() as own:
                decisive = await own.sync.visibility_histories(missing, user_id)
        for room_nid in missing:
            history = found[room_nid] = history_of(user_id, decisive[room_nid])
            if tx is None and changes == self._changes:
                self._keep(room_nid, user_id, history)
        return found

    def _keep(self, room_nid: int, user_id: str, history: History) -> None:
        self._forget(room_nid, user_id)
        self._histories[(room_nid, user_id)] = history
        self._held += history.changes
        self._users.setdefault(room_nid, set()).add(user_id)
        while len(self._histories) > self._max_entries or (self._held > self._max_changes and len(self._histories) > 1):
            self._forget(*next(iter(self._histories)))

    def _forget(self, room_nid: int, user_id: str) -> None:
        history = self._histories.pop((room_nid, user_id), None)
        if history is not None:
            self._held -= history.changes
            users = self._users[room_nid]
            users.discard(user_id)
            if not users:
                del self._users[room_nid]
