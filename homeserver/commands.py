"""What operators do to accounts from the command line, on the database itself, whether the server runs or not.

A running server learns of what it must know at once (ended sessions, locks, deactivations) by the announcement that
goes with the change, within a second: see services/accounts/watch.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from homeserver import boot
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import RegistrationToken, User, UserFlags
from homeserver.ports.reports import Report
from homeserver.services.accounts.names import user_id_at_login
from homeserver.services.accounts.register import NewAccount
from homeserver.system import SystemClock, SystemEntropy

_DAY_MS = 24 * 3600 * 1000
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,64}")


async def add_user(config: Config, name: str, password: str, *, admin: bool) -> str:
    """Make an account in any registration mode; returns its user id.

    Raises MatrixError: USER_IN_USE, INVALID_USERNAME, WEAK_PASSWORD.
    """
    async with boot.offline(config) as server:
        wanted = NewAccount(name, password, inhibit_login=True)
        return (await server.accounts.register.register_by_operator(wanted, admin=admin)).user_id


async def list_users(config: Config) -> AsyncIterator[User]:
    """All accounts in the order of their ids."""
    async with boot.offline(config) as server:
        last = ""
        while True:
            async with server.store.read() as tx:
                users = await tx.users.page(after=last)
            for user in users:
                yield user
            if not users:
                return
            last = users[-1].user_id


async def reset_password(config: Config, name: str, password: str) -> str:
    """Give an account a new password and log it out everywhere. Returns the user id.

    Raises MatrixError: NOT_FOUND (no such account, or deactivated), WEAK_PASSWORD.
    """
    async with boot.offline(config) as server:
        user_id = await _existing(server, name)
        await server.accounts.account.set_password(user_id, password)
        await _announce(server)
    return user_id


async def deactivate(config: Config, name: str, *, erase: bool) -> str:
    """End an account for good; a running server, or the next one, takes it out of its rooms. Returns the user id.

    Raises MatrixError: NOT_FOUND.
    """
    async with boot.offline(config) as server:
        user_id = await _existing(server, name)
        await server.accounts.account.close(user_id, erase=erase)
        await _announce(server)
    return user_id


async def set_locked(config: Config, name: str, locked: bool) -> str:
    """Lock or unlock an account. Returns the user id. Raises MatrixError: NOT_FOUND."""
    async with boot.offline(config) as server:
        user_id = await _existing(server, name)
        async with server.store.write() as tx:
            await tx.users.set_flags(user_id, UserFlags(locked=locked))
            await tx.users.announce()
    return user_id


async def add_registration_token(config: Config, token: str | None, uses: int | None, days: int | None) -> str:
    """Make a registration token, a random one if `token` is None; returns it.

    `uses` is how many accounts it makes, `days` how long it lasts; None is without end. Raises MatrixError:
    INVALID_PARAM.  spec: client-server-api#token-authenticated-registration
    """
    token = SystemEntropy().token(16) if token is None else token
    if not _TOKEN.fullmatch(token):
        raise MatrixError(ErrCode.INVALID_PARAM, "Tokens are 1 to 64 letters, digits and ._~-")
    expires_ms = None if days is None else SystemClock().now_ms() + days * _DAY_MS
    async with boot.offline(config) as server, server.store.write() as tx:
        if await tx.registration_tokens.get(token) is not None:
            raise MatrixError(ErrCode.INVALID_PARAM, "There is such a token already")
        await tx.registration_tokens.put(RegistrationToken(token, uses, expires_ms=expires_ms))
    return token


async def list_registration_tokens(config: Config) -> list[RegistrationToken]:
    """All registration tokens."""
    async with boot.offline(config) as server, server.store.read() as tx:
        return await tx.registration_tokens.all()


async def delete_registration_token(config: Config, token: str) -> None:
    """Delete a registration token. Raises MatrixError: NOT_FOUND."""
    async with boot.offline(config) as server, server.store.write() as tx:
        if not await tx.registration_tokens.delete(token):
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such token")


async def newest_reports(config: Config, limit: int) -> list[Report]:
    """The newest reports, newest first."""
    async with boot.offline(config) as server, server.store.read() as tx:
        return await tx.reports.newest(limit)


async def _existing(server: boot.Core, name: str) -> str:
    """The user id of an account that has not been deactivated. Raises MatrixError: NOT_FOUND."""
    user_id = user_id_at_login(name, server.base.config.server.name)
    async with server.store.read() as tx:
        user = None if user_id is None else await tx.users.get(user_id)
    if user is None or user.deactivated:
        raise MatrixError(ErrCode.NOT_FOUND, f"There is no account {user_id or name}")
    return user.user_id


async def _announce(server: boot.Core) -> None:
    # Behind the change: a server that looks in between would find nothing. If we are stopped here, the command has
    # failed for all to see, and is safe to repeat.
    async with server.store.write() as tx:
        await tx.users.announce()
