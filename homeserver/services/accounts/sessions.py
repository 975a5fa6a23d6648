"""Sessions: opening, checking, refreshing and ending them.

Every request's token is checked against its session. A verified token is remembered by its digest, so the common
case costs one SHA-256 and no statement; ending a session, or changing its user, drops it from that memory at
once, and the listeners close what is still open. See docs/subsystems/accounts.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Device, Session, User
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.log import DeviceListEntry, LogEntry, SessionsEntry
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store, Transaction
from homeserver.services.accounts.tokens import COOKIE, VISITOR, AccessToken, AccessTokens, BadToken
from homeserver.services.audit import Note, noted
from homeserver.services.commit import Committer, Unit

_KEEP_GENERATIONS = 64
_USERS_AT_ONCE = 200

Revoked = Callable[[Session], None]


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Lifetimes and bounds."""

    access_token_lifetime_ms: int = 15 * 60 * 1000  # for clients that refresh; those of others do not expire
    refresh_token_lifetime_ms: int = 365 * 24 * 3600 * 1000  # since it was issued
    max_devices: int = 100
    max_remembered: int = 100_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client gets. `expires_in_ms` and `refresh_token` are for clients that refresh."""

    access_token: str
    refresh_token: str | None = None
    expires_in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session and its tokens. `replaced` are the sessions the device had before."""

    session: Session
    tokens: Tokens
    replaced: tuple[Session, ...] = ()


@dataclass(slots=True, eq=False)
class _Live:
    """A session in memory. `alive` turns False when anything about it or its user has changed."""

    session: Session
    requester: Requester
    locked: bool
    confirmed: int
    alive: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Verified:
    """A token whose signature has been verified, with the session it belongs to."""

    token: AccessToken
    live: _Live


class Sessions:
    """Owns sessions and their tokens; the only judge of access tokens."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        clock: Clock,
        entropy: Entropy,
        tokens: AccessTokens,
        settings: SessionSettings,
    ) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._entropy = entropy
        self._tokens = tokens
        self._settings = settings
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._live: dict[str, _Live] = {}
        self._of_user: dict[str, set[str]] = {}
        self._listeners: list[Revoked] = []
        self._on_locked: list[Callable[[str], None]] = []
        self._changes = 0
        self._rechecks: set[asyncio.Task[None]] = set()

    # Checking

    async def authenticate(
        self,
        token: str,
        *,
        masquerade_user: str | None = None,
        masquerade_device: str | None = None,
        allow_locked: bool = False,
    ) -> Requester:
        """The requester that an access token stands for. Users cannot masquerade: those arguments are ignored.

        Raises UNKNOWN_TOKEN (with `soft_logout` if the token has only expired and can be refreshed), and
        USER_LOCKED unless `allow_locked`.  spec: client-server-api#using-access-tokens
        """
        verified = await self._known(_digest(token), token)
        live = verified.live
        if verified.token.expires_ms is not None:
            await self._check_age(verified.token, live)
        if live.locked and not allow_locked:
            raise locked()
        return live.requester

    def media_cookie(self, who: Requester) -> str:
        """What a browser of this device reads media with, for as long as the session lives."""
        token = AccessToken(who.user_id, who.device_id or "", who.session_id or "", 0, None)
        return self._tokens.sign(token, self._clock.now_ms(), COOKIE)

    async def authenticate_cookie(self, value: str) -> Requester:
        """The requester that a cookie of `media_cookie` stands for. Raises UNKNOWN_TOKEN, USER_LOCKED."""
        live = (await self._known(_digest(value), value, COOKIE)).live
        if live.locked:
            raise locked()
        return live.requester

    def visitor_cookie(self, session: Session, until_ms: int | None = None) -> str:
        """What a browser resumes a visitor's session with (`authenticate_visitor`), for as long as that lives, or
        until then.
        """
        token = AccessToken(session.user_id, session.device_id, session.session_id, 0, until_ms)
        return self._tokens.sign(token, self._clock.now_ms(), VISITOR)

    async def authenticate_visitor(self, value: str) -> Requester:
        """The visitor that a cookie of `visitor_cookie` stands for. Raises UNKNOWN_TOKEN, USER_LOCKED."""
        verified = await self._known(_digest(value), value, VISITOR)
        live, until_ms = verified.live, verified.token.expires_ms
        if until_ms is not None and until_ms <= self._clock.now_ms():
            raise _unknown_token("It served until a time that is over")
        if live.locked:
            raise locked()
        return live.requester if until_ms is None else replace(live.requester, until_ms=until_ms)

    def short_token(self, session: Session, lifetime_ms: int) -> str:
        """An access token for a session that is not refreshed, which expires all the same."""
        return self._sign(session, 0, self._clock.now_ms() + lifetime_ms)

    async def _known(self, digest: bytes, text: str, *type_: str) -> _Verified:
        digest = digest + type_[0].encode() if type_ else digest  # a cookie is no access token
        verified = self._verified.get(digest)
        if verified is None or not verified.live.alive:
            verified = await self._verify(text, *type_)
            self._remember(digest, verified)
        else:
            self._verified.move_to_end(digest)
        return verified

    def serves(self, token: str) -> bool:
        """Whether `authenticate` would accept the token, as far as that is known without asking the database.

        False says nothing: ask `authenticate`.
        """
        verified = self._verified.get(_digest(token))
        if verified is None:
            return False
        live, issued = verified.live, verified.token
        if not live.alive or live.locked:
            return False
        return issued.expires_ms is None or (
            issued.generation == live.confirmed and issued.expires_ms > self._clock.now_ms()
        )

    async def _check_age(self, token: AccessToken, live: _Live) -> None:
        if token.generation < live.confirmed or (token.expires_ms or 0) <= self._clock.now_ms():
            raise MatrixError(ErrCode.UNKNOWN_TOKEN, "The access token has expired", soft_logout=True)
        if token.generation > live.confirmed:
            # First use: from now on the client has the new tokens, and all others are dead.
            async with self._store.write() as tx:
                await tx.sessions.lock(live.session.session_id)
                if not await tx.sessions.confirm(live.session.session_id, token.generation):
                    raise _unknown_token("Another answer to the same refresh is in use")
            live.confirmed = max(live.confirmed, token.generation)

    async def _verify(self, text: str, *type_: str) -> _Verified:
        try:
            token = self._tokens.verify(text, *type_)
        except BadToken:
            raise _unknown_token() from None
        live = self._live.get(token.session_id) or await self._load(token.session_id)
        if live.session.user_id != token.user_id or live.session.device_id != token.device_id:
            raise _unknown_token()
        return _Verified(token, live)

    async def _load(self, session_id: str) -> _Live:
        while True:
            changes = self._changes
            async with self._store.read_committed() as tx:
                found = await tx.sessions.get(session_id)
            if faults.plan is not None:
                await faults.plan.reach("sessions.load")
            if changes == self._changes:
                break
            # A session was ended while we read: what we have may be from before.
        if found is None or found[1].deactivated:
            raise _unknown_token()
        session, user = found
        live = _Live(session, _requester(session, user), user.locked, session.confirmed)
        # Another request may have loaded it meanwhile; all must share one.
        live = self._live.setdefault(session_id, live)
        self._of_user.setdefault(session.user_id, set()).add(session_id)
        return live

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._verified[digest] = verified
        self._verified.move_to_end(digest)
        while len(self._verified) > self._settings.max_remembered:
            _, oldest = self._verified.popitem(last=False)
            self._drop(oldest.live.session)

    # Opening

    async def open(self, user: User, device_id: str | None, display_name: str | None, *, refresh: bool) -> Opened:
        """Log a device in, in a transaction of its own. Raises like `open_in`."""
        async with self._committer.writing() as unit:
            opened = await self.open_in(unit, user, device_id, display_name, refresh=refresh)
        self.ended(opened.replaced)
        return opened

    async def open_in(
        self,
        unit: Unit,
        user: User,
        device_id: str | None,
        display_name: str | None,
        *,
        refresh: bool,
        keep_keys: bool = False,
    ) -> Opened:
        """Log a device in inside `unit`; the caller passes `replaced` to `ended` after the commit.

        A device that exists keeps its name; its session is replaced, and so are its keys unless it is known to be
        the same one (`keep_keys`). Raises RESOURCE_LIMIT_EXCEEDED if the user
        has too many devices, USER_DEACTIVATED, USER_LOCKED.
        """
        tx = unit.tx
        # Logins of one user go one after the other, and none overtakes the account's end.
        current = await tx.users.lock(user.user_id)
        if current is not None:
            require_usable(current)
        replaced: list[Session] = []
        if device_id is not None and await tx.devices.get(user.user_id, device_id) is not None:
            replaced = await tx.sessions.delete(user.user_id, device_ids=[device_id])
            # Whoever logs in to a device that was there has other keys than the one who used it before.
            if not keep_keys and await tx.keys.delete_devices(user.user_id, [device_id]):
                unit.tell(lambda position: DeviceListEntry(position, user.user_id))
            unit.tell(lambda position: SessionsEntry(position, user.user_id))
        else:
            if await tx.devices.count(user.user_id) >= self._settings.max_devices:
                raise MatrixError(
                    ErrCode.RESOURCE_LIMIT_EXCEEDED,
                    f"You have {self._settings.max_devices} devices already; log one of them out first",
                )
            device_id = device_id or self._entropy.letters(10)
            await tx.devices.create(Device(user.user_id, device_id, self._clock.now_ms(), display_name))
        session = Session(self._entropy.token(16), user.user_id, device_id, refreshable=refresh)
        await tx.sessions.create(session)
        if not refresh:
            return Opened(session, Tokens(self._sign(session, 0, None)), tuple(replaced))
        return Opened(session, await self._issue(tx, session), tuple(replaced))

    # Refreshing

    async def refresh(self, refresh_token: str) -> Opened:
        """The session of a refresh token, and its new tokens.  spec: client-server-api#refreshing-access-tokens

        A token may be used again until the client has shown that it got the new ones; after that its use means
        that somebody else has it, and the session ends. Raises UNKNOWN_TOKEN, USER_LOCKED.
        """
        digest = _digest(refresh_token)
        stolen: list[Session] = []
        async with self._committer.writing() as unit:
            tx = unit.tx
            known = await tx.sessions.by_refresh_token(digest, self._clock.now_ms())
            session = None if known is None else await tx.sessions.lock(known[0])
            if known is None or session is None:
                raise _unknown_token("The refresh token is not known")
            generation = known[1]
            if generation < session.confirmed:
                stolen = await self.end_devices_in(unit, session.user_id, [session.device_id])
            else:
                user = await tx.users.get(session.user_id)
                if user is None or user.deactivated:
                    raise _unknown_token("The refresh token is not known")
                if user.locked:
                    raise locked()
                if generation > session.confirmed:
                    await tx.sessions.confirm(session.session_id, generation)
                # Otherwise it is repeated: the tokens of the answer that seems lost stay good, should it arrive yet.
                tokens = await self._issue(tx, session)
        if stolen:
            self.ended(stolen)
            raise _unknown_token("The refresh token has been used before; log in again")
        live = self._live.get(session.session_id)
        if live is not None:
            live.confirmed = max(live.confirmed, generation)
        return Opened(session, tokens)

    async def _issue(self, tx: Transaction, session: Session) -> Tokens:
        """The next generation of tokens. Generations not yet used stay usable until one of them is."""
        generation = session.issued + 1
        refresh_token = self._entropy.token(32)
        digest = _digest(refresh_token)
        now_ms = self._clock.now_ms()
        lifetime = self._settings.access_token_lifetime_ms
        await tx.sessions.issue(
            session.session_id,
            generation,
            digest,
            expires_ms=now_ms + self._settings.refresh_token_lifetime_ms,
            keep=_KEEP_GENERATIONS,
        )
        return Tokens(
            self._sign(session, generation, now_ms + lifetime),
            refresh_token,
            lifetime,
        )

    def _sign(self, session: Session, generation: int, expires_ms: int | None) -> str:
        token = AccessToken(session.user_id, session.device_id, session.session_id, generation, expires_ms)
        return self._tokens.sign(token, self._clock.now_ms())

    # Ending

    def on_ended(self, listener: Revoked) -> None:
        """Call `listener` with every session that ends, at once: it closes that session's sockets and polls."""
        self._listeners.append(listener)

    def on_locked(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with every user whose account is locked, at once: its sessions live, but learn nothing."""
        self._on_locked.append(listener)

    def ended(self, sessions: Iterable[Session]) -> None:
        """Sessions were deleted and the deletion is committed: their tokens are dead from here on."""
        for session in sessions:
            self._changes += 1
            self._drop(session)
            for listener in self._listeners:
                listener(session)

    def changed(self, user_id: str, *, locked: bool = False) -> None:
        """The user's flags were changed and committed, the account maybe `locked`: look at them afresh."""
        self._changes += 1
        for session_id in list(self._of_user.get(user_id, ())):
            self._drop(self._live[session_id].session)
        if locked:
            for listener in self._on_locked:
                listener(user_id)

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Log listener: another process may have ended sessions, or locked an account; look at those it names."""
        users = {entry.user_id for entry in entries if isinstance(entry, SessionsEntry)}
        if users & self._of_user.keys():
            self._changes += 1
            task = asyncio.create_task(self.recheck(users))
            self._rechecks.add(task)
            task.add_done_callback(self._rechecks.discard)

    async def recheck(self, of: Collection[str] | None = None) -> None:
        """Somebody else changed sessions or users (`of`; None: any) in the database: end what is gone, look at the
        rest afresh.
        """
        self._changes += 1
        remembered = [live.session for live in self._live.values() if of is None or live.session.user_id in of]
        async with self._store.read() as tx:
            existing = await tx.sessions.existing([session.session_id for session in remembered])
        for session in remembered:
            if session.session_id in existing:
                self._drop(session)
        self.ended(session for session in remembered if session.session_id not in existing)
        users = sorted({session.user_id for session in remembered if session.session_id in existing})
        for first in range(0, len(users), _USERS_AT_ONCE):
            async with self._store.read() as tx:
                found = [await tx.users.get(user_id) for user_id in users[first : first + _USERS_AT_ONCE]]
            for user in found:
                if user is not None and user.locked:
                    self.changed(user.user_id, locked=True)

    def _drop(self, session: Session) -> None:
        live = self._live.pop(session.session_id, None)
        if live is None:
            return
        live.alive = False
        ids = self._of_user[session.user_id]
        ids.discard(session.session_id)
        if not ids:
            del self._of_user[session.user_id]

    async def end(self, who: Requester) -> None:
        """Log this device out: its session and the device are gone."""
        if who.device_id is not None:
            await self.end_devices(who.user_id, [who.device_id])

    async def end_devices(self, user_id: str, device_ids: list[str] | None, note: Note | None = None) -> None:
        """Delete devices (all of the user's if None) with their sessions."""
        async with self._committer.writing() as unit:
            gone = await self.end_devices_in(unit, user_id, device_ids)
            await noted(unit.tx, note)
        self.ended(gone)

    async def end_devices_in(self, unit: Unit, user_id: str, device_ids: list[str] | None) -> list[Session]:
        """As `end_devices`, inside `unit`; the caller passes the result to `ended` after the commit.

        Everything of the devices goes with them: keys, messages that wait for them, what others signed of them.
        """
        tx = unit.tx
        gone = await tx.sessions.delete(user_id, device_ids=device_ids)
        await tx.devices.delete(user_id, device_ids)
        await tx.pushers.delete_devices(user_id, device_ids)
        if await tx.keys.delete_devices(user_id, device_ids):
            unit.tell(lambda position: DeviceListEntry(position, user_id))
        unit.tell(lambda position: SessionsEntry(position, user_id))
        return gone


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def locked() -> MatrixError:
    """The answer to everything a locked account asks.  spec: client-server-api#account-locking"""
    return MatrixError(ErrCode.USER_LOCKED, "This account has been locked", soft_logout=True)


def require_usable(user: User) -> None:
    """Raises USER_DEACTIVATED or USER_LOCKED for accounts nobody may log in to."""
    if user.deactivated:
        raise MatrixError(ErrCode.USER_DEACTIVATED, "This account has been deactivated")
    if user.locked:
        raise locked()


def _unknown_token(message: str = "The access token is not known") -> MatrixError:
    return MatrixError(ErrCode.UNKNOWN_TOKEN, message, soft_logout=False)


def _requester(session: Session, user: User) -> Requester:
    return Requester(
        user_id=session.user_id,
        device_id=session.device_id,
        session_id=session.session_id,
        is_guest=user.is_guest,
        is_admin=user.is_admin,
        suspended=user.suspended,
        site_id=user.site_id,
    )
