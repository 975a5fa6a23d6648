"""All services of accounts, as they are handed on together."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.services.accounts.account import Account
from homeserver.services.accounts.addresses import Addresses
from homeserver.services.accounts.admin import Admin, SharedSecretRegistration
from homeserver.services.accounts.devices import Devices
from homeserver.services.accounts.interactive import Interactive
from homeserver.services.accounts.login import Login
from homeserver.services.accounts.profile import Profiles
from homeserver.services.accounts.providers import Providers
from homeserver.services.accounts.register import Register
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.accounts.stages import RegistrationTokenStage
from homeserver.services.personal.account_data import AccountData
from homeserver.services.personal.filters import Filters


@dataclass(frozen=True, slots=True)
class AccountServices:
    """Services of accounts and of what belongs to one user."""

    account: Account
    account_data: AccountData
    addresses: Addresses
    admin: Admin
    devices: Devices
    filters: Filters
    interactive: Interactive
    login: Login
    profiles: Profiles
    register: Register
    registration_tokens: RegistrationTokenStage
    sessions: Sessions
    shared_secret: SharedSecretRegistration
    providers: Providers | None = None

    async def close(self) -> None:
        """Write down what is still in memory, and end connections to login providers."""
        await self.devices.flush()
        await self.addresses.close()
        for provider in () if self.providers is None else self.providers.all:
            await provider.close()
