"""Closing the accounts of a site's visitors: of those who were away for long, and of all when the site goes.

And, before that, ending the sessions of those who do not come back.
"""

from __future__ import annotations

from collections.abc import Callable

from homeserver.ports.media import Selection
from homeserver.ports.store import Store
from homeserver.ports.support import Visitor
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.commit import Committer

_STEP = 100


def _unheard(_count: int) -> None:
    """Nobody listens."""


async def close_visitor(store: Store, account: Account, visitor: Visitor) -> None:
    """Close a visitor's account and forget who they were. Who has made it an account of their own keeps that."""
    async with store.read() as tx:
        user = await tx.users.get(visitor.user_id)
    if user is not None and user.site_id is not None:
        await account.deactivate(visitor.user_id, erase=False)
    async with store.write() as tx:
        await tx.support.delete_visitor(visitor.user_id)
        await tx.users.announce()


async def end_sessions(committer: Committer, sessions: Sessions, visitor: Visitor, before_ms: int) -> bool:
    """Log a visitor out everywhere, unless they were seen since `before_ms` after all."""
    async with committer.writing() as unit:
        current = await unit.tx.support.visitor(visitor.user_id)
        if current is None or current.seen_ms >= before_ms:
            return False
        gone = await sessions.end_devices_in(unit, visitor.user_id, None)
    sessions.ended(gone)
    return True


async def forget_files(store: Store, user_id: str, now_ms: int, within: tuple[int, int] | None = None) -> None:
    """Delete what a visitor has uploaded, or what they have `within` two moments. Who has made the account one of their
    own keeps that.

    From then on nobody gets it; content that nothing else refers to is condemned here and removed by the library, which
    may be in another process.
    """
    since_ms, until_ms = within or (0, None)
    selection = Selection(("upload",), user_id=user_id, created_before_ms=until_ms, with_protected=True)
    after = ("", "")
    async with store.read() as tx:
        user = await tx.users.get(user_id)
    while user is None or user.site_id is not None:
        async with store.write() as tx:
            page = await tx.media.select(selection, after, _STEP)
            if not page:
                return
            gone = [(media.origin, media.media_id) for media in page if media.created_ms >= since_ms]
            await tx.media.delete(gone, now_ms)
        after = (page[-1].origin, page[-1].media_id)


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
            await close_visitor(store, account, visitor)
            gone += 1
            tell(gone)
