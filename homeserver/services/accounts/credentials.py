"""Checking who somebody is by password, for login and for interactive authentication alike.

Unknown, known and deactivated users get the same answer to a wrong password, in the same time.
"""

from __future__ import annotations

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.ratelimits import RateLimits
from homeserver.ports.requester import CALLER_ADDRESS
from homeserver.ports.store import Store
from homeserver.services.accounts.names import user_id_at_login
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.sessions import require_usable

THIRD_PARTY = "m.id.thirdparty"
USER = "m.id.user"
_WRONG = "The user name or password is not right"


class Credentials:
    """Verifies passwords of local users."""

    def __init__(self, store: Store, passwords: Passwords, limits: RateLimits, server_name: str) -> None:
        self._store = store
        self._passwords = passwords
        self._limits = limits
        self._server_name = server_name

    async def prove(self, identifier: str, password: str, user_id: str | None) -> User:
        """`verify`, by somebody who is logged in as `user_id` and may show that one's password only.

        Another's is refused unseen, so that the answer says nothing about it. Counted by address as a login is.
        """
        if user_id is None or user_id_at_login(identifier, self._server_name) != user_id:
            raise MatrixError(ErrCode.FORBIDDEN, "Only your own password is asked for here")
        self._limits.take("login_address", CALLER_ADDRESS.get())
        return await self.verify(identifier, password)

    async def verify(self, identifier: str, password: str) -> User:
        """The user with this localpart or user id, if the password is right.

        Raises FORBIDDEN, LimitExceeded; with the right password only, USER_DEACTIVATED and USER_LOCKED.
        """
        user_id = user_id_at_login(identifier, self._server_name)
        user = None
        # By account and address together: a stranger's attempts must not lock out the owner, who comes from elsewhere.
        here = f"{user_id or ''} {CALLER_ADDRESS.get()}"
        if user_id is not None:
            self._limits.take("login_account", here)
            self._limits.take("login_anywhere", user_id)
            async with self._store.read() as tx:
                user = await tx.users.get(user_id)
        if not await self._passwords.verify(password, user.password_hash if user else None) or user is None:
            self._limits.take("login_failed", here)
            raise MatrixError(ErrCode.FORBIDDEN, _WRONG)
        self._limits.give_back("login_anywhere", user.user_id)
        require_usable(user)
        if user.password_hash is not None and self._passwords.needs_rehash(user.password_hash):
            renewed = await self._passwords.hash(password)
            async with self._store.write() as tx:
                await tx.users.set_password(user.user_id, renewed)
        return user
