"""Logging in with an account of another site: whom the login providers know, and their accounts here.

Providers are asked in order, and the first that knows the name decides. One that does not answer ends the login: the
next might know somebody else by that name. An account here belongs to one person of one provider for ever; a person
whose name is taken here by anybody else does not get in. docs/bridges/login.md
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.appservices import AppServices
from homeserver.ports.clock import Clock
from homeserver.ports.identity import Identity, LoginProvider, ProviderUnavailable, SitePerson, Verdict
from homeserver.ports.store import Store, UniqueViolation
from homeserver.services.accounts.names import is_storable, localpart_of
from homeserver.services.accounts.profile import DISPLAYNAME, Profiles
from homeserver.services.accounts.sessions import Sessions

_log = structlog.get_logger(__name__)


class Providers:
    """Owns accounts of people of other sites."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        appservices: AppServices,
        profiles: Profiles,
        sessions: Sessions,
        providers: Sequence[LoginProvider],
        server_name: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._appservices = appservices
        self._profiles = profiles
        self._sessions = sessions
        self._providers = tuple(providers)
        self._server_name = server_name

    @property
    def all(self) -> Sequence[LoginProvider]:
        """In the order in which they are asked."""
        return self._providers

    async def verify(self, identifier: str, identity: Identity | None, password: str) -> User | None:
        """The account of whoever logs in by this name or, if given, owns `identity`; None for a wrong password.

        Raises FORBIDDEN for somebody who may not log in, or whose name is taken here; UNKNOWN with status 503 if a
        provider does not answer.
        """
        login = self._login_of(identifier)
        asked = [one for one in self._providers if identity is None or one.name == identity.provider]
        for provider in asked:
            try:
                judgement = await provider.judge(login, None if identity is None else identity.key, password)
            except ProviderUnavailable as error:
                _log.warning("login_provider_unavailable", provider=provider.name, error=str(error))
                raise _away(provider) from None
            person = judgement.person
            if judgement.verdict is Verdict.UNKNOWN or person is None:
                continue
            if judgement.verdict is Verdict.WRONG:
                return None
            if judgement.verdict is Verdict.DISABLED:
                await self.disable(provider, person)
                raise MatrixError(ErrCode.FORBIDDEN, f"Your account of {provider.title} has been disabled there")
            return await self._account(provider, person)
        if asked:
            await asked[-1].pretend(password)
        return None

    async def is_called(self, user_id: str, identifier: str) -> bool:
        """Whether the owner of an account may mean it by this name. Raises UNKNOWN with status 503."""
        async with self._store.read_committed() as tx:
            identity = await tx.identities.of_user(user_id)
        provider = None if identity is None else self._of(identity)
        if identity is None or provider is None:
            return False
        try:
            people = await provider.people([identity.key])
        except ProviderUnavailable:
            raise _away(provider) from None
        person = None if people is None else people.get(identity.key)
        login = self._login_of(identifier).casefold()
        return person is not None and login in {name.casefold() for name in person.logins}

    async def require_enabled(self, user_id: str) -> None:
        """Raises FORBIDDEN for the account of somebody who has been disabled at their provider."""
        async with self._store.read_committed() as tx:
            identity = await tx.identities.of_user(user_id)
        if identity is not None and identity.disabled:
            raise MatrixError(ErrCode.FORBIDDEN, f"This account has been disabled at {self._title_of(identity)}")

    async def require_own_password(self, user_id: str) -> None:
        """Raises FORBIDDEN, and says where to go, for an account whose password is not kept here."""
        async with self._store.read_committed() as tx:
            identity = await tx.identities.of_user(user_id)
        if identity is not None:
            provider = self._of(identity)
            url = f": {provider.password_url}" if provider is not None and provider.password_url else ""
            title = self._title_of(identity)
            raise MatrixError(
                ErrCode.FORBIDDEN, f"The password of this account is that of {title}; change it there{url}"
            )

    async def keeps_password(self, user_id: str) -> bool:
        """Whether the account's password is kept elsewhere."""
        async with self._store.read_committed() as tx:
            return await tx.identities.of_user(user_id) is not None

    def _of(self, identity: Identity) -> LoginProvider | None:
        """An identity's provider, unless it is gone from the configuration."""
        return next((one for one in self._providers if one.name == identity.provider), None)

    def _title_of(self, identity: Identity) -> str:
        provider = self._of(identity)
        return identity.provider if provider is None else provider.title

    def _login_of(self, identifier: str) -> str:
        """What a provider would know a name by: the localpart of a user id, or the name itself."""
        if identifier.startswith("@"):
            localpart, _, server = identifier[1:].partition(":")
            if server == self._server_name:
                return localpart
        return identifier

    async def disable(self, provider: LoginProvider, person: SitePerson) -> bool:
        """Log somebody out everywhere, for they may log in at their provider no more; whether they were logged in."""
        async with self._store.read() as tx:
            identity = await tx.identities.get(provider.name, person.key)
        if identity is None or identity.disabled:
            return False
        # The mark comes second: what a crash interrupts is begun again.
        await self._sessions.end_devices(identity.user_id, None)
        async with self._store.write() as tx:
            await tx.identities.update(provider.name, person.key, identity.stamp, disabled=True)
        # Whoever came in between the two is out as well.
        await self._sessions.end_devices(identity.user_id, None)
        _log.info("site_person_disabled", provider=provider.name, user_id=identity.user_id)
        return True

    async def provision(self, provider: LoginProvider, person: SitePerson) -> User | None:
        """The account of somebody, made now if need be; None if there can be none, which is logged."""
        try:
            return await self._account(provider, person)
        except MatrixError as error:
            _log.warning("site_person_without_account", provider=provider.name, key=person.key, error=error.message)
            return None

    async def refresh(self, provider: LoginProvider, identity: Identity, person: SitePerson) -> None:
        """Bring an account up to what its person is now."""
        if identity.disabled or identity.stamp != person.stamp:
            await self._show(identity, person)
            async with self._store.write() as tx:
                await tx.identities.update(provider.name, identity.key, person.stamp, disabled=False)

    async def _account(self, provider: LoginProvider, person: SitePerson) -> User:
        async with self._store.read() as tx:
            identity = await tx.identities.get(provider.name, person.key)
            user = None if identity is None else await tx.users.get(identity.user_id)
        if identity is None or user is None:
            identity, user = await self._made(provider, person)
        await self.refresh(provider, identity, person)
        return user

    async def _made(self, provider: LoginProvider, person: SitePerson) -> tuple[Identity, User]:
        user_id = self._user_id(provider, person)
        user = User(user_id, self._clock.now_ms())
        identity = Identity(provider.name, person.key, user_id)
        try:
            async with self._store.write() as tx:
                await tx.users.claim_first()
                await tx.users.create(user)
                await tx.identities.add(identity)
        except UniqueViolation:
            async with self._store.read() as tx:
                known = await tx.identities.get(provider.name, person.key)
                owner = None if known is None else await tx.users.get(known.user_id)
            if known is not None and owner is not None:
                return known, owner  # another login of the same person was first
            _log.warning("site_person_name_taken", provider=provider.name, key=person.key, user_id=user_id)
            raise MatrixError(
                ErrCode.FORBIDDEN,
                f"{user_id} is somebody else's name here already; ask the administrator of this server",
            ) from None
        _log.info("site_person_came", provider=provider.name, user_id=user_id)
        return identity, user

    def _user_id(self, provider: LoginProvider, person: SitePerson) -> str:
        """The user id that somebody gets. Raises FORBIDDEN if it may not be theirs."""
        try:
            if not person.localpart or not is_storable(person.key):
                raise MatrixError(ErrCode.INVALID_USERNAME, "there is no name")
            user_id = f"@{localpart_of(person.localpart, self._server_name)}:{self._server_name}"
        except MatrixError as error:
            _log.warning("site_person_without_name", provider=provider.name, key=person.key, error=error.message)
            raise MatrixError(
                ErrCode.FORBIDDEN, f"No user id can be made of your name at {provider.title}: {error.message}"
            ) from None
        if self._appservices.exclusive(user_id) is not None:
            raise MatrixError(ErrCode.FORBIDDEN, f"{user_id} is reserved for a service of this server")
        return user_id

    async def _show(self, identity: Identity, person: SitePerson) -> None:
        """Put the person's name into their profile. One that cannot be shown keeps nobody out."""
        if identity.stamp == person.stamp or not person.displayname:
            return
        try:
            await self._profiles.set_by_site(identity.user_id, DISPLAYNAME, person.displayname)
        except MatrixError as error:
            _log.warning("site_profile_unusable", user_id=identity.user_id, error=error.message)


def _away(provider: LoginProvider) -> MatrixError:
    return MatrixError(
        ErrCode.UNKNOWN,
        f"{provider.title} cannot be asked about its accounts at the moment; try again in a few minutes",
        status=503,
    )
