"""What operators do to support chats, on the database itself, whether the server runs or not.

A running server sees new settings within seconds, and new rooms at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from homeserver import boot
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.accounts.names import user_id_at_login
from homeserver.services.support.removal import close_visitors
from homeserver.services.support.site import Key, SiteConfig, merged, parse_config
from homeserver.services.support.sites import LiveSite


@asynccontextmanager
async def _writing(config: Config) -> AsyncIterator[boot.Core]:
    """The services, with what commits events."""
    async with boot.offline(config) as server:
        committing = asyncio.create_task(server.base.committer.run())
        try:
            yield server
        finally:
            committing.cancel()
            with suppress(asyncio.CancelledError):
                await committing


async def add(config: Config, site_id: str, settings: dict[str, Any], agents: list[str]) -> LiveSite:
    """Make a site. Raises MatrixError: INVALID_PARAM, NOT_FOUND, RESOURCE_LIMIT_EXCEEDED."""
    checked = parse_config(settings)
    async with _writing(config) as server:
        return await server.support.sites.add(site_id, checked, [_user_id(config, name) for name in agents])


async def all_sites(config: Config) -> list[tuple[LiveSite, int]]:
    """All sites, each with how many cases are open."""
    async with boot.offline(config) as server:
        sites = await server.support.sites.all()
        async with server.store.read() as tx:
            return [(site, len(await tx.support.open_cases(site.id))) for site in sites]


async def edit(config: Config, site_id: str, changes: dict[str, Any], agents: list[str]) -> SiteConfig:
    """Change settings, which are merged into those there are; invite `agents`. Raises as `add`."""
    async with _writing(config) as server:
        site = await server.support.sites.get(site_id)
        site = await server.support.sites.edit(site_id, merged(site.config, changes)) if changes else site
        for name in agents:
            await server.support.sites.invite(site, _user_id(config, name))
        return site.config


async def show(config: Config, site_id: str) -> SiteConfig:
    """A site's settings. Raises MatrixError(NOT_FOUND)."""
    async with boot.offline(config) as server:
        return (await server.support.sites.get(site_id)).config


async def rotate_key(config: Config, site_id: str, alg: str, public_key: str) -> Key:
    """Give a site a new identity key; the one before it goes on to serve. Raises MatrixError."""
    async with boot.offline(config) as server:
        return await server.support.sites.rotate_key(site_id, alg=alg, public_key=public_key)


async def unblock(config: Config, site_id: str, number: int) -> None:
    """Let a visitor in again whom staff has blocked. Raises MatrixError: NOT_FOUND, INVALID_PARAM."""
    async with _writing(config) as server:
        site, cases = await server.support.sites.get(site_id), server.support.cases
        await cases.let_in(site, await cases.shut(site, number))
        async with server.store.write() as tx:
            await tx.users.announce()


async def remove(config: Config, site_id: str) -> int:
    """Forget a site and close its visitors' accounts; returns how many there were. Raises MatrixError(NOT_FOUND)."""
    async with _writing(config) as server:
        await server.support.sites.remove(site_id)
        return await close_visitors(server.store, server.accounts.account, site_id)


def _user_id(config: Config, name: str) -> str:
    user_id = user_id_at_login(name, config.server.name)
    if user_id is None:
        raise MatrixError(ErrCode.NOT_FOUND, f"There is no account {name}")
    return user_id
