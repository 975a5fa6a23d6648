"""Sessions, interactive authentication and registration tokens. Implements the ports of ports/accounts.

Every "exactly one" of these ports is a single conditional statement whose row count decides, so it holds on both
databases and between processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import delete, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from homeserver.ports.accounts import InteractiveSession, RegistrationToken, Session, User
from homeserver.storage.dialect import Sql, in_texts, json_texts
from homeserver.storage.repos.accounts import user_of
from homeserver.storage.schema.accounts import (
    interactive_sessions,
    login_tokens,
    refresh_tokens,
    registration_tokens,
    sessions,
    users,
)

if TYPE_CHECKING:
    from homeserver.ports.accounts import InteractiveRepo, RegistrationTokenRepo, SessionRepo

_PUT_REGISTRATION_TOKEN = text(
    "INSERT INTO registration_tokens (token, uses_allowed, pending, completed, expires_ms)"
    " VALUES (:token, :uses_allowed, :pending, :completed, :expires_ms)"
    " ON CONFLICT (token) DO UPDATE SET uses_allowed = excluded.uses_allowed, expires_ms = excluded.expires_ms"
)
_EXISTING = Sql("SELECT session_id FROM sessions WHERE {ids}", ids=in_texts("session_id", "ids"))


class SqlSessionRepo:
    """Sessions, refresh tokens and login tokens (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, session: Session) -> None:
        await self._connection.execute(insert(sessions).values(**asdict(session)))

    async def get(self, session_id: str) -> tuple[Session, User] | None:
        query = (
            select(sessions, *[column for column in users.c if column.name != "user_id"])
            .join(users, users.c.user_id == sessions.c.user_id)
            .where(sessions.c.session_id == session_id)
        )
        row = (await self._connection.execute(query)).first()
        return None if row is None else (_session(row), user_of(row))

    async def delete(
        self, user_id: str, *, device_ids: Collection[str] | None = None, but: str | None = None
    ) -> list[Session]:
        query = delete(sessions).where(sessions.c.user_id == user_id)
        if device_ids is not None:
            query = query.where(sessions.c.device_id.in_(list(device_ids)))
        if but is not None:
            query = query.where(sessions.c.session_id != but)
        gone = [_session(row) for row in await self._connection.execute(query.returning(*sessions.c))]
        if gone:
            ids = [session.session_id for session in gone]
            await self._connection.execute(delete(refresh_tokens).where(refresh_tokens.c.session_id.in_(ids)))
        return gone

    async def existing(self, session_ids: Collection[str]) -> set[str]:
        rows = await _EXISTING.rows(self._connection, ids=json_texts(session_ids))
        return {row.session_id for row in rows}

    async def lock(self, session_id: str) -> Session | None:
        # SQLite has no row locks and needs none: its write transactions exclude each other.
        query = select(sessions).where(sessions.c.session_id == session_id).with_for_update()
        row = (await self._connection.execute(query)).first()
        return None if row is None else _session(row)

    async def confirm(self, session_id: str, generation: int) -> bool:
        of_session = refresh_tokens.c.session_id == session_id
        query = select(refresh_tokens.c.digest).where(of_session, refresh_tokens.c.generation == generation)
        if (await self._connection.execute(query)).first() is None:
            return False
        await self._connection.execute(
            update(sessions)
            .where(sessions.c.session_id == session_id, sessions.c.confirmed < generation)
            .values(confirmed=generation)
        )
        await self._connection.execute(
            delete(refresh_tokens).where(of_session, refresh_tokens.c.generation > generation)
        )
        return True

    async def issue(self, session_id: str, generation: int, digest: bytes, *, expires_ms: int, keep: int) -> None:
        await self._connection.execute(
            update(sessions).where(sessions.c.session_id == session_id).values(issued=generation)
        )
        await self._connection.execute(
            insert(refresh_tokens).values(
                digest=digest, session_id=session_id, generation=generation, expires_ms=expires_ms
            )
        )
        await self._connection.execute(
            delete(refresh_tokens).where(
                refresh_tokens.c.session_id == session_id, refresh_tokens.c.generation < generation - keep
            )
        )

    async def by_refresh_token(self, digest: bytes, now_ms: int) -> tuple[str, int] | None:
        query = select(refresh_tokens.c.session_id, refresh_tokens.c.generation).where(
            refresh_tokens.c.digest == digest, refresh_tokens.c.expires_ms > now_ms
        )
        row = (await self._connection.execute(query)).first()
        return None if row is None else (row.session_id, row.generation)

    async def add_login_token(self, digest: bytes, user_id: str, expires_ms: int, now_ms: int) -> None:
        await self._connection.execute(delete(login_tokens).where(login_tokens.c.expires_ms <= now_ms))
        await self._connection.execute(
            insert(login_tokens).values(digest=digest, user_id=user_id, expires_ms=expires_ms)
        )

    async def take_login_token(self, digest: bytes, now_ms: int) -> str | None:
        query = (
            delete(login_tokens)
            .where(login_tokens.c.digest == digest)
            .returning(login_tokens.c.user_id, login_tokens.c.expires_ms)
        )
        row = (await self._connection.execute(query)).first()
        return None if row is None or row.expires_ms <= now_ms else str(row.user_id)

    async def prune(self, now_ms: int, limit: int) -> int:
        old = select(login_tokens.c.digest).where(login_tokens.c.expires_ms <= now_ms).limit(limit)
        gone = (await self._connection.execute(delete(login_tokens).where(login_tokens.c.digest.in_(old)))).rowcount
        old = select(refresh_tokens.c.digest).where(refresh_tokens.c.expires_ms <= now_ms).limit(limit - gone)
        query = delete(refresh_tokens).where(refresh_tokens.c.digest.in_(old)).returning(refresh_tokens.c.session_id)
        ended = [row.session_id for row in await self._connection.execute(query)]
        if ended:
            left = select(refresh_tokens.c.digest).where(refresh_tokens.c.session_id == sessions.c.session_id)
            # A client that stopped refreshing has an access token that went long before its refresh token.
            await self._connection.execute(
                delete(sessions).where(sessions.c.session_id.in_(ended), sessions.c.refreshable, ~left.exists())
            )
        return gone + len(ended)


class SqlInteractiveRepo:
    """User-interactive authentication sessions (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, session: InteractiveSession) -> None:
        values = {**asdict(session), "completed": orjson.dumps(session.completed)}
        await self._connection.execute(insert(interactive_sessions).values(**values))

    async def get(self, digest: bytes) -> InteractiveSession | None:
        query = select(interactive_sessions).where(interactive_sessions.c.digest == digest)
        row = (await self._connection.execute(query)).first()
        return None if row is None else _interactive(row)

    async def save(self, digest: bytes, completed: Mapping[str, str], body_mac: bytes | None) -> bool:
        query = (
            update(interactive_sessions)
            .where(interactive_sessions.c.digest == digest, interactive_sessions.c.used.is_(False))
            .values(completed=orjson.dumps(completed), body_mac=body_mac)
        )
        return (await self._connection.execute(query)).rowcount == 1

    async def claim(self, digest: bytes) -> bool:
        query = (
            update(interactive_sessions)
            .where(interactive_sessions.c.digest == digest, interactive_sessions.c.used.is_(False))
            .values(used=True)
        )
        return (await self._connection.execute(query)).rowcount == 1

    async def purge(self, now_ms: int, keep: int, *, limit: int) -> list[InteractiveSession]:
        table = interactive_sessions.c
        newest = select(table.expires_ms).order_by(table.expires_ms.desc()).offset(keep).limit(1)
        overflow = (await self._connection.execute(newest)).scalar()
        old = (
            select(table.digest)
            .where(table.expires_ms <= max(now_ms, overflow or 0))
            .order_by(table.expires_ms)
            .limit(limit)
        )
        query = delete(interactive_sessions).where(table.digest.in_(old)).returning(*table)
        return [_interactive(row) for row in await self._connection.execute(query)]


class SqlRegistrationTokenRepo:
    """Registration tokens (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, token: str) -> RegistrationToken | None:
        query = select(registration_tokens).where(registration_tokens.c.token == token)
        row = (await self._connection.execute(query)).first()
        return None if row is None else RegistrationToken(*row)

    async def all(self) -> list[RegistrationToken]:
        query = select(registration_tokens).order_by(registration_tokens.c.token)
        return [RegistrationToken(*row) for row in await self._connection.execute(query)]

    async def put(self, token: RegistrationToken) -> None:
        await self._connection.execute(_PUT_REGISTRATION_TOKEN, asdict(token))

    async def delete(self, token: str) -> bool:
        query = delete(registration_tokens).where(registration_tokens.c.token == token)
        return (await self._connection.execute(query)).rowcount == 1

    async def reserve(self, token: str, now_ms: int) -> bool:
        table = registration_tokens.c
        query = (
            update(registration_tokens)
            .where(
                table.token == token,
                or_(table.uses_allowed.is_(None), table.pending + table.completed < table.uses_allowed),
                or_(table.expires_ms.is_(None), table.expires_ms > now_ms),
            )
            .values(pending=table.pending + 1)
        )
        return (await self._connection.execute(query)).rowcount == 1

    async def release(self, token: str, *, completed: bool) -> None:
        table = registration_tokens.c
        await self._connection.execute(
            update(registration_tokens)
            .where(table.token == token, table.pending > 0)
            .values(pending=table.pending - 1, completed=table.completed + int(completed))
        )


def _session(row: Any) -> Session:
    return Session(**{name: getattr(row, name) for name in Session.__dataclass_fields__})


def _interactive(row: Any) -> InteractiveSession:
    values = {name: getattr(row, name) for name in InteractiveSession.__dataclass_fields__}
    return InteractiveSession(**{**values, "completed": orjson.loads(row.completed)})


if TYPE_CHECKING:

    def _sessions(repo: SqlSessionRepo) -> SessionRepo:
        return repo

    def _interactives(repo: SqlInteractiveRepo) -> InteractiveRepo:
        return repo

    def _registration_tokens(repo: SqlRegistrationTokenRepo) -> RegistrationTokenRepo:
        return repo
