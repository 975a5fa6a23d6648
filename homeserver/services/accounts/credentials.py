"""Checking who somebody is by password, for login and for interactive authentication alike.

Unknown, known and deactivated users get the same answer to a wrong password, in the same time.
"""

from __future__ import annotations

from homeserver.core.addresses import canonical_address
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.addresses import EMAIL
from homeserver.ports.ratelimits import RateLimits
from homeserver.ports.requester import CALLER_ADDRESS
from homeserver.ports.store import Store
from homeserver.services.accounts.names import user_id_at_login
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.providers import Providers
from homeserver.services.accounts.sessions import require_usable

THIRD_PARTY = "m.id.thirdparty"
USER = "m.id.user"
_WRONG = "The user name or password is not right"


class Credentials:
    """Verifies passwords of local users, those whose passwords login providers keep included."""

    def __init__(
        self,
        store: Store,
        passwords: Passwords,
        limits: RateLimits,
        server_name: str,
        providers: Providers | None = None,
    ) -> None:
        self._store = store
        self._providers = providers
        self._passwords = passwords
        self._limits = limits
        self._server_name = server_name

    async def prove(self, identifier: str, password: str, user_id: str | None) -> User:
        """`verify`, by somebody who is logged in as `user_id` and may show that one's password only.

        Another's is refused unseen, so that the answer says nothing about it. Counted by address as a login is.
        """
        if user_id is None:
            raise _not_yours()
        is_own = user_id in {user_id_at_login(identifier, self._server_name), await self._owner(identifier)}
        if not is_own and self._providers is None:
            raise _not_yours()
        self._limits.take("login_address", CALLER_ADDRESS.get())
        # People of other sites may call themselves by the name or the address that they have there.
        if not is_own and not (self._providers is not None and await self._providers.is_called(user_id, identifier)):
            raise _not_yours()
        return await self.verify(user_id, password)

    async def verify(self, identifier: str, password: str) -> User:
        """The user with this localpart, user id or e-mail address, if the password is right.

        Raises FORBIDDEN, LimitExceeded; with the right password only, USER_DEACTIVATED and USER_LOCKED.
        """
        named = user_id_at_login(identifier, self._server_name)
        user_id = await self._owner(identifier) or named
        # By account and address together: a stranger's attempts must not lock out the owner, who comes from elsewhere.
        # By what was said, not by whose it is: or the bounds would tell whose an e-mail address is.
        here = f"{named or ''} {CALLER_ADDRESS.get()}"
        if user_id is not None:
            self._limits.take("login_account", here)
            self._limits.take("login_anywhere", user_id)
        user, is_right = await self._judge(identifier, user_id, password)
        if user is None or not is_right:
            self._limits.take("login_failed", here)
            raise MatrixError(ErrCode.FORBIDDEN, _WRONG)
        self._limits.give_back("login_anywhere", user_id or user.user_id)
        require_usable(user)
        if user.password_hash is not None and self._passwords.needs_rehash(user.password_hash):
            renewed = await self._passwords.hash(password)
            async with self._store.write() as tx:
                await tx.users.set_password(user.user_id, renewed)
        return user

    async def _owner(self, identifier: str) -> str | None:
        """Whose e-mail address it is. No user name has an `@` behind its beginning, so it is never both."""
        address = canonical_address(identifier)
        if address is None:
            return None
        async with self._store.read_committed() as tx:
            owner = await tx.addresses.owner(EMAIL, address)
        return None if owner is None else owner.user_id

    async def _judge(self, identifier: str, user_id: str | None, password: str) -> tuple[User | None, bool]:
        """Who this is about, as far as it is known, and whether the password is theirs."""
        user = identity = None
        if user_id is not None:
            async with self._store.read() as tx:
                user = await tx.users.get(user_id)
                if user is not None and self._providers is not None:
                    identity = await tx.identities.of_user(user_id)
        # Whoever has an account of this server is no other site's; whoever is another site's has no password here.
        if self._providers is not None and (user is None or identity is not None):
            found = None if self._too_long(password) else await self._providers.verify(identifier, identity, password)
            return found, found is not None
        return user, await self._passwords.verify(password, None if user is None else user.password_hash)

    def _too_long(self, password: str) -> bool:
        return not password or self._passwords.is_too_long(password)


def _not_yours() -> MatrixError:
    return MatrixError(ErrCode.FORBIDDEN, "Only your own password is asked for here")
