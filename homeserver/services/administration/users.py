"""Accounts as administrators see and change them. Whoever calls this has been found to be an administrator.

Each change is one act of the record (`services/audit`), in the transaction that makes it. What would change nothing is
no act: tools send a whole account back when one field of it was edited.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User, UserFlags
from homeserver.ports.addresses import UserAddress
from homeserver.ports.administration import AccountRow, Holdings, UploaderRow, UploaderSearch, UserSearch
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.admin import Admin
from homeserver.services.accounts.names import MAX_DISPLAY_NAME, is_storable, require_text
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.profile import AVATAR_URL, DISPLAYNAME, Profiles
from homeserver.services.accounts.register import NewAccount, Register
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.audit import Audit, noted


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What an account is to be; None leaves it, an empty name or avatar removes it."""

    password: str | None = None
    displayname: str | None = None
    avatar_url: str | None = None
    admin: bool | None = None
    deactivated: bool | None = None
    locked: bool | None = None
    suspended: bool | None = None
    logout_devices: bool = True
    addresses: Collection[str] | None = None
    """The e-mail addresses that it keeps: others can only be added by who reads their letters."""


class UserAdministration:
    """Looks accounts up, makes and changes them."""

    def __init__(  # noqa: PLR0913, PLR0917 - one collaborator per thing that an account consists of
        self,
        store: Store,
        audit: Audit,
        admin: Admin,
        account: Account,
        passwords: Passwords,
        profiles: Profiles,
        register: Register,
        sessions: Sessions,
        server_name: str,
        *,
        max_page: int = 1_000,
    ) -> None:
        self._store = store
        self._audit = audit
        self._admin = admin
        self._account = account
        self._passwords = passwords
        self._profiles = profiles
        self._register = register
        self._sessions = sessions
        self._server_name = server_name
        self._max_page = max_page

    async def page(self, search: UserSearch, offset: int, limit: int) -> tuple[list[AccountRow], int]:
        """A page of the accounts that a search finds, and how many it finds altogether."""
        async with self._store.read() as tx:
            rows = await tx.administration.accounts(search, offset, min(limit, self._max_page))
            return rows, await tx.administration.count_accounts(search)

    async def holdings(self, user_ids: Sequence[str]) -> dict[str, Holdings]:
        """What belongs to each of these accounts; who has nothing is not there."""
        async with self._store.read() as tx:
            return await tx.administration.holdings(user_ids)

    async def uploaders(self, search: UploaderSearch, offset: int, limit: int) -> tuple[list[UploaderRow], int]:
        """A page of who has uploaded something, and how many there are altogether."""
        async with self._store.read() as tx:
            return await tx.administration.uploaders(search, offset, min(limit, self._max_page))

    async def find(self, user_id: str) -> AccountRow:
        """One account, closed ones included. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        row = await self._known(user_id)
        if row is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such user")
        return row

    async def open(self, user_id: str) -> User:
        """An account that is not closed. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        user = (await self.find(user_id)).user
        if user.deactivated:
            raise MatrixError(ErrCode.NOT_FOUND, "The account has been deactivated")
        return user

    async def _known(self, user_id: str) -> AccountRow | None:
        if not user_id.startswith("@") or user_id.partition(":")[2] != self._server_name or not is_storable(user_id):
            raise MatrixError(ErrCode.INVALID_PARAM, "This is not a user of this server")
        async with self._store.read() as tx:
            return await tx.administration.account(user_id)

    async def put(self, who: Requester, user_id: str, change: AccountChange) -> tuple[AccountRow, bool]:
        """Make the account, or change it; returns it, and whether it was made.

        Everything is checked before anything is done. Raises MatrixError: INVALID_PARAM, INVALID_USERNAME, EXCLUSIVE,
        WEAK_PASSWORD, FORBIDDEN (taking one's own rights away).
        """
        before = await self._known(user_id)
        self._check(who, user_id, change, before)
        gone = await self._addresses_gone(user_id, change)
        if before is None:
            hidden = change.password is not None
            note = self._audit.note(who, "user.create", user_id, admin=bool(change.admin), password=hidden)
            wanted = NewAccount(user_id, change.password, inhibit_login=True)
            made = await self._register.register_by_operator(wanted, admin=bool(change.admin), note=note)
            user_id = made.user_id
        elif change.password is not None:
            await self.reset_password(who, user_id, change.password, logout_devices=change.logout_devices)
        row = await self.find(user_id)
        await self._set_profile(who, row, change)
        await self._remove_addresses(who, user_id, gone)
        flags = UserFlags(
            None if change.admin is row.user.is_admin else change.admin,
            None if change.locked is row.user.locked else change.locked,
            None if change.suspended is row.user.suspended else change.suspended,
        )
        if flags != UserFlags():
            await self._admin.set_flags(who, user_id, flags)
        if change.deactivated and not row.user.deactivated:
            await self.deactivate(who, user_id, erase=False)
        return await self.find(user_id), before is None

    def _check(self, who: Requester, user_id: str, change: AccountChange, before: AccountRow | None) -> None:
        if change.password is not None:
            self._passwords.check_policy(change.password)
        for name, value in ((DISPLAYNAME, change.displayname), (AVATAR_URL, change.avatar_url)):
            if value:
                self._profiles.check_value(name, value)
        if user_id == who.user_id and (
            change.admin is False or change.deactivated or change.locked or change.suspended
        ):
            raise MatrixError(ErrCode.FORBIDDEN, "You cannot do this to your own account")
        if before is None or not before.user.deactivated:
            return
        if change.deactivated is False:
            raise MatrixError(ErrCode.INVALID_PARAM, "Deactivation is for good on this server")
        if change.password is not None or change.displayname or change.avatar_url or change.admin:
            raise MatrixError(ErrCode.INVALID_PARAM, "The account has been deactivated")

    async def addresses(self, user_id: str) -> list[UserAddress]:
        """The e-mail addresses of an account."""
        async with self._store.read_committed() as tx:
            return await tx.addresses.of_user(user_id)

    async def _addresses_gone(self, user_id: str, change: AccountChange) -> list[UserAddress]:
        """Which addresses are to be taken away. Raises INVALID_PARAM for one that is not there."""
        if change.addresses is None:
            return []
        known = await self.addresses(user_id)
        if not {one.address for one in known}.issuperset(change.addresses):
            raise MatrixError(ErrCode.INVALID_PARAM, "Only the owner of an e-mail address can add it to an account")
        return [one for one in known if one.address not in change.addresses]

    async def _remove_addresses(self, who: Requester, user_id: str, gone: Sequence[UserAddress]) -> None:
        if gone:
            note = self._audit.note(who, "user.addresses", user_id, removed=len(gone))
            async with self._store.write() as tx:
                for one in gone:
                    await tx.addresses.remove(user_id, one.medium, one.address)
                await noted(tx, note)

    async def _set_profile(self, who: Requester, row: AccountRow, change: AccountChange) -> None:
        user_id = row.user.user_id
        for name, now, wanted in (
            (DISPLAYNAME, row.displayname, change.displayname),
            (AVATAR_URL, row.avatar_url, change.avatar_url),
        ):
            if wanted is None or wanted == (text_of(now) or ""):
                continue
            note = self._audit.note(who, "user.profile", user_id, field=name)
            await self._profiles.set_by_operator(user_id, name, wanted or None, note)

    async def set_flags(self, who: Requester, user_id: str, flags: UserFlags) -> None:
        """Make somebody an administrator, lock or suspend them, or the contrary, at once.

        Raises MatrixError: INVALID_PARAM, NOT_FOUND, FORBIDDEN (one's own account).
        """
        await self.open(user_id)
        if user_id == who.user_id and (flags.is_admin is False or flags.locked or flags.suspended):
            raise MatrixError(ErrCode.FORBIDDEN, "You cannot do this to your own account")
        await self._admin.set_flags(who, user_id, flags)

    async def reset_password(self, who: Requester, user_id: str, password: str, *, logout_devices: bool) -> None:
        """Give an account a new password. Raises MatrixError: INVALID_PARAM, NOT_FOUND, WEAK_PASSWORD."""
        await self.open(user_id)
        note = self._audit.note(who, "user.reset_password", user_id, logout_devices=logout_devices)
        await self._account.set_password(user_id, password, logout_devices=logout_devices, note=note)

    async def deactivate(self, who: Requester, user_id: str, *, erase: bool) -> None:
        """Close an account for good. One that is closed may still be erased.

        Raises MatrixError: INVALID_PARAM, NOT_FOUND, FORBIDDEN (one's own account).
        """
        user = (await self.find(user_id)).user
        if user_id == who.user_id:
            raise MatrixError(ErrCode.FORBIDDEN, "You cannot do this to your own account")
        if user.deactivated and (user.erased or not erase):
            return
        note = self._audit.note(who, "user.deactivate", user_id, erase=erase)
        await self._account.deactivate(user_id, erase=erase, note=note)

    async def check_available(self, username: str) -> None:
        """Raises MatrixError: USER_IN_USE, INVALID_USERNAME, EXCLUSIVE."""
        await self._register.check_available(username)

    # --- devices ---

    async def rename_device(self, who: Requester, user_id: str, device_id: str, name: str | None) -> None:
        """Give a device another name. Raises MatrixError: INVALID_PARAM, NOT_FOUND."""
        await self.open(user_id)
        if name is not None:
            require_text(name, "display_name", MAX_DISPLAY_NAME)
            note = self._audit.note(who, "device.rename", user_id, device_id=device_id)
            await self._admin.rename_device(user_id, device_id, name, note)

    async def end_devices(self, who: Requester, user_id: str, device_ids: Sequence[str]) -> None:
        """Log devices out and delete them; unknown ones count as deleted. Raises MatrixError as `open`."""
        await self.open(user_id)
        known = [device_id for device_id in dict.fromkeys(device_ids) if is_storable(device_id)]
        if known:
            note = self._audit.note(who, "device.delete", user_id, device_ids=known)
            await self._sessions.end_devices(user_id, known, note)


def text_of(value: bytes | None) -> str | None:
    """A profile's field as text; None where there is none, or something else."""
    found: Any = None if value is None else orjson.loads(value)
    return found if isinstance(found, str) else None
