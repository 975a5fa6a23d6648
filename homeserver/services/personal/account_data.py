"""Account data, global and per room.  spec: client-server-api#client-config"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.core.canonical import trimmed
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import parse_room_id
from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.log import AccountDataEntry, LogEntry
from homeserver.ports.store import Store, Transaction
from homeserver.services.accounts.names import is_storable, require_text
from homeserver.services.commit import Committer
from homeserver.services.personal.quota import AccountDataQuota

MAX_CONTENT = 65_536
_SERVER_MANAGED = frozenset({"m.fully_read", "m.push_rules"})


@dataclass(frozen=True, slots=True)
class SetAccountData:
    """The change that the log commits."""

    data: AccountDataChanged
    quota: AccountDataQuota = field(default_factory=AccountDataQuota)

    async def prepare(self, _tx: Transaction) -> int:
        """One position."""
        return 1

    async def require(self, tx: Transaction) -> None:
        """Raises RESOURCE_LIMIT_EXCEEDED if the user has no room for it."""
        data = self.data
        await self.quota.require(tx, data, await tx.account_data.get(data.user_id, data.room_id, data.type))

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Store the content at its position. Raises RESOURCE_LIMIT_EXCEEDED."""
        await self.require(tx)
        await tx.account_data.put(self.data, first)
        return [AccountDataEntry(first, self.data)]


class AccountData:
    """Owns account data."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        *,
        max_bytes: int = MAX_CONTENT,
        quota: AccountDataQuota | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._quota = quota or AccountDataQuota()
        self._store = store
        self._committer = committer

    async def get(self, user_id: str, room_id: str | None, type_: str) -> bytes:
        """The content as JSON. Raises NOT_FOUND, INVALID_PARAM."""
        content = None
        if room_id is not None:
            parse_room_id(room_id)
        if is_storable(type_):
            async with self._store.read() as tx:
                content = await tx.account_data.get(user_id, room_id, type_)
        if content is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no account data of this type")
        return content

    async def of_room(self, user_id: str, room_id: str) -> list[AccountDataChanged]:
        """All account data of the user for one room."""
        async with self._store.read() as tx:
            return [item for item in await tx.account_data.after(user_id, 0) if item.room_id == room_id]

    async def put(self, user_id: str, room_id: str | None, type_: str, content: dict[str, Any]) -> None:
        """Set content that a client chose. Raises BAD_JSON with 405 for types the server manages, and as `set`."""
        if type_ in _SERVER_MANAGED:
            raise MatrixError(ErrCode.BAD_JSON, f"The server manages {type_}", status=405)
        await self.set(user_id, room_id, type_, orjson.dumps(content))

    async def set(self, user_id: str, room_id: str | None, type_: str, content: bytes) -> None:
        """Set content of any type. Raises TOO_LARGE, INVALID_PARAM, RESOURCE_LIMIT_EXCEEDED."""
        require_text(type_, "type")
        if room_id is not None:
            parse_room_id(room_id)
        if len(content) > self._max_bytes:
            raise MatrixError(ErrCode.TOO_LARGE, f"Account data has at most {self._max_bytes} bytes")
        change = SetAccountData(AccountDataChanged(user_id, room_id, type_, trimmed(content)), self._quota)
        async with self._store.read() as tx:
            await change.require(tx)  # before anybody else's changes wait for the same transaction
        await self._committer.commit(change)
