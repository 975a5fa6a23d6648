"""Whom a user ignores, in memory and kept true by the log.  spec: client-server-api#ignoring-users"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import orjson

from homeserver import faults
from homeserver.ports.log import AccountDataEntry, LogEntry
from homeserver.ports.store import Store
from homeserver.services.log import Log

IGNORED_USER_LIST = "m.ignored_user_list"
_NOBODY: frozenset[str] = frozenset()


class IgnoredUsers:
    """The `m.ignored_user_list` of users who sync. Bounded."""

    def __init__(self, store: Store, log: Log, *, max_users: int = 20_000) -> None:
        self._store = store
        self._max_users = max_users
        self._lists: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._forgotten = 0
        log.listen(self._follow, self._forget)

    def peek(self, user_id: str) -> frozenset[str]:
        """Whom the user ignores, as far as that is in memory."""
        return self._lists.get(user_id, _NOBODY)

    async def of(self, user_id: str) -> frozenset[str]:
        """The users that `user_id` ignores."""
        known = self._lists.get(user_id)
        if known is not None:
            self._lists.move_to_end(user_id)
            return known
        forgotten = -1
        while forgotten != self._forgotten:
            # Where the log could not tell of a change while we read, we read again.
            forgotten = self._forgotten
            async with self._store.read_committed() as tx:
                content = await tx.account_data.get(user_id, None, IGNORED_USER_LIST)
            if faults.plan is not None:
                await faults.plan.reach("ignored.load")
        # A change committed meanwhile has put the newer list there.
        ignored = self._lists.setdefault(user_id, _parse(content))
        if len(self._lists) > self._max_users:
            self._lists.popitem(last=False)
        return ignored

    def _forget(self) -> None:
        self._lists.clear()
        self._forgotten += 1

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if not isinstance(entry, AccountDataEntry):
                continue
            changed = entry.data
            if changed.type == IGNORED_USER_LIST and changed.room_id is None:
                self._lists[changed.user_id] = _parse(changed.content)


def _parse(content: bytes | None) -> frozenset[str]:
    """Clients write this content themselves: anything that is not a map of users ignores nobody."""
    if content is None:
        return _NOBODY
    users = orjson.loads(content).get("ignored_users")
    return frozenset(users) if isinstance(users, dict) else _NOBODY
