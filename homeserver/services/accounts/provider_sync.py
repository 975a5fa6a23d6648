"""Follows login providers: who was disabled there is logged out here, names follow, everybody has an account if asked.

What a provider does not say changes nothing: one that is away logs nobody out.
"""

from __future__ import annotations

import asyncio

import structlog

from homeserver.core.errors import MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.identity import Identity, LoginProvider, ProviderUnavailable, SitePerson
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.accounts.providers import Providers

_PAGE = 500
_SUSPICIOUS = 10
_PAUSE_S = 0.05

_log = structlog.get_logger(__name__)


class ProviderSync:
    """Looks at one provider again and again."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        providers: Providers,
        provider: LoginProvider,
        *,
        every_s: float,
        provisions_all: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._providers = providers
        self._provider = provider
        self._every_s = every_s
        self._provisions_all = provisions_all

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = self._clock.monotonic()
            try:
                changed = await self.once()
                if changed:
                    _log.info("login_provider_followed", provider=self._provider.name, changed=changed)
            except (ProviderUnavailable, StoreUnavailable, MatrixError) as error:
                _log.warning("login_provider_not_followed", provider=self._provider.name, error=str(error))
            await asyncio.sleep(max(1.0, self._every_s - (self._clock.monotonic() - began)))

    async def once(self) -> int:
        """One look at everybody; how many accounts it changed. Raises ProviderUnavailable, StoreUnavailable."""
        changed = 0
        after = ""
        while True:
            async with self._store.read() as tx:
                identities = await tx.identities.page(self._provider.name, after, _PAGE)
            if not identities:
                break
            people = await self._provider.people([identity.key for identity in identities])
            if people is None:
                return changed
            if not people and len(identities) >= _SUSPICIOUS:
                # Not one of many is left: that is the wrong table, or an empty one in the middle of being loaded.
                raise ProviderUnavailable(f"none of {len(identities)} accounts is there any more; nobody is logged out")
            for identity in identities:
                changed += await self._follow(identity, people.get(identity.key))
            after = identities[-1].key
            await asyncio.sleep(_PAUSE_S)
        if self._provisions_all:
            changed += await self._provision_all()
        return changed

    async def _follow(self, identity: Identity, person: SitePerson | None) -> bool:
        gone = person is None or not person.is_enabled
        if gone:
            leaver = person or SitePerson(identity.key, "")
            return await self._providers.disable(self._provider, leaver)
        if person is None or (not identity.disabled and identity.stamp == person.stamp):
            return False
        await self._providers.refresh(self._provider, identity, person)
        return True

    async def _provision_all(self) -> int:
        made = 0
        pages = self._provider.everybody(_PAGE)
        if pages is None:
            return 0
        async for page in pages:
            async with self._store.read() as tx:
                known = [await tx.identities.get(self._provider.name, person.key) for person in page]
            for person, identity in zip(page, known, strict=True):
                if identity is None and person.is_enabled:
                    made += await self._providers.provision(self._provider, person) is not None
            await asyncio.sleep(_PAUSE_S)
        return made
