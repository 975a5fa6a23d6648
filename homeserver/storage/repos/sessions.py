"""Sessions, interactive authentication and registration tokens. Implements the ports of ports/accounts.

Every "exactly one" of these ports is a single conditional statement whose row count decides, so it holds on both
databases and between processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from homeserver.ports.accounts import (
    InteractiveRepo,
    InteractiveSession,
    RegistrationToken,
    RegistrationTokenRepo,
    Session,
    SessionRepo,
    User,
)
from homeserver.storage.dialect import FOR_UPDATE, Connection, Sql, in_texts, json_texts
from homeserver.storage.repos.accounts import USERS
from homeserver.storage.repos.columns import Columns

_SESSIONS = Columns(Session)
_INTERACTIVE = Columns(InteractiveSession)
_TOKENS = Columns(RegistrationToken)

_CREATE = Sql(f"INSERT INTO sessions ({_SESSIONS.names}) VALUES ({_SESSIONS.parameters})")
_WITH_USER = Sql(
    f"SELECT {_SESSIONS.names}, {USERS.names} FROM sessions JOIN users USING (user_id) WHERE session_id = :session_id"
)
_DELETE = Sql(
    """DELETE FROM sessions WHERE user_id = :user_id AND (CAST(:device_ids AS text) IS NULL OR {of_devices})
        AND (CAST(:but AS text) IS NULL OR session_id <> :but)
    RETURNING """
    + _SESSIONS.names,
    of_devices=in_texts("device_id", "device_ids"),
)
_DELETE_THEIR_REFRESH_TOKENS = Sql("DELETE FROM refresh_tokens WHERE {ids}", ids=in_texts("session_id", "ids"))
_EXISTING = Sql("SELECT session_id FROM sessions WHERE {ids}", ids=in_texts("session_id", "ids"))
_LOCK = Sql(
    f"SELECT {_SESSIONS.names} FROM sessions WHERE session_id = :session_id" + "{for_update}", for_update=FOR_UPDATE
)

_KNOWS_GENERATION = Sql("SELECT digest FROM refresh_tokens WHERE session_id = :session_id AND generation = :generation")
_SET_CONFIRMED = Sql(
    "UPDATE sessions SET confirmed = :generation WHERE session_id = :session_id AND confirmed < :generation"
)
_FORGET_NEWER = Sql("DELETE FROM refresh_tokens WHERE session_id = :session_id AND generation > :generation")
_SET_ISSUED = Sql("UPDATE sessions SET issued = :generation WHERE session_id = :session_id")
_ADD_REFRESH_TOKEN = Sql(
    """INSERT INTO refresh_tokens (digest, session_id, generation, expires_ms)
    VALUES (:digest, :session_id, :generation, :expires_ms)"""
)
_FORGET_OLDER = Sql("DELETE FROM refresh_tokens WHERE session_id = :session_id AND generation < :oldest")
_BY_REFRESH_TOKEN = Sql(
    "SELECT session_id, generation FROM refresh_tokens WHERE digest = :digest AND expires_ms > :now_ms"
)

_FORGET_EXPIRED_LOGIN_TOKENS = Sql("DELETE FROM login_tokens WHERE expires_ms <= :now_ms")
_ADD_LOGIN_TOKEN = Sql("INSERT INTO login_tokens (digest, user_id, expires_ms) VALUES (:digest, :user_id, :expires_ms)")
_TAKE_LOGIN_TOKEN = Sql("DELETE FROM login_tokens WHERE digest = :digest RETURNING user_id, expires_ms")

_PRUNE_LOGIN_TOKENS = Sql(
    """DELETE FROM login_tokens
    WHERE digest IN (SELECT digest FROM login_tokens WHERE expires_ms <= :now_ms LIMIT :count)"""
)
_PRUNE_REFRESH_TOKENS = Sql(
    """DELETE FROM refresh_tokens
    WHERE digest IN (SELECT digest FROM refresh_tokens WHERE expires_ms <= :now_ms LIMIT :count)
    RETURNING session_id"""
)
# A client that stopped refreshing has an access token that went long before its refresh token.
_END_WITHOUT_TOKENS = Sql(
    """DELETE FROM sessions WHERE {ids} AND refreshable
        AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.session_id = sessions.session_id)""",
    ids=in_texts("session_id", "ids"),
)

_BEGIN_INTERACTIVE = Sql(f"INSERT INTO interactive_sessions ({_INTERACTIVE.names}) VALUES ({_INTERACTIVE.parameters})")
_GET_INTERACTIVE = Sql(f"SELECT {_INTERACTIVE.names} FROM interactive_sessions WHERE digest = :digest")
_SAVE_INTERACTIVE = Sql(
    """UPDATE interactive_sessions SET completed = :completed, body_mac = :body_mac,
        body = coalesce(:body, body)
    WHERE digest = :digest AND NOT used"""
)
_CLAIM_INTERACTIVE = Sql("UPDATE interactive_sessions SET used = true WHERE digest = :digest AND NOT used")
_NEWEST_TOO_MANY = Sql("SELECT expires_ms FROM interactive_sessions ORDER BY expires_ms DESC LIMIT 1 OFFSET :keep")
_PURGE_INTERACTIVE = Sql(
    f"""DELETE FROM interactive_sessions WHERE digest IN (SELECT digest FROM interactive_sessions
        WHERE expires_ms <= :until_ms ORDER BY expires_ms LIMIT :count)
    RETURNING {_INTERACTIVE.names}"""
)

_GET_TOKEN = Sql(f"SELECT {_TOKENS.names} FROM registration_tokens WHERE token = :token")
_ALL_TOKENS = Sql(f"SELECT {_TOKENS.names} FROM registration_tokens ORDER BY token")
_PUT_TOKEN = Sql(
    f"""INSERT INTO registration_tokens ({_TOKENS.names}) VALUES ({_TOKENS.parameters})
    ON CONFLICT (token) DO UPDATE SET uses_allowed = excluded.uses_allowed, expires_ms = excluded.expires_ms"""
)
_DELETE_TOKEN = Sql("DELETE FROM registration_tokens WHERE token = :token")
_RESERVE = Sql(
    """UPDATE registration_tokens SET pending = pending + 1
    WHERE token = :token AND (uses_allowed IS NULL OR pending + completed < uses_allowed)
        AND (expires_ms IS NULL OR expires_ms > :now_ms)"""
)
_RELEASE = Sql(
    """UPDATE registration_tokens SET pending = pending - 1, completed = completed + :completed
    WHERE token = :token AND pending > 0"""
)


class SqlSessionRepo(SessionRepo):
    """Sessions, refresh tokens and login tokens (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, session: Session) -> None:
        await _CREATE.run(self._connection, **asdict(session))

    async def get(self, session_id: str) -> tuple[Session, User] | None:
        row = await _WITH_USER.first(self._connection, session_id=session_id)
        if row is None:
            return None
        return _SESSIONS.record(row[: _SESSIONS.count]), USERS.record(row[_SESSIONS.count :])

    async def delete(
        self, user_id: str, *, device_ids: Collection[str] | None = None, but: str | None = None
    ) -> list[Session]:
        devices = None if device_ids is None else json_texts(device_ids)
        rows = await _DELETE.rows(self._connection, user_id=user_id, device_ids=devices, but=but)
        gone = [_SESSIONS.record(row) for row in rows]
        if gone:
            ids = json_texts(session.session_id for session in gone)
            await _DELETE_THEIR_REFRESH_TOKENS.run(self._connection, ids=ids)
        return gone

    async def existing(self, session_ids: Collection[str]) -> set[str]:
        return {row[0] for row in await _EXISTING.rows(self._connection, ids=json_texts(session_ids))}

    async def lock(self, session_id: str) -> Session | None:
        row = await _LOCK.first(self._connection, session_id=session_id)
        return None if row is None else _SESSIONS.record(row)

    async def confirm(self, session_id: str, generation: int) -> bool:
        this = {"session_id": session_id, "generation": generation}
        if await _KNOWS_GENERATION.first(self._connection, **this) is None:
            return False
        await _SET_CONFIRMED.run(self._connection, **this)
        await _FORGET_NEWER.run(self._connection, **this)
        return True

    async def issue(self, session_id: str, generation: int, digest: bytes, *, expires_ms: int, keep: int) -> None:
        this = {"session_id": session_id, "generation": generation}
        await _SET_ISSUED.run(self._connection, **this)
        await _ADD_REFRESH_TOKEN.run(self._connection, **this, digest=digest, expires_ms=expires_ms)
        await _FORGET_OLDER.run(self._connection, session_id=session_id, oldest=generation - keep)

    async def by_refresh_token(self, digest: bytes, now_ms: int) -> tuple[str, int] | None:
        row = await _BY_REFRESH_TOKEN.first(self._connection, digest=digest, now_ms=now_ms)
        return None if row is None else (row[0], row[1])

    async def add_login_token(self, digest: bytes, user_id: str, expires_ms: int, now_ms: int) -> None:
        await _FORGET_EXPIRED_LOGIN_TOKENS.run(self._connection, now_ms=now_ms)
        await _ADD_LOGIN_TOKEN.run(self._connection, digest=digest, user_id=user_id, expires_ms=expires_ms)

    async def take_login_token(self, digest: bytes, now_ms: int) -> str | None:
        row = await _TAKE_LOGIN_TOKEN.first(self._connection, digest=digest)
        if row is None:
            return None
        user_id, expires_ms = row
        return str(user_id) if expires_ms > now_ms else None

    async def prune(self, now_ms: int, limit: int) -> int:
        gone = await _PRUNE_LOGIN_TOKENS.run(self._connection, now_ms=now_ms, count=limit)
        rows = await _PRUNE_REFRESH_TOKENS.rows(self._connection, now_ms=now_ms, count=limit - gone)
        if rows:
            await _END_WITHOUT_TOKENS.run(self._connection, ids=json_texts(row[0] for row in rows))
        return gone + len(rows)


class SqlInteractiveRepo(InteractiveRepo):
    """User-interactive authentication sessions (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, session: InteractiveSession) -> None:
        values = {**asdict(session), "completed": orjson.dumps(session.completed)}
        await _BEGIN_INTERACTIVE.run(self._connection, **values)

    async def get(self, digest: bytes) -> InteractiveSession | None:
        row = await _GET_INTERACTIVE.first(self._connection, digest=digest)
        return None if row is None else _interactive(row)

    async def save(
        self, digest: bytes, completed: Mapping[str, str], body_mac: bytes | None, body: bytes | None
    ) -> bool:
        saved = await _SAVE_INTERACTIVE.run(
            self._connection, digest=digest, completed=orjson.dumps(completed), body_mac=body_mac, body=body
        )
        return saved == 1

    async def claim(self, digest: bytes) -> bool:
        return await _CLAIM_INTERACTIVE.run(self._connection, digest=digest) == 1

    async def purge(self, now_ms: int, keep: int, *, limit: int) -> list[InteractiveSession]:
        row = await _NEWEST_TOO_MANY.first(self._connection, keep=keep)
        until_ms = now_ms if row is None else max(now_ms, row[0])
        rows = await _PURGE_INTERACTIVE.rows(self._connection, until_ms=until_ms, count=limit)
        return [_interactive(row) for row in rows]


class SqlRegistrationTokenRepo(RegistrationTokenRepo):
    """Registration tokens (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, token: str) -> RegistrationToken | None:
        row = await _GET_TOKEN.first(self._connection, token=token)
        return None if row is None else _TOKENS.record(row)

    async def all(self) -> list[RegistrationToken]:
        return [_TOKENS.record(row) for row in await _ALL_TOKENS.rows(self._connection)]

    async def put(self, token: RegistrationToken) -> None:
        await _PUT_TOKEN.run(self._connection, **asdict(token))

    async def delete(self, token: str) -> bool:
        return await _DELETE_TOKEN.run(self._connection, token=token) == 1

    async def reserve(self, token: str, now_ms: int) -> bool:
        return await _RESERVE.run(self._connection, token=token, now_ms=now_ms) == 1

    async def release(self, token: str, *, completed: bool) -> None:
        await _RELEASE.run(self._connection, token=token, completed=int(completed))


def _interactive(row: Any) -> InteractiveSession:
    digest, operation, user_id, body_mac, completed, used, expires_ms, body = row
    return InteractiveSession(
        digest, operation, user_id, body_mac, orjson.loads(completed), bool(used), expires_ms, body
    )
