"""What administrators may see and do to accounts, and registration with the operator's shared secret.

spec: client-server-api#server-administration
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import asdict
from hashlib import sha1

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Device, RegistrationToken, User, UserFlags
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.log import DeviceListEntry, SessionsEntry
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store
from homeserver.services.accounts.names import is_storable
from homeserver.services.accounts.register import NewAccount, Register, Registered
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.audit import Audit, Note
from homeserver.services.commit import Committer

_NONCE_LIFETIME_S = 60
_MAX_NONCES = 1000


class Admin:
    """Moderation of accounts by server administrators."""

    def __init__(self, store: Store, committer: Committer, sessions: Sessions, audit: Audit, server_name: str) -> None:
        self._store = store
        self._committer = committer
        self._sessions = sessions
        self._audit = audit
        self._server_name = server_name

    async def moderated(self, who: Requester, user_id: str, *, changing: bool = False) -> User:
        """The account that `who` wants to look at or, if `changing`, to lock or suspend.

        Raises FORBIDDEN (not an administrator, another administrator's account, or changing one's own),
        INVALID_PARAM, NOT_FOUND. Permission is checked first, so nobody else learns which accounts exist.
        """
        if not who.is_admin:
            raise MatrixError(ErrCode.FORBIDDEN, "You are not a server administrator")
        if changing and user_id == who.user_id:
            raise MatrixError(ErrCode.FORBIDDEN, "You cannot do this to your own account")
        if user_id.partition(":")[2] != self._server_name or not is_storable(user_id):
            raise MatrixError(ErrCode.INVALID_PARAM, "This is not a user of this server")
        async with self._store.read() as tx:
            user = await tx.users.get(user_id)
        if user is None or user.deactivated:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such user")
        if user.is_admin and user_id != who.user_id:
            raise MatrixError(ErrCode.FORBIDDEN, "This is an administrator's account")
        return user

    async def set_locked(self, who: Requester, user_id: str, locked: bool) -> None:
        """Lock or unlock an account, at once. Raises as `moderated`."""
        await self.moderated(who, user_id, changing=True)
        await self.set_flags(who, user_id, UserFlags(locked=locked))

    async def set_suspended(self, who: Requester, user_id: str, suspended: bool) -> None:
        """Suspend an account or lift the suspension, at once. Raises as `moderated`."""
        await self.moderated(who, user_id, changing=True)
        await self.set_flags(who, user_id, UserFlags(suspended=suspended))

    async def whois(self, who: Requester, user_id: str) -> list[Device]:
        """The devices of an account. Everyone may ask about themselves. Raises FORBIDDEN, NOT_FOUND."""
        if user_id != who.user_id:
            if not who.is_admin:
                raise MatrixError(ErrCode.FORBIDDEN, "You are not a server administrator")
            if not is_storable(user_id):
                raise MatrixError(ErrCode.NOT_FOUND, "There is no such user")
        async with self._store.read() as tx:
            if await tx.users.get(user_id) is None:
                raise MatrixError(ErrCode.NOT_FOUND, "There is no such user")
            return await tx.devices.of_user(user_id)

    async def add_registration_token(self, token: RegistrationToken) -> None:
        """Add a registration token, or change the limits of one."""
        async with self._store.write() as tx:
            await tx.registration_tokens.put(token)

    async def set_flags(self, who: Requester, user_id: str, flags: UserFlags) -> None:
        """Change flags of an account, at once, and write down that `who` did. The caller has checked both."""
        changed = {name: value for name, value in asdict(flags).items() if value is not None}
        async with self._committer.writing() as unit:
            await unit.tx.users.set_flags(user_id, flags)
            await self._audit.note(who, "user.flags", user_id, **changed)(unit.tx)
            unit.tell(lambda position: SessionsEntry(position, user_id))
        self._sessions.changed(user_id, locked=flags.locked is True)

    async def rename_device(self, user_id: str, device_id: str, name: str, note: Note) -> None:
        """Give a device of somebody another name. Raises NOT_FOUND."""
        async with self._committer.writing() as unit:
            if not is_storable(device_id) or not await unit.tx.devices.rename(user_id, device_id, name):
                raise MatrixError(ErrCode.NOT_FOUND, "There is no such device")
            await note(unit.tx)
            if await unit.tx.keys.device_key(user_id, device_id) is not None:
                unit.tell(lambda position: DeviceListEntry(position, user_id))


class SharedSecretRegistration:
    """Registration by whoever knows the shared secret: a nonce, and an HMAC-SHA1 over it and the account.

    The form is what the existing tools speak; HMAC-SHA1 is sound where plain SHA-1 is not.
    """

    def __init__(self, secret: str | None, register: Register, clock: Clock, entropy: Entropy) -> None:
        self._secret = secret
        self._register = register
        self._clock = clock
        self._entropy = entropy
        self._nonces: OrderedDict[str, float] = OrderedDict()

    def nonce(self) -> str:
        """A nonce for one registration within a minute. Raises INVALID_PARAM if there is no shared secret."""
        self._require_secret()
        nonce = self._entropy.token(32)
        self._nonces[nonce] = self._clock.monotonic() + _NONCE_LIFETIME_S
        while len(self._nonces) > _MAX_NONCES:
            self._nonces.popitem(last=False)
        return nonce

    async def register(  # the parts of what is signed
        self, *, nonce: str, username: str, password: str, admin: bool, user_type: str | None, mac: str
    ) -> Registered:
        """Register, if the HMAC is right. Raises INVALID_PARAM (nonce), FORBIDDEN (HMAC), and what `Register` does."""
        secret = self._require_secret()
        if self._nonces.pop(nonce, 0) < self._clock.monotonic():
            raise MatrixError(ErrCode.INVALID_PARAM, "The nonce is not known, has expired or has been used")
        if "\0" in username or "\0" in password:
            raise MatrixError(ErrCode.INVALID_PARAM, "Names and passwords have no NUL here")
        parts = [nonce, username, password, "admin" if admin else "notadmin"]
        if user_type:
            parts.append(user_type)
        expected = hmac.new(secret.encode(), "\0".join(parts).encode(), sha1).hexdigest()
        if not hmac.compare_digest(expected.encode(), mac.lower().encode()):
            raise MatrixError(ErrCode.FORBIDDEN, "The HMAC is not right")
        return await self._register.register_by_operator(NewAccount(username, password), admin=admin)

    def _require_secret(self) -> str:
        if not self._secret:
            raise MatrixError(ErrCode.INVALID_PARAM, "Registration with a shared secret is not enabled")
        return self._secret
