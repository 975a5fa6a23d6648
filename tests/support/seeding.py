"""Many accounts in little time, made by the server's own services on a database that no server is using.

A registration costs a password hash of 80 ms, which is its purpose; thousands of accounts for a test need none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp

from homeserver import boot
from homeserver.config.load import load
from homeserver.config.model import Config
from homeserver.ports.accounts import User
from tests.support.client import Client
from tests.support.server import Server

AT_ONCE = 64


def config_of(server: Server) -> Config:
    """The configuration that the server's command line makes."""
    arguments = server.options.arguments(server.data_dir)
    given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    flags = {"server.data_dir": given["--data-dir"], "server.name": given["--server-name"]}
    if "--database-url" in given:
        flags["database.url"] = given["--database-url"]
    return load(Path(given["--data-dir"]) / "hromada.toml", {}, flags)


@contextlib.asynccontextmanager
async def services(server: Server) -> AsyncIterator[boot.Core]:
    """The services of a server that is not running; it must have run before."""
    async with boot.offline(config_of(server)) as core:
        committing = asyncio.create_task(core.base.committer.run())
        try:
            yield core
        finally:
            await core.base.committer.drain()
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)


async def make_accounts(core: boot.Core, names: Sequence[str], http: aiohttp.ClientSession) -> list[Client]:
    """Accounts without passwords, each logged in once. The clients have no address yet."""
    clients = []
    for name in names:
        user = User(f"@{name}:{core.base.config.server.name}", core.base.clock.now_ms())
        async with core.base.committer.writing() as unit:
            await unit.tx.users.create(user)
            opened = await core.sessions.open_in(unit, user, None, None, refresh=False)
        client = Client(http, "")
        client.user_id, client.token = user.user_id, opened.tokens.access_token
        client.device_id = opened.session.device_id
        clients.append(client)
    return clients


async def log_in_again(core: boot.Core, client: Client) -> Client:
    """Another device of an account."""
    async with core.store.read() as tx:
        user = await tx.users.get(client.user_id)
    assert user is not None
    opened = await core.sessions.open(user, None, None, refresh=False)
    other = Client(client.session, client.base_url)
    other.user_id, other.token, other.device_id = user.user_id, opened.tokens.access_token, opened.session.device_id
    return other


async def join(core: boot.Core, room: str, clients: Sequence[Client]) -> None:
    """Let everybody join a public room."""
    for first in range(0, len(clients), AT_ONCE):
        await asyncio.gather(
            *(core.rooms.memberships.join(client.user_id, room) for client in clients[first : first + AT_ONCE])
        )
