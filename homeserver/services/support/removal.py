"""Closing the accounts of a site's visitors, when the site goes."""

from __future__ import annotations

from collections.abc import Callable

from homeserver.ports.store import Store
from homeserver.services.accounts.account import Account

_STEP = 100


def _unheard(_count: int) -> None:
    """Nobody listens."""


async def close_visitors(store: Store, account: Account, site_id: str, tell: Callable[[int], None] = _unheard) -> int:
    """Close the accounts of all visitors of a site; how many there were. What breaks off can be begun again.

    `tell` hears the number so far after each of them.
    """
    gone = 0
    while True:
        async with store.read() as tx:
            visitors = await tx.support.visitors_of(site_id, _STEP)
        if not visitors:
            return gone
        for visitor in visitors:
            await account.deactivate(visitor.user_id, erase=False)
            async with store.write() as tx:
                await tx.support.delete_visitor(visitor.user_id)
                await tx.users.announce()
            gone += 1
            tell(gone)
