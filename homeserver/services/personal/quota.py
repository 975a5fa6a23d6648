"""How much account data one user may keep: read markers, tags and push rules are account data, too."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.store import Transaction


@dataclass(frozen=True, slots=True)
class AccountDataQuota:
    """Items (types, globally and per room) and bytes of all their contents."""

    items: int = 10_000
    total_bytes: int = 10_485_760

    async def require(self, tx: Transaction, data: AccountDataChanged, stored: bytes | None) -> None:
        """Raises RESOURCE_LIMIT_EXCEEDED if `data`, which replaces `stored`, needs more than is left.

        To be asked in the transaction that stores it. What does not grow is let through without counting.
        """
        if stored is not None and len(data.content) <= len(stored):
            return
        items, size = await tx.account_data.usage(data.user_id)
        items += stored is None
        size += len(data.content) - len(stored or b"")
        if items > self.items or size > self.total_bytes:
            raise MatrixError(
                ErrCode.RESOURCE_LIMIT_EXCEEDED,
                f"You may keep {self.items:,} items of account data with {self.total_bytes:,} bytes together",
            )
