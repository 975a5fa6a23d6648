"""The account itself: changing its password, setting a lost one anew, and giving the account up.

spec: client-server-api#password-management, client-server-api#account-deactivation
"""

from __future__ import annotations

from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Session, User
from homeserver.ports.addresses import EMAIL
from homeserver.ports.events import order_of
from homeserver.ports.log import SessionsEntry
from homeserver.ports.requester import Requester
from homeserver.ports.rooms_of_users import RoomActions
from homeserver.ports.store import Store, Transaction
from homeserver.services.accounts.address_checks import EMAIL_IDENTITY, Proved, not_proved
from homeserver.services.accounts.addresses import can_reset
from homeserver.services.accounts.interactive import Interactive, Operation
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.providers import Providers
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.accounts.stages import PASSWORD
from homeserver.services.audit import Note, noted
from homeserver.services.commit import Committer, Unit

_AT_ONCE = 1_000


class Account:
    """Owns passwords of accounts and their end."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        passwords: Passwords,
        sessions: Sessions,
        interactive: Interactive,
        rooms: RoomActions,
        providers: Providers | None = None,
        *,
        by_mail: bool = False,
    ) -> None:
        """`by_mail`: whoever reads the letters of an account's address may set a new password."""
        self._store = store
        self._committer = committer
        self._passwords = passwords
        self._sessions = sessions
        self._interactive = interactive
        self._rooms = rooms
        self._providers = providers
        self._by_mail = by_mail

    async def change_password(self, who: Requester, new_password: str, body: dict[str, Any]) -> None:
        """Replace the password after interactive authentication of the request `body`.

        Unless the body says `logout_devices: false`, all other devices are logged out at once.
        Raises WEAK_PASSWORD, FORBIDDEN if the password is kept elsewhere, and what interactive authentication raises.
        """
        if self._providers is not None:
            await self._providers.require_own_password(who.user_id)
        self._passwords.check_policy(new_password)
        flows = [self._interactive.flow(PASSWORD)]
        proof = await self._interactive.authenticate(Operation("changePassword", who.user_id, body), flows)
        hashed = await self._passwords.hash(new_password)
        gone = []
        async with self._committer.writing() as unit:
            await proof.claim(unit.tx)
            await self._replace_password(unit.tx, who.user_id, hashed)
            if body.get("logout_devices") is not False:
                gone = await self._end_others(unit, who.user_id, who.device_id)
        self._sessions.ended(gone)
        self._interactive.remember(Operation("changePassword", who.user_id, body), {})

    async def reset_password(self, new_password: str, body: dict[str, Any]) -> None:
        """Set a password that is lost anew, after a letter to the account's address has proved whose it is.

        Unless the body says `logout_devices: false`, all devices are logged out. Raises MISSING_TOKEN where the server
        writes no letters, WEAK_PASSWORD, THREEPID_AUTH_FAILED, and what interactive authentication raises.
        """
        if not self._by_mail:
            raise MatrixError(ErrCode.MISSING_TOKEN, "An access token is needed")
        self._passwords.check_policy(new_password)
        operation = Operation("changePassword", None, body)
        proof = await self._interactive.authenticate(operation, [self._interactive.flow(EMAIL_IDENTITY)])
        hashed = await self._passwords.hash(new_password)
        gone = []
        async with self._committer.writing() as unit:
            await proof.claim(unit.tx)
            user = await self._reader(unit.tx, Proved.load(proof.results[EMAIL_IDENTITY]))
            await self._replace_password(unit.tx, user.user_id, hashed)
            if body.get("logout_devices") is not False:
                gone = await self._end_others(unit, user.user_id, None)
        self._sessions.ended(gone)
        self._interactive.remember(operation, {})

    @staticmethod
    async def _reader(tx: Transaction, proved: Proved) -> User:
        """Whose address it is, and was when the letter went. Raises THREEPID_AUTH_FAILED if it is nobody's now."""
        owner = await tx.addresses.owner(EMAIL, proved.address)
        user = None if owner is None or owner.user_id != proved.user_id else await tx.users.lock(owner.user_id)
        if user is None or not can_reset(user):
            raise not_proved()
        return user

    @staticmethod
    async def _replace_password(tx: Transaction, user_id: str, hashed: str) -> None:
        await tx.users.set_password(user_id, hashed)
        # Letters about the password that was lost allow nothing any more.
        await tx.addresses.forget_checks(user_id, "password")

    async def _end_others(self, unit: Unit, user_id: str, device_id: str | None) -> list[Session]:
        """Log all devices out but this one."""
        # A dehydrated device is nobody's login: it stays, or its messages would be lost.
        dehydrated = await unit.tx.keys.dehydrated(user_id)
        kept = {device_id, None if dehydrated is None else dehydrated.device_id}
        devices = await unit.tx.devices.of_user(user_id)
        others = [device.device_id for device in devices if device.device_id not in kept]
        gone = await self._sessions.end_devices_in(unit, user_id, others)
        await unit.tx.pushers.delete_others_than(user_id, device_id)
        return gone

    async def can_change_password(self, user_id: str) -> bool:
        """Whether the account's password is kept here."""
        return self._providers is None or not await self._providers.keeps_password(user_id)

    async def set_password(
        self, user_id: str, new_password: str, *, logout_devices: bool = True, note: Note | None = None
    ) -> None:
        """Replace the password by the operator's order; with `logout_devices`, log everything out.

        Raises NOT_FOUND, WEAK_PASSWORD; FORBIDDEN if the password is kept elsewhere.
        """
        if self._providers is not None:
            await self._providers.require_own_password(user_id)
        self._passwords.check_policy(new_password)
        hashed = await self._passwords.hash(new_password)
        gone = []
        async with self._committer.writing() as unit:
            if await unit.tx.users.get(user_id) is None:
                raise MatrixError(ErrCode.NOT_FOUND, "There is no such user")
            await self._replace_password(unit.tx, user_id, hashed)
            if logout_devices:
                gone = await self._sessions.end_devices_in(unit, user_id, None)
            await noted(unit.tx, note)
        self._sessions.ended(gone)

    async def deactivate_own(self, who: Requester, body: dict[str, Any]) -> None:
        """Deactivate the requester's account after interactive authentication of the request `body`."""
        flows = [self._interactive.flow(PASSWORD)]
        proof = await self._interactive.authenticate(Operation("deactivateAccount", who.user_id, body), flows)
        async with self._store.write() as tx:
            await proof.claim(tx)
        await self.deactivate(who.user_id, erase=body.get("erase") is True)

    async def deactivate(self, user_id: str, *, erase: bool, note: Note | None = None) -> None:
        """End the account for good: no login, no devices, no profile, no rooms. Safe to repeat."""
        await self.close(user_id, erase=erase, note=note)
        await self._rooms.leave_all(user_id)

    async def close(self, user_id: str, *, erase: bool, note: Note | None = None) -> None:
        """End the account but for its rooms, which need a running server (see `leave_behind`)."""
        async with self._committer.writing() as unit:
            tx = unit.tx
            await tx.users.deactivate(user_id, erase=erase)
            if erase:
                # spec: client-server-api#account-deactivation; what others may still see is decided by this moment.
                await tx.users.erase_events(user_id, order_of(await tx.log.position()))
                unit.tell(lambda position: SessionsEntry(position, user_id, erased=True))
            await tx.profiles.delete(user_id, None)
            await tx.account_data.delete_all(user_id)
            await tx.addresses.forget_user(user_id)
            gone = await self._sessions.end_devices_in(unit, user_id, None)
            await tx.keys.delete_user(user_id)
            await tx.backups.forget_user(user_id)
            await noted(tx, note)
        self._sessions.ended(gone)
        self._sessions.changed(user_id)

    async def leave_behind(self) -> None:
        """Take closed accounts out of rooms that they are still in: operators close them, crashes interrupt us."""
        async with self._store.read() as tx:
            users = await tx.users.still_in_rooms(_AT_ONCE)
        for user_id in users:
            await self._rooms.leave_all(user_id)
