"""User-interactive authentication: proofs that the person at the other end may do one thing, once.

A session is bound to one operation of one user with one body, expires, and is used up in the same transaction as
the operation it allows. Its id is not stored, only a digest of it, and of the body a MAC keyed with the id; where the
body is kept it is sealed with a key made of the id. So a stolen database shows no password, and none can be guessed.
spec: client-server-api#user-interactive-authentication-api; see docs/subsystems/accounts.md.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any, Protocol

import orjson
from nacl.secret import SecretBox

from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.ports.accounts import InteractiveSession
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.store import Store, Transaction

_PURGE_EVERY_MS = 60_000
_STEP = 1_000
_MAX_KEPT = 8_192


@dataclass(frozen=True, slots=True)
class InteractiveSettings:
    """Lifetime and number of sessions."""

    lifetime_ms: int = 10 * 60 * 1000
    max_sessions: int = 10_000
    answers_ms: int = 5 * 60 * 1000
    """How long the answer of what was done is kept, for a client that lost it."""
    max_answers: int = 1_000


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be allowed: the operationId with the path's values, the user asking, and the whole body."""

    name: str
    user_id: str | None
    body: Mapping[str, Any]
    keeps: bool = False
    """Whether the body is kept with the session, for clients that say it once (see `Interactive.whole_body`)."""


class Stage(Protocol):
    """One thing to prove."""

    @property
    def type(self) -> str:
        """The stage's name, as in `m.login.dummy`."""
        ...

    def params(self) -> Mapping[str, Any] | None:
        """What a client needs to know to complete it."""
        ...

    async def check(self, auth: Mapping[str, Any], operation: Operation) -> str:
        """The result to keep, if `auth` completes the stage. Raises MatrixError otherwise."""
        ...

    async def record(self, tx: Transaction, result: str) -> None:
        """The stage was completed. May raise MatrixError: then it was not."""
        ...

    async def settle(self, tx: Transaction, result: str, *, succeeded: bool) -> None:
        """The whole authentication came to its end."""
        ...


Flow = Sequence[Stage]


class AuthenticationRequired(MatrixError):
    """401 with the flows to choose from. Has an `errcode` only if an attempt has failed."""

    def __init__(self, members: dict[str, Any], failure: MatrixError | None) -> None:
        code = ErrCode.FORBIDDEN if failure is None else failure.code
        super().__init__(code, failure.message if failure else "Authentication is required", status=401)
        self._members = members
        self._failed = failure is not None

    def body(self) -> dict[str, Any]:
        """The JSON body of the response."""
        return {**super().body(), **self._members} if self._failed else self._members


class Repeated(MatrixError):
    """The operation was done already, and its answer maybe lost: here it is again. No error to the client: 200."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(ErrCode.UNKNOWN, "The operation was done already", status=200)
        self._answer = dict(answer)

    def body(self) -> dict[str, Any]:
        """The answer."""
        return self._answer


@dataclass(frozen=True, slots=True)
class _Done:
    operation: str
    user_id: str | None
    body_mac: bytes
    answer: Mapping[str, Any]
    until_ms: int


@dataclass(frozen=True, slots=True)
class Proof:
    """A completed authentication. `claim` uses it up inside the transaction of the operation."""

    results: Mapping[str, str]
    _digest: bytes | None
    _fresh: tuple[Stage, ...]
    _stages: tuple[Stage, ...]

    async def claim(self, tx: Transaction) -> None:
        """Use the proof up. Raises FORBIDDEN if it has been used already."""
        if self._digest is not None and not await tx.interactive.claim(self._digest):
            raise _used()
        for stage in self._fresh:
            await stage.record(tx, self.results[stage.type])
        for stage in self._stages:
            await stage.settle(tx, self.results[stage.type], succeeded=True)


class Interactive:
    """Runs the authentication for every endpoint that needs it."""

    def __init__(
        self, store: Store, clock: Clock, entropy: Entropy, stages: Sequence[Stage], settings: InteractiveSettings
    ) -> None:
        """`stages` are all that exist; flows are made of them."""
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._settings = settings
        self._stages = {stage.type: stage for stage in stages}
        self._purged_ms = 0
        self._done: OrderedDict[bytes, _Done] = OrderedDict()

    def flow(self, *types: str) -> Flow:
        """The flow with these stages."""
        return [self._stages[type_] for type_ in types]

    async def authenticate(self, operation: Operation, flows: Sequence[Flow]) -> Proof:
        """A proof for `operation`, made from the `auth` member of its body.

        Raises AuthenticationRequired until a flow is complete; FORBIDDEN for a session of another operation,
        body or user, or one used before; BAD_JSON for a malformed `auth`; LimitExceeded from a stage.
        """
        self.recall(operation)
        auth = operation.body.get("auth")
        if auth is None:
            raise await self._challenge(operation, flows, None)
        session_id = auth.get("session") if isinstance(auth, dict) else None
        type_ = auth.get("type") if isinstance(auth, dict) else None
        if not isinstance(auth, dict) or not all(isinstance(value, str | None) for value in (session_id, type_)):
            raise MatrixError(ErrCode.BAD_JSON, "auth must be an object with the strings type and session")
        session = None if session_id is None else await self._find(session_id, operation)
        if session is None:
            session_id = None
        completed = {} if session is None else dict(session.completed)
        failure: MatrixError | None = None
        fresh: tuple[Stage, ...] = ()
        if type_ is not None and type_ not in completed:
            try:
                stage, completed[type_] = await self._attempt(type_, auth, operation, flows)
                fresh = (stage,)
            except LimitExceeded:
                raise
            except MatrixError as error:
                failure = error
        for flow in flows:
            if failure is None and all(stage.type in completed for stage in flow):
                return Proof(completed, None if session is None else session.digest, fresh, tuple(flow))
        if fresh:
            session_id = await self._save(operation, session_id, completed, fresh)
        raise await self._challenge(operation, flows, session_id, completed, failure)

    async def whole_body(self, operation: Operation) -> Mapping[str, Any]:
        """The body of the request, with what its session was begun with if it says nothing but how to go on.

        COMPAT(old clients, Sytest): they send the parameters of a registration with its first request only.
        """
        session_id = _session_of(operation)
        if session_id is None or operation.body.keys() != {"auth"}:
            return operation.body
        async with self._store.read() as tx:
            session = await tx.interactive.get(_digest(session_id))
        if session is None or session.operation != operation.name or session.body is None:
            return operation.body
        return {**_unsealed(session_id, session.body), **operation.body}

    def remember(self, operation: Operation, answer: Mapping[str, Any]) -> None:
        """`operation` was done with this answer: whoever repeats it with its session and body gets the answer again.

        Kept in memory only, for it may hold tokens.
        """
        session_id = _session_of(operation)
        if session_id is None:
            return
        until_ms = self._clock.now_ms() + self._settings.answers_ms
        self._done[_digest(session_id)] = _Done(
            operation.name, operation.user_id, _mac(session_id, operation.body), answer, until_ms
        )
        while len(self._done) > self._settings.max_answers or self._first_done().until_ms <= self._clock.now_ms():
            self._done.popitem(last=False)

    def recall(self, operation: Operation) -> None:
        """Raises Repeated if the same request, with the same session, was done a while ago."""
        session_id = _session_of(operation)
        done = None if session_id is None else self._done.get(_digest(session_id))
        if session_id is None or done is None or done.until_ms <= self._clock.now_ms():
            return
        if (done.operation, done.user_id) == (operation.name, operation.user_id) and hmac.compare_digest(
            done.body_mac, _mac(session_id, operation.body)
        ):
            raise Repeated(done.answer)

    def _first_done(self) -> _Done:
        return next(iter(self._done.values()))

    async def complete_stage(self, session_id: str, type_: str, auth: Mapping[str, Any]) -> None:
        """Complete a stage from a web page, which knows the session and nothing of the request.

        The request then goes on with the session alone. Raises FORBIDDEN for an unknown or used session, and what
        the stage raises.  spec: client-server-api#fallback
        """
        async with self._store.read() as tx:
            session = await tx.interactive.get(_digest(session_id))
        if session is None or session.used or session.expires_ms <= self._clock.now_ms():
            raise MatrixError(ErrCode.FORBIDDEN, "This authentication session has ended")
        if type_ in session.completed:
            return
        stage = self._stages[type_]
        result = await stage.check(auth, Operation(session.operation, session.user_id, {}))
        async with self._store.write() as tx:
            await stage.record(tx, result)
            if not await tx.interactive.save(
                session.digest, {**session.completed, type_: result}, session.body_mac, None
            ):
                raise _used()

    async def _attempt(
        self, type_: str, auth: Mapping[str, Any], operation: Operation, flows: Sequence[Flow]
    ) -> tuple[Stage, str]:
        for flow in flows:
            for stage in flow:
                if stage.type == type_:
                    return stage, await stage.check(auth, operation)
        raise MatrixError(ErrCode.UNRECOGNIZED, "This way to authenticate is not offered here")

    async def _find(self, session_id: str, operation: Operation) -> InteractiveSession | None:
        """The session, if it is still good for anything. Raises FORBIDDEN if it belongs to something else."""
        async with self._store.read() as tx:
            session = await tx.interactive.get(_digest(session_id))
        if session is None or session.expires_ms <= self._clock.now_ms():
            return None
        if session.operation != operation.name or session.user_id != operation.user_id:
            raise MatrixError(ErrCode.FORBIDDEN, "This authentication session belongs to another request")
        mac = _mac(session_id, operation.body)
        if session.body_mac is not None and not hmac.compare_digest(session.body_mac, mac):
            raise MatrixError(ErrCode.FORBIDDEN, "The request has changed since its authentication began")
        if session.used:
            raise _used()
        return session

    async def _save(
        self, operation: Operation, session_id: str | None, completed: Mapping[str, str], fresh: Sequence[Stage]
    ) -> str:
        """Store a completed stage. From the first one on, the session is bound to its request's body."""
        if session_id is None:
            session_id, session = self._new(operation, completed)
            async with self._store.write() as tx:
                for stage in fresh:
                    await stage.record(tx, completed[stage.type])
                await tx.interactive.create(session)
            return session_id
        async with self._store.write() as tx:
            for stage in fresh:
                await stage.record(tx, completed[stage.type])
            mac = _mac(session_id, operation.body)
            body = _sealed(session_id, operation)
            if not await tx.interactive.save(_digest(session_id), completed, mac, body):
                raise _used()
        return session_id

    async def _challenge(
        self,
        operation: Operation,
        flows: Sequence[Flow],
        session_id: str | None,
        completed: Mapping[str, str] | None = None,
        failure: MatrixError | None = None,
    ) -> AuthenticationRequired:
        if session_id is None:
            await self._purge()
            session_id, session = self._new(operation, {})
            async with self._store.write() as tx:
                await tx.interactive.create(session)
        stages = {stage.type: stage for flow in flows for stage in flow}
        params = {type_: params for type_, stage in stages.items() if (params := stage.params()) is not None}
        members: dict[str, Any] = {
            "flows": [{"stages": [stage.type for stage in flow]} for flow in flows],
            "params": params,
            "session": session_id,
        }
        if completed or failure is not None:
            members["completed"] = list(completed or ())
        return AuthenticationRequired(members, failure)

    def _new(self, operation: Operation, completed: Mapping[str, str]) -> tuple[str, InteractiveSession]:
        session_id = self._entropy.token(16)
        # Clients may ask for the flows with an empty body and only then say what they want.
        bound = completed or any(name != "auth" for name in operation.body)
        mac = _mac(session_id, operation.body) if bound else None
        expires_ms = self._clock.now_ms() + self._settings.lifetime_ms
        session = InteractiveSession(
            _digest(session_id),
            operation.name,
            operation.user_id,
            mac,
            completed,
            False,
            expires_ms,
            _sealed(session_id, operation) if bound else None,
        )
        return session_id, session

    async def expire(self) -> int:
        """Forget some old sessions and give back what their stages had reserved; returns how many are gone."""
        async with self._store.write() as tx:
            gone = await tx.interactive.purge(self._clock.now_ms(), self._settings.max_sessions, limit=_STEP)
            for session in gone:
                if session.used:
                    continue
                for type_, result in session.completed.items():
                    if type_ in self._stages:
                        await self._stages[type_].settle(tx, result, succeeded=False)
        return len(gone)

    async def _purge(self) -> None:
        """Forget old sessions, now and then."""
        now_ms = self._clock.now_ms()
        if now_ms - self._purged_ms >= _PURGE_EVERY_MS:
            self._purged_ms = now_ms
            await self.expire()


def _key(session_id: str) -> bytes:
    return blake2b(session_id.encode("utf-8", "surrogatepass"), digest_size=SecretBox.KEY_SIZE, person=b"body").digest()


def _sealed(session_id: str, operation: Operation) -> bytes | None:
    """The body of a request that keeps it: nobody who has not the session's id can read it."""
    rest = {name: value for name, value in operation.body.items() if name != "auth"}
    data = orjson.dumps(rest)
    if not operation.keeps or not rest or len(data) > _MAX_KEPT:
        return None
    key = _key(session_id)
    # Made of key and text: the same one comes again for the same text only.
    nonce = blake2b(data, digest_size=SecretBox.NONCE_SIZE, key=key, person=b"nonce").digest()
    return bytes(SecretBox(key).encrypt(data, nonce))


def _unsealed(session_id: str, sealed: bytes) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(SecretBox(_key(session_id)).decrypt(sealed))
    return body


def _session_of(operation: Operation) -> str | None:
    auth = operation.body.get("auth")
    session_id = auth.get("session") if isinstance(auth, dict) else None
    return session_id if isinstance(session_id, str) else None


def _used() -> MatrixError:
    return MatrixError(ErrCode.FORBIDDEN, "This authentication session has been used already")


def _digest(session_id: str) -> bytes:
    return sha256(session_id.encode("utf-8", "surrogatepass")).digest()


def _mac(session_id: str, body: Mapping[str, Any]) -> bytes:
    """MAC of the body without `auth`."""
    rest = {name: value for name, value in body.items() if name != "auth"}
    data = orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)
    return hmac.digest(session_id.encode("utf-8", "surrogatepass"), data, "sha256")
