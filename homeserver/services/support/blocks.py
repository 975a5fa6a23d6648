"""Visitors whom staff has shut out, and for a while the addresses they came from.

Their account is locked, so that nothing goes on with its sessions; and from where they were last seen nobody new may
begin for as long as the site says. An address is kept as a keyed digest, under which it can be asked for and not read,
and no longer than it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha512
from hmac import HMAC

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Device, UserFlags
from homeserver.ports.clock import Clock
from homeserver.ports.log import SessionsEntry
from homeserver.ports.store import Store
from homeserver.ports.support import BLOCKED, Case
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.commit import Committer, Unit
from homeserver.services.support.sites import LiveSite

_HOUR_MS = 3_600_000
_LOOK_S = 60.0
_MOST_ADDRESSES = 5


class Blocks:
    """Shuts visitors out, and lets them in again."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        sessions: Sessions,
        clock: Clock,
        secret: bytes,
        newest: Callable[[Sequence[Device]], list[Device]],
        counted_as: Callable[[str], str],
    ) -> None:
        """`newest` adds to devices what was seen of them last; `counted_as` is what an address is limited by."""
        self._store = store
        self._committer = committer
        self._sessions = sessions
        self._clock = clock
        self._secret = secret
        self._newest = newest
        self._counted_as = counted_as
        self._looked_at: float | None = None

    async def shut(self, site: LiveSite, case: Case) -> None:
        """Lock the account of the case's visitor, and let nobody new in from where they were. Safe to repeat."""
        until_ms = self._clock.now_ms() + site.config.block_hours * _HOUR_MS
        async with self._committer.writing() as unit:
            devices = self._newest(await unit.tx.devices.of_user(case.visitor_id))
            for address in self._addresses(devices) if site.config.block_hours else ():
                await unit.tx.support.block_address(site.id, self._digest(site, address), case.number, until_ms)
            await self._lock(unit, case, locked=True)
        self._sessions.changed(case.visitor_id, locked=True)

    async def lift(self, site: LiveSite, case: Case) -> None:
        """Undo that; the account stays locked if the visitor is shut out for another case, too. Safe to repeat."""
        async with self._committer.writing() as unit:
            await unit.tx.support.unblock_addresses(site.id, case.number)
            cases = await unit.tx.support.cases_of(case.visitor_id)
            if not any(other.status == BLOCKED for other in cases):
                await self._lock(unit, case, locked=False)
        self._sessions.changed(case.visitor_id)

    async def _lock(self, unit: Unit, case: Case, *, locked: bool) -> None:
        user = await unit.tx.users.get(case.visitor_id)
        # Who has made the account one of their own is shut out of the room and of nothing else.
        if user is None or user.deactivated or user.site_id != case.site_id:
            return
        await unit.tx.users.set_flags(user.user_id, UserFlags(locked=locked))
        unit.tell(lambda position: SessionsEntry(position, user.user_id))

    def _addresses(self, devices: Sequence[Device]) -> list[str]:
        seen = sorted(devices, key=lambda device: device.seen_ms or 0, reverse=True)
        return list(dict.fromkeys(self._counted_as(one.seen_ip) for one in seen if one.seen_ip))[:_MOST_ADDRESSES]

    async def check(self, site: LiveSite, address: str) -> None:
        """Whether somebody new may begin from an address. Raises MatrixError(FORBIDDEN)."""
        if site.config.block_hours == 0:
            return
        async with self._store.read() as tx:
            until_ms = await tx.support.blocked_until(site.id, self._digest(site, address))
        if until_ms > self._clock.now_ms():
            raise blocked()

    async def expire(self) -> None:
        """Forget the addresses whose time is over, looking once a minute."""
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        now_ms = self._clock.now_ms()
        async with self._store.read() as tx:
            due = await tx.support.has_addresses_due(now_ms)
        if due:
            async with self._store.write() as tx:
                await tx.support.forget_addresses(now_ms)

    def _digest(self, site: LiveSite, address: str) -> str:
        return HMAC(self._secret, f"{site.id}\0{address}".encode(), sha512).hexdigest()


def blocked() -> MatrixError:
    """The answer to whoever is shut out."""
    return MatrixError(ErrCode.FORBIDDEN, "Staff has closed this conversation", reason="blocked")
