"""What operators do to accounts from the command line, on the database itself, whether the server runs or not.

Only things that a running server need not be told of at once: it reads users and passwords from the database when
somebody logs in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from homeserver import boot
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.services.accounts.names import localpart_of
from homeserver.services.accounts.passwords import Passwords, PasswordSettings
from homeserver.services.accounts.register import NewAccount
from homeserver.system import SystemEntropy


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
    """Give an account a new password; its sessions go on. Returns the user id.

    Raises MatrixError: NOT_FOUND (no such account, or deactivated), WEAK_PASSWORD.
    """
    auth = config.auth
    passwords = Passwords(PasswordSettings(auth.password_min_length, auth.password_max_length), SystemEntropy())
    passwords.check_policy(password)
    user_id = name if name.startswith("@") else f"@{localpart_of(name, config.server.name)}:{config.server.name}"
    hashed = await passwords.hash(password)
    async with boot.offline(config) as server, server.store.write() as tx:
        user = await tx.users.get(user_id)
        if user is None or user.deactivated:
            raise MatrixError(ErrCode.NOT_FOUND, f"There is no account {user_id}")
        await tx.users.set_password(user_id, hashed)
    return user_id
