"""Changes of account data that depend on what is stored: push rules, tags, read markers.

Decided outside the transaction and committed only if nobody else was faster, so that two clients of one user, on
whatever processes, never undo each other's change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from homeserver import faults
from homeserver.core.canonical import trimmed
from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.log import AccountDataEntry, LogEntry
from homeserver.ports.store import Store, Transaction
from homeserver.services.commit import Committer
from homeserver.services.personal.quota import AccountDataQuota

Edit = Callable[[bytes | None], Awaitable[bytes | None]]
"""From the stored content (None: there is none) to the new one; None if nothing is to change. May raise."""


@dataclass(slots=True)
class _Replace:
    """The change for the committer: put `data` if the stored content still is `expected`."""

    data: AccountDataChanged
    expected: bytes | None
    quota: AccountDataQuota
    done: bool = field(default=False, init=False)

    async def prepare(self, _tx: Transaction) -> int:
        """One position, even if another change was faster: then the entry repeats what is stored."""
        return 1

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Compare and put."""
        data = self.data
        stored = await tx.account_data.get(data.user_id, data.room_id, data.type)
        self.done = stored == self.expected
        if self.done:
            await self.quota.require(tx, data, stored)
        else:
            data = AccountDataChanged(data.user_id, data.room_id, data.type, stored or b"{}")
        await tx.account_data.put(data, first)
        return [AccountDataEntry(first, data)]


class AccountDataEdits:
    """Reads, changes and writes account data as one step."""

    def __init__(self, store: Store, committer: Committer, quota: AccountDataQuota | None = None) -> None:
        self._store = store
        self._committer = committer
        self._quota = quota or AccountDataQuota()
        self._locks: WeakValueDictionary[tuple[str, str | None, str], asyncio.Lock] = WeakValueDictionary()

    async def read(self, user_id: str, room_id: str | None, type_: str) -> bytes | None:
        """The stored content."""
        async with self._store.read() as tx:
            return await tx.account_data.get(user_id, room_id, type_)

    async def edit(self, user_id: str, room_id: str | None, type_: str, edit: Edit) -> None:
        """Replace the content by what `edit` makes of it. Raises what `edit` raises,
        RESOURCE_LIMIT_EXCEEDED and StoreUnavailable."""
        # The lock only spares the losers of a race in this process their repetition.
        lock = self._locks.setdefault((user_id, room_id, type_), asyncio.Lock())
        async with lock:
            while True:  # ends, because whoever is in the way has succeeded
                stored = await self.read(user_id, room_id, type_)
                content = await edit(stored)
                if content is None or content == stored:
                    return
                if faults.plan is not None:
                    await faults.plan.reach("account_data.decided")
                data = AccountDataChanged(user_id, room_id, type_, trimmed(content))
                async with self._store.read() as tx:
                    await self._quota.require(tx, data, stored)
                change = _Replace(data, stored, self._quota)
                await self._committer.commit(change)
                if change.done:
                    return
