"""Login providers, where there are any: what they need to be loaded for is in `homeserver.boot.sites`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from importlib import import_module
from typing import Any

from homeserver.config.model import Config
from homeserver.ports.clock import Clock
from homeserver.ports.identity import LoginProvider, ProviderUnavailable
from homeserver.ports.outbound import OutboundSource
from homeserver.ports.store import Store
from homeserver.services.accounts.provider_sync import ProviderSync
from homeserver.services.accounts.providers import Providers


def build_providers(
    config: Config, in_thread: Callable[[Callable[[], bool]], Awaitable[bool]], outbound: OutboundSource
) -> Sequence[LoginProvider]:
    """The login providers of the configuration. None is asked yet. Raises ConfigError, UnsafeFile."""
    if not config.auth.providers:
        return ()
    made: Sequence[LoginProvider] = import_module("homeserver.boot.sites").build(config, in_thread, outbound)
    return made


async def examine_providers(config: Config) -> AsyncIterator[tuple[bool, str, str]]:
    """Ask every login provider whether it is as configured: whether it is, its name, and what there is to say.

    Raises ConfigError, UnsafeFile.
    """

    async def in_thread(work: Callable[[], bool]) -> bool:
        return work()

    outbound = import_module("homeserver.boot.outbound").LazyOutbound(config)
    try:
        for provider in build_providers(config, in_thread, outbound.get):
            try:
                yield True, provider.name, await provider.examine()
            except ProviderUnavailable as error:
                yield False, provider.name, str(error)
            finally:
                await provider.close()
    finally:
        await outbound.close()


def follow_providers(
    config: Config, store: Store, clock: Clock, providers: Providers | None
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """The loops that see who was disabled at a provider."""
    if providers is None:
        return []
    settings = {one.name: one for one in config.auth.providers}
    return [
        ProviderSync(
            store,
            clock,
            providers,
            provider,
            every_s=settings[provider.name].sync_seconds,
            provisions_all=settings[provider.name].provision == "all",
        ).run
        for provider in providers.all
        if settings[provider.name].sync_seconds and settings[provider.name].type != "rest"
    ]
