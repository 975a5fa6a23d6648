"""Making accounts: by their future owners, as guests, by application services and by operators.

The account, its first session and the proof that allowed it are one transaction: of two registrations of one name,
or with one single-use token, exactly one happens.  spec: client-server-api#post_matrixclientv3register
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Session, User, UserFlags
from homeserver.ports.appservices import AppServices
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.log import SessionsEntry
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store, Transaction, UniqueViolation
from homeserver.services.accounts import stages
from homeserver.services.accounts.address_checks import EMAIL_IDENTITY, Proved
from homeserver.services.accounts.appservices import require_appservice, require_covered
from homeserver.services.accounts.interactive import Flow, Interactive, Operation, Proof
from homeserver.services.accounts.names import device_id_of, display_name_of_device, localpart_of
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.sessions import Opened, Sessions
from homeserver.services.audit import Note, noted
from homeserver.services.commit import Committer


class Mode(StrEnum):
    """Who may register."""

    OPEN = "open"
    TOKEN = "token"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """Who may register and what they must agree to.

    With `first_user_admin` the very first account may be made in any mode, and becomes the administrator: only for
    servers that nobody else can reach.
    """

    server_name: str
    mode: Mode = Mode.CLOSED
    guests: bool = False
    first_user_admin: bool = False
    policies: Mapping[str, Any] = field(default_factory=dict)
    by_mail: bool = False
    """Whether an e-mail address can be proved on the way; nobody has to."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What somebody asks for. Without `username` one is made up."""

    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    display_name: str | None = None  # of the device
    inhibit_login: bool = False
    refresh: bool = False
    guest_token: str | None = None  # of the guest who becomes a user


@dataclass(frozen=True, slots=True)
class Registered:
    """A new account; `opened` is None if login was inhibited."""

    user_id: str
    opened: Opened | None


class Register:
    """Owns the creation of accounts."""

    def __init__(  # noqa: PLR0913, PLR0917 - one collaborator per thing a registration touches
        self,
        store: Store,
        committer: Committer,
        clock: Clock,
        entropy: Entropy,
        passwords: Passwords,
        sessions: Sessions,
        interactive: Interactive,
        appservices: AppServices,
        settings: RegistrationSettings,
    ) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._entropy = entropy
        self._passwords = passwords
        self._sessions = sessions
        self._interactive = interactive
        self._appservices = appservices
        self._settings = settings

    async def register(self, wanted: NewAccount, body: Mapping[str, Any]) -> Registered:
        """Register a user. `body` is the whole request, for interactive authentication.

        Raises AuthenticationRequired, Repeated, FORBIDDEN (closed, or the token is no guest's), USER_IN_USE,
        INVALID_USERNAME, EXCLUSIVE, WEAK_PASSWORD.
        """
        self._interactive.recall(Operation("register", None, body))
        flows = await self._flows()
        guest = None if wanted.guest_token is None else await self._guest(wanted.guest_token, wanted.username)
        user_id = await self._free_user_id(wanted.username) if guest is None else guest.user_id
        device_id_of(wanted.device_id)
        if wanted.password is not None:
            self._passwords.check_policy(wanted.password)
        proof = await self._interactive.authenticate(Operation("register", None, body, keeps=True), flows)
        if wanted.password is None:
            raise MatrixError(ErrCode.MISSING_PARAM, "password is missing")
        hashed = await self._passwords.hash(wanted.password)
        user = User(user_id, self._clock.now_ms(), hashed)
        if guest is not None:
            return await self._upgrade(user, guest, wanted, proof)
        return await self._create(user, wanted, proof=proof, may_be_first=self._settings.first_user_admin)

    async def _guest(self, token: str, username: str | None) -> Requester:
        """The guest who wants to become a user of the same name.  spec: client-server-api#guest-access"""
        try:
            guest = await self._sessions.authenticate(token)
        except MatrixError:
            raise _no_guest() from None
        if not guest.is_guest:
            raise _no_guest()
        if username is None:
            raise MatrixError(ErrCode.MISSING_PARAM, "username is missing: it must be the guest's")
        if username.lower() not in (guest.user_id, guest.user_id[1:].partition(":")[0]):
            raise MatrixError(ErrCode.FORBIDDEN, "A guest keeps its user name")
        return guest

    async def _upgrade(self, user: User, guest: Requester, wanted: NewAccount, proof: Proof) -> Registered:
        """Make a user of a guest, who keeps rooms, name, device and its keys, and gets new tokens.

        A visitor of a support chat keeps rooms and name: what frames on other people's pages hold ends here.
        """
        opened: Opened | None = None
        ended: list[Session] = []
        is_visitor = guest.site_id is not None
        device_id = device_id_of(wanted.device_id) or (None if is_visitor else guest.device_id)
        keeps = device_id == guest.device_id
        async with self._committer.writing() as unit:
            tx = unit.tx
            await proof.claim(tx)
            known = await tx.users.lock(user.user_id)
            if known is None or not known.is_guest or known.deactivated:
                raise _no_guest()
            # Whoever comes along on a website administers nothing, though nobody else has registered yet.
            is_first = not is_visitor and await tx.users.claim_first() and self._settings.first_user_admin
            if not is_first and self._settings.mode is not Mode.OPEN and not self._was_allowed(proof):
                raise _closed()
            await tx.users.upgrade_guest(user.user_id, user.password_hash)
            await self._attach(tx, proof, user.user_id)
            if is_visitor:
                ended = await self._sessions.end_devices_in(unit, user.user_id, None)
            if is_first:
                await tx.users.set_flags(user.user_id, UserFlags(is_admin=True))
            if not wanted.inhibit_login:
                name = display_name_of_device(wanted.display_name)
                opened = await self._sessions.open_in(
                    unit, user, device_id, name, refresh=wanted.refresh, keep_keys=keeps
                )
            unit.tell(lambda position: SessionsEntry(position, user.user_id))
        self._sessions.ended((*ended, *(() if opened is None else opened.replaced)))
        self._sessions.changed(user.user_id)
        return Registered(user.user_id, opened)

    async def register_guest(self, display_name: str | None) -> Registered:
        """Register a guest. Raises GUEST_ACCESS_FORBIDDEN unless guests are allowed."""
        if not self._settings.guests:
            raise MatrixError(ErrCode.GUEST_ACCESS_FORBIDDEN, "This server has no guest accounts")
        user = User(self._made_up("guest"), self._clock.now_ms(), is_guest=True)
        return await self._create(user, NewAccount(display_name=display_name))

    async def register_for_appservice(self, wanted: NewAccount, token: str | None) -> Registered:
        """Register a user of an application service.  spec: application-service-api#server-admin-style-permissions

        Raises MISSING_TOKEN, UNKNOWN_TOKEN, EXCLUSIVE, USER_IN_USE, INVALID_USERNAME, MISSING_PARAM.
        """
        appservice = require_appservice(self._appservices, token)
        if wanted.username is None:
            raise MatrixError(ErrCode.MISSING_PARAM, "username is missing")
        user_id = (
            f"@{localpart_of(wanted.username, self._settings.server_name, reserved=True)}:{self._settings.server_name}"
        )
        require_covered(appservice, user_id)
        user = User(user_id, self._clock.now_ms(), appservice_id=appservice.id)
        return await self._create(user, wanted)

    async def register_by_operator(self, wanted: NewAccount, *, admin: bool, note: Note | None = None) -> Registered:
        """Register on the word of somebody who runs the server. Raises as `register`, without authentication.

        Without a password nobody logs in with one until an administrator gives the account one.
        """
        if wanted.username is None:
            raise MatrixError(ErrCode.MISSING_PARAM, "username is needed")
        user_id = await self._free_user_id(wanted.username)
        hashed = None
        if wanted.password is not None:
            self._passwords.check_policy(wanted.password)
            hashed = await self._passwords.hash(wanted.password)
        return await self._create(User(user_id, self._clock.now_ms(), hashed, is_admin=admin), wanted, note=note)

    async def check_available(self, username: str) -> None:
        """Raises USER_IN_USE, INVALID_USERNAME, EXCLUSIVE if the name cannot be registered."""
        await self._free_user_id(username)

    async def _flows(self) -> Sequence[Flow]:
        mode = self._settings.mode
        if mode is not Mode.OPEN:
            async with self._store.read() as tx:
                is_first = self._settings.first_user_admin and not await tx.users.any()
            if is_first:
                mode = Mode.OPEN
        if mode is Mode.CLOSED:
            raise _closed()
        terms = [stages.TERMS] if self._settings.policies else []
        proofs = [stages.REGISTRATION_TOKEN] if mode is Mode.TOKEN else []
        flows = [self._interactive.flow(*(proofs + terms or [stages.DUMMY]))]
        if self._settings.by_mail:
            flows.append(self._interactive.flow(EMAIL_IDENTITY, *proofs, *terms))
        return flows

    async def _free_user_id(self, username: str | None) -> str:
        if username is None:
            return self._made_up("user")
        user_id = f"@{localpart_of(username, self._settings.server_name)}:{self._settings.server_name}"
        if self._appservices.exclusive(user_id) is not None:
            raise MatrixError(ErrCode.EXCLUSIVE, "The name is reserved for an application service")
        async with self._store.read() as tx:
            if await tx.users.get(user_id) is not None:
                raise _in_use()
        return user_id

    def _made_up(self, prefix: str) -> str:
        return f"@{prefix}-{self._entropy.letters(12).lower()}:{self._settings.server_name}"

    async def _create(
        self,
        user: User,
        wanted: NewAccount,
        *,
        proof: Proof | None = None,
        may_be_first: bool = False,
        note: Note | None = None,
    ) -> Registered:
        opened: Opened | None = None
        device_id = None if user.is_guest else device_id_of(wanted.device_id)
        display_name = display_name_of_device(wanted.display_name)
        try:
            async with self._committer.writing() as unit:
                tx = unit.tx
                if proof is not None:
                    await proof.claim(tx)
                if not user.is_guest and await tx.users.claim_first() and may_be_first:
                    user = _admin(user)
                elif proof is not None and self._settings.mode is not Mode.OPEN and not self._was_allowed(proof):
                    raise _closed()  # somebody else was the first user
                await tx.users.create(user)
                await self._attach(tx, proof, user.user_id)
                await noted(tx, note)
                if not wanted.inhibit_login:
                    opened = await self._sessions.open_in(unit, user, device_id, display_name, refresh=wanted.refresh)
        except UniqueViolation:
            raise _in_use() from None
        return Registered(user.user_id, opened)

    async def _attach(self, tx: Transaction, proof: Proof | None, user_id: str) -> None:
        """Give the new user the e-mail address that was proved, if any. Raises THREEPID_IN_USE."""
        result = None if proof is None else proof.results.get(EMAIL_IDENTITY)
        if result is not None:
            await Proved.load(result).attach(tx, user_id, self._clock.now_ms())

    def _was_allowed(self, proof: Proof) -> bool:
        return self._settings.mode is Mode.TOKEN and stages.REGISTRATION_TOKEN in proof.results


def _admin(user: User) -> User:
    return User(user.user_id, user.created_ms, user.password_hash, user.appservice_id, is_admin=True)


def _no_guest() -> MatrixError:
    return MatrixError(ErrCode.FORBIDDEN, "guest_access_token is not the token of a guest of this server")


def _closed() -> MatrixError:
    return MatrixError(ErrCode.FORBIDDEN, "Registration is closed on this server")


def _in_use() -> MatrixError:
    return MatrixError(ErrCode.USER_IN_USE, "The user name is taken")
