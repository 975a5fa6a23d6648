"""E-mail addresses of accounts: asking for them, following the links of letters, adding and removing.

Whoever asks is never told whether an address is known: what there is to say about it is said in a letter to it.
spec: client-server-api#adding-account-administrative-contact-information
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from homeserver.core.addresses import canonical_address
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.addresses import EMAIL, AddressCheck, Purpose, UserAddress
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.ratelimits import RateLimits
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store, StoreUnavailable, Transaction, UniqueViolation
from homeserver.services.accounts.address_checks import AddressLinks, in_use, key_of, not_proved, proved
from homeserver.services.accounts.address_letters import AddressLetters
from homeserver.services.accounts.interactive import Interactive, Operation
from homeserver.services.accounts.letterbox import Letterbox
from homeserver.services.accounts.stages import PASSWORD

_log = structlog.get_logger(__name__)

_STEP = 1_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class AddressSettings:
    """Bounds."""

    link_hours: int = 24
    per_user: int = 10
    max_checks: int = 100_000


@dataclass(frozen=True, slots=True)
class AddressPost:
    """What letters are made and sent with."""

    letters: AddressLetters
    links: AddressLinks
    box: Letterbox


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants a letter for."""

    email: str
    client_secret: str
    send_attempt: int
    lang: str = "en"


class Addresses:
    """Owns addresses of accounts."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        limits: RateLimits,
        interactive: Interactive,
        post: AddressPost | None,
        settings: AddressSettings,
    ) -> None:
        """`post` is None where the server writes no letters: then addresses can only be removed."""
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._interactive = interactive
        self._post = post
        self._settings = settings

    @property
    def offered(self) -> bool:
        """Whether addresses can be added."""
        return self._post is not None

    async def of_user(self, user_id: str) -> list[UserAddress]:
        """The user's addresses, oldest first."""
        async with self._store.read_committed() as tx:
            return await tx.addresses.of_user(user_id)

    async def remove(self, who: Requester, medium: str, address: str) -> None:
        """Take an address off the account. One that is not there is no error: it may be asked twice."""
        known = (canonical_address(address) or "") if medium == EMAIL else ""
        if known:
            async with self._store.write() as tx:
                await tx.addresses.remove(who.user_id, EMAIL, known)

    # Letters

    async def ask(self, purpose: Purpose, asked: Asked, user_id: str | None = None) -> str:
        """Have a letter with a link written; returns the id of the check that it is about.

        Raises THREEPID_MEDIUM_NOT_SUPPORTED or THREEPID_DENIED where the server writes no letters, INVALID_PARAM,
        LimitExceeded; THREEPID_IN_USE for the user's own address, RESOURCE_LIMIT_EXCEEDED.
        """
        post = self._require_post(purpose)
        address = self.require_address(asked.email)
        key = key_of(asked.client_secret, purpose, address, user_id)
        self._limits.take("address_letters", address)
        post.box.require_room()
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + self._settings.link_hours * _HOUR_MS
        sid, attempt = self._entropy.token(16), asked.send_attempt
        check = AddressCheck(sid, key, purpose, EMAIL, address, user_id, attempt, asked.lang, expires_ms)
        try:
            check, owner, writes = await self._begin(check)
        except UniqueViolation:  # the same request beside this one was first
            check, owner, writes = await self._begin(check)
        if writes:
            self._write(post, check, owner)
        return check.sid

    def require_address(self, email: str) -> str:
        """The address as it is kept. Raises INVALID_PARAM."""
        address = canonical_address(email)
        if address is None:
            raise MatrixError(ErrCode.INVALID_PARAM, "This is no e-mail address that the server can write to")
        return address

    async def welcome(self, user_id: str, email: str, lang: str) -> None:
        """Ask somebody who has just registered to confirm the address that they gave. A letter that cannot be
        written is no error: the account is there, and its owner can add the address later."""
        try:
            await self.ask("welcome", Asked(email, self._entropy.token(16), 1, lang), user_id)
        except (MatrixError, StoreUnavailable) as error:
            _log.warning("address_not_asked", user_id=user_id, error=str(error))

    def _require_post(self, purpose: Purpose) -> AddressPost:
        if self._post is None:
            code = ErrCode.THREEPID_MEDIUM_NOT_SUPPORTED if purpose == "add" else ErrCode.THREEPID_DENIED
            raise MatrixError(code, "This server writes no e-mail")
        return self._post

    async def _begin(self, check: AddressCheck) -> tuple[AddressCheck, str | None, bool]:
        """The check, whose address it is already, and whether a letter is to be written."""
        async with self._store.write() as tx:
            owner = await tx.addresses.owner(check.medium, check.address)
            if check.purpose == "add" and check.user_id is not None:
                if owner is not None and owner.user_id == check.user_id:
                    raise MatrixError(ErrCode.THREEPID_IN_USE, "The e-mail address is yours already")
                await self._require_room(tx, check.user_id)
            if check.purpose == "password":
                user = None if owner is None else await tx.users.get(owner.user_id)
                check = replace(check, user_id=user.user_id if user is not None and can_reset(user) else None)
            known = await tx.addresses.by_key(check.key, self._clock.now_ms())
            if known is not None:
                writes = await tx.addresses.ask_again(check.key, check.send_attempt)
                check = known
            else:
                writes = True
                await tx.addresses.begin(check, self._clock.now_ms())
        return check, None if owner is None else owner.user_id, writes

    def _write(self, post: AddressPost, check: AddressCheck, owner: str | None) -> None:
        if check.purpose == "password":
            if check.user_id is None:
                return
        elif owner is not None:
            taken = owner
            post.box.put(lambda: post.letters.taken(check, taken))
            return
        post.box.put(lambda: post.letters.letter(check, post.links.link(check.sid), self._settings.link_hours))

    # What is behind the link

    async def page(self, token: str) -> str | None:
        """The page of a link, which asks; None if the link is not one. It changes nothing."""
        if self._post is None:
            return None
        sid = self._post.links.sid(token)
        if sid is None:
            return None
        async with self._store.read() as tx:
            check = await tx.addresses.check(sid, self._clock.now_ms())
        if check is None:
            return None
        return self._post.letters.page(check, "ask" if check.validated_ms is None else "done")

    async def act(self, token: str) -> str | None:
        """Whoever reads the letters says yes; the page that says so, or None if the link is not one."""
        sid = None if self._post is None else self._post.links.sid(token)
        if self._post is None or sid is None:
            return None
        now_ms, added = self._clock.now_ms(), True
        async with self._store.write() as tx:
            check = await tx.addresses.check(sid, now_ms)
            if check is None:
                return None
            if check.purpose == "welcome" and check.validated_ms is None and check.user_id is not None:
                added = await self._add_welcomed(tx, check, check.user_id)
            if added:
                await tx.addresses.confirm(sid, now_ms)
        return self._post.letters.page(check, "done" if added else "taken")

    async def _add_welcomed(self, tx: Transaction, check: AddressCheck, user_id: str) -> bool:
        try:
            await self._attach(tx, check, user_id)
        except MatrixError:
            return False
        return True

    # Adding

    async def add(self, who: Requester, sid: str, client_secret: str, body: Mapping[str, Any]) -> None:
        """Add the address of a check to the account, after interactive authentication of the request `body`.

        Raises THREEPID_AUTH_FAILED until the link was followed, THREEPID_IN_USE, RESOURCE_LIMIT_EXCEEDED, and what
        interactive authentication raises.
        """
        operation = Operation("add3PID", who.user_id, body)
        self._interactive.recall(operation)
        async with self._store.read() as tx:
            await proved(tx, sid, client_secret, "add", who.user_id, self._clock.now_ms())
        proof = await self._interactive.authenticate(operation, [self._interactive.flow(PASSWORD)])
        async with self._store.write() as tx:
            await proof.claim(tx)
            check = await tx.addresses.take(sid, self._clock.now_ms())
            if check is None:
                raise not_proved()
            await self._attach(tx, check, who.user_id)
        self._interactive.remember(operation, {})

    async def _attach(self, tx: Transaction, check: AddressCheck, user_id: str) -> None:
        """Raises THREEPID_IN_USE, RESOURCE_LIMIT_EXCEEDED, USER_DEACTIVATED."""
        user = await tx.users.lock(user_id)  # or two at once would add one too many
        if user is None or user.deactivated:
            raise MatrixError(ErrCode.USER_DEACTIVATED, "This account has been deactivated")
        await self._require_room(tx, user_id)
        now_ms = self._clock.now_ms()
        address = UserAddress(check.medium, check.address, user_id, check.validated_ms or now_ms, now_ms)
        if not await tx.addresses.add(address):
            raise in_use()

    async def _require_room(self, tx: Transaction, user_id: str) -> None:
        if len(await tx.addresses.of_user(user_id)) >= self._settings.per_user:
            raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You have {self._settings.per_user} addresses already")

    # Housekeeping

    async def expire(self) -> int:
        """Forget some old checks; returns how many are gone."""
        async with self._store.write() as tx:
            return await tx.addresses.prune(self._clock.now_ms(), self._settings.max_checks, _STEP)

    async def close(self) -> None:
        """Stop sending."""
        if self._post is not None:
            await self._post.box.close()


def can_reset(user: User) -> bool:
    """Whether a letter may lead to a new password: only where there is one to forget, and it is kept here."""
    return not (user.deactivated or user.is_guest or user.appservice_id is not None or user.password_hash is None)
