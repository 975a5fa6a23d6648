"""All registered application services, and the users they act as.

spec: application-service-api#identity-assertion
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.appservices import AppServices
from homeserver.ports.clock import Clock
from homeserver.ports.requester import Authenticator, Requester
from homeserver.ports.store import Store
from homeserver.services.accounts.names import is_storable
from homeserver.services.appservices.registration import Registration
from homeserver.services.commit import Committer


class Registry(AppServices):
    """Finds application services by their tokens. Implements `ports.appservices.AppServices`."""

    def __init__(self, registrations: Sequence[Registration] = ()) -> None:
        self.all = tuple(registrations)
        # Looked up by digest: how long a look-up takes says nothing about the tokens.
        self._by_token = {_digest(registration.as_token): registration for registration in registrations}

    def by_token(self, token: str) -> Registration | None:
        """The application service that authenticates with `token`."""
        return self._by_token.get(_digest(token)) if self._by_token else None

    def exclusive(self, user_id: str) -> Registration | None:
        """The application service that alone may make this user."""
        return next((found for found in self.all if found.covers_exclusively(user_id)), None)

    def exclusive_alias(self, alias: str) -> Registration | None:
        """The application service that alone may make this room alias."""
        return next((found for found in self.all if found.owns_exclusively(alias)), None)

    def by_id(self, service_id: str) -> Registration | None:
        """The application service of that name."""
        return next((found for found in self.all if found.id == service_id), None)


class AppServiceAuthenticator(Authenticator):
    """Knows the tokens of application services, and asks the next authenticator about all others.

    Implements `ports.requester.Authenticator`.
    """

    def __init__(
        self, registry: Registry, store: Store, users: Authenticator, heard: Callable[[str], None] = lambda _: None
    ) -> None:
        """`heard(service id)` is called when a service makes a request."""
        self._heard = heard
        self._registry = registry
        self._store = store
        self._users = users

    async def authenticate(
        self, token: str, *, masquerade_user: str | None = None, masquerade_device: str | None = None
    ) -> Requester:
        """Raises UNKNOWN_DEVICE for a device that the user does not have."""
        service = self._registry.by_token(token)
        if service is None:
            return await self._users.authenticate(token)
        self._heard(service.id)
        user_id = service.sender if masquerade_user is None else masquerade_user
        if not service.covers(user_id):
            raise MatrixError(ErrCode.FORBIDDEN, "The application service may not act as this user")
        async with self._store.read() as tx:
            user = await tx.users.get(user_id) if is_storable(user_id) else None
            device = None
            if masquerade_device is not None and is_storable(masquerade_device):
                device = await tx.devices.get(user_id, masquerade_device)
        if user is None:
            raise MatrixError(ErrCode.FORBIDDEN, "The application service has not registered this user")
        if user.deactivated:
            raise MatrixError(ErrCode.USER_DEACTIVATED, "This account is deactivated")
        if user.locked:
            raise MatrixError(ErrCode.USER_LOCKED, "This account is locked")
        if masquerade_device is not None and device is None:
            raise MatrixError(ErrCode.UNKNOWN_DEVICE, "The user has no such device", status=400)
        return Requester(
            user_id,
            masquerade_device,
            is_admin=user.is_admin,
            suspended=user.suspended,
            appservice=service.id,
            rate_limited=service.rate_limited,
        )

    async def authenticate_cookie(self, value: str) -> Requester:
        return await self._users.authenticate_cookie(value)

    async def authenticate_visitor(self, value: str) -> Requester:
        return await self._users.authenticate_visitor(value)


async def make_senders(registry: Registry, store: Store, committer: Committer, clock: Clock) -> None:
    """Make the accounts of application services themselves, where there are none yet. Needs a running committer."""
    for service in registry.all:
        async with store.read() as tx:
            known = await tx.users.get(service.sender) is not None
        if not known:
            async with committer.writing() as unit:
                await unit.tx.users.create(User(service.sender, clock.now_ms(), appservice_id=service.id))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
