"""SQL for `ports.support`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from homeserver.ports.support import Case, CaseTimes, Site, SupportRepo, Visitor
from homeserver.storage.dialect import FOR_UPDATE, Connection, Sql, in_texts, json_texts
from homeserver.storage.repos.columns import Columns

_SITES, _VISITORS, _CASES = Columns(Site), Columns(Visitor), Columns(Case)
_MOST_OPEN = 1_000
_MOST_OF_VISITOR = 100
_CURSOR = "support_cursor"
_NO_NUMBER = 2**62


def _upsert(table: str, columns: Columns[Any], key: str) -> Sql:
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns.names.split(", ") if name != key)
    return Sql(
        f"INSERT INTO {table} ({columns.names}) VALUES ({columns.parameters}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {changes}"
    )


_ADD_SITE = Sql(f"INSERT INTO support_sites ({_SITES.names}) VALUES ({_SITES.parameters})")
_SITE = Sql(f"SELECT {_SITES.names} FROM support_sites WHERE site_id = :site_id")
_ALL_SITES = Sql(f"SELECT {_SITES.names} FROM support_sites ORDER BY site_id")
_SET_CONFIG = Sql("UPDATE support_sites SET config = :config WHERE site_id = :site_id")
_SEEN = Sql("UPDATE support_sites SET seen_ms = :now_ms, seen_origin = :origin WHERE site_id = :site_id")
_COUNT_CASE = Sql("UPDATE support_sites SET last_case = last_case + 1 WHERE site_id = :site_id")
_LAST_CASE = Sql("SELECT last_case FROM support_sites WHERE site_id = :site_id")
_COUNT_TURN = Sql("UPDATE support_sites SET turn = turn + 1 WHERE site_id = :site_id")
_TURN = Sql("SELECT turn FROM support_sites WHERE site_id = :site_id")
_DELETE_SITE = Sql("DELETE FROM support_sites WHERE site_id = :site_id")
_DELETE_CASES = Sql("DELETE FROM support_cases WHERE site_id = :site_id")
_DELETE_JTIS = Sql("DELETE FROM support_jtis WHERE site_id = :site_id")

_PUT_VISITOR = _upsert("support_visitors", _VISITORS, "user_id")
_VISITOR = f"SELECT {_VISITORS.names} FROM support_visitors WHERE "
_BY_ID = Sql(_VISITOR + "user_id = :user_id")
_BY_SUBJECT = Sql(_VISITOR + "site_id = :site_id AND subject = :subject")
_BY_BEGUN = Sql(_VISITOR + "begun = :begun")
_IDLE = Sql(_VISITOR + "site_id = :site_id AND seen_ms < :before_ms ORDER BY seen_ms LIMIT :count")
# Who has made the account one of their own is logged in as everybody is.
_IDLE_SESSIONS = Sql(
    _VISITOR + "site_id = :site_id AND seen_ms < :before_ms AND subject IS NULL "
    "AND EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = support_visitors.user_id) "
    "AND EXISTS (SELECT 1 FROM users u WHERE u.user_id = support_visitors.user_id AND u.site_id IS NOT NULL) "
    "ORDER BY seen_ms LIMIT :count"
)
_OF_SITE = Sql(_VISITOR + "site_id = :site_id ORDER BY seen_ms LIMIT :count")
_DELETE_VISITOR = Sql("DELETE FROM support_visitors WHERE user_id = :user_id")

_PUT_CASE = _upsert("support_cases", _CASES, "room_id")
_CASE = f"SELECT {_CASES.names} FROM support_cases WHERE "
_BY_ROOM = Sql(_CASE + "room_id = :room_id")
_LOCK_CASE = Sql(_CASE + "room_id = :room_id{for_update}", for_update=FOR_UPDATE)
_UNMAILED = Sql(
    _CASE + "site_id = :site_id AND said_ms BETWEEN :since_ms AND :before_ms "
    "AND (mailed_ms IS NULL OR mailed_ms < said_ms) ORDER BY said_ms LIMIT :count"
)
_MAILED = Sql(
    "UPDATE support_cases SET mailed_ms = :said_ms "
    "WHERE room_id = :room_id AND (mailed_ms IS NULL OR mailed_ms < :said_ms)"
)
_BY_ROOMS = Sql(_CASE + "{rooms}", rooms=in_texts("room_id", "room_ids"))
_BY_CARD = Sql(_CASE + "card_id = :card_id")
_BY_NUMBER = Sql(_CASE + "site_id = :site_id AND number = :number")
_OPEN = Sql(_CASE + "site_id = :site_id AND status IN ('new', 'open', 'pending') ORDER BY number LIMIT :count")
_BLOCKED = Sql(
    _CASE + "site_id = :site_id AND status = 'blocked' AND number < :below ORDER BY number DESC LIMIT :count"
)
_RECENT = Sql(
    "SELECT opened_ms, answered_ms, rating FROM support_cases WHERE site_id = :site_id AND opened_ms >= :since_ms "
    "ORDER BY number DESC LIMIT :count"
)
# Who is shut out stays so as long as they are known.
_ENDED = Sql(
    _CASE + "site_id = :site_id AND changed_ms < :before_ms AND (status = 'resolved' OR status = 'blocked' "
    "AND NOT EXISTS (SELECT 1 FROM support_visitors v WHERE v.user_id = support_cases.visitor_id)) "
    "ORDER BY changed_ms LIMIT :count"
)
_DELETE_CASE = Sql("DELETE FROM support_cases WHERE room_id = :room_id AND changed_ms = :changed_ms")
_NO_ROOM = Sql("UPDATE support_visitors SET room_id = NULL WHERE user_id = :user_id AND room_id = :room_id")
_ROOMS = Sql("SELECT room_id FROM support_cases")
_OF_VISITOR = Sql(_CASE + "visitor_id = :visitor_id ORDER BY number DESC LIMIT :count")

_USE_JTI = Sql(
    "INSERT INTO support_jtis (site_id, jti, expires_ms) VALUES (:site_id, :jti, :expires_ms) ON CONFLICT DO NOTHING"
)
_EXPIRE_JTIS = Sql("DELETE FROM support_jtis WHERE expires_ms < :now_ms")
_BLOCK_ADDRESS = Sql(
    "INSERT INTO support_blocked_addresses (site_id, digest, number, until_ms) "
    "VALUES (:site_id, :digest, :number, :until_ms) "
    "ON CONFLICT (site_id, digest, number) DO UPDATE SET until_ms = :until_ms"
)
_UNBLOCK_ADDRESSES = Sql("DELETE FROM support_blocked_addresses WHERE site_id = :site_id AND number = :number")
_BLOCKED_UNTIL = Sql(
    "SELECT max(until_ms) FROM support_blocked_addresses WHERE site_id = :site_id AND digest = :digest"
)
_BLOCKED_BY_CASE = Sql(
    "SELECT number, max(until_ms) FROM support_blocked_addresses WHERE site_id = :site_id GROUP BY number"
)
_DELETE_ADDRESSES = Sql("DELETE FROM support_blocked_addresses WHERE site_id = :site_id")
_ADDRESSES_DUE = Sql("SELECT 1 FROM support_blocked_addresses WHERE until_ms < :now_ms LIMIT 1")
_FORGET_ADDRESSES = Sql("DELETE FROM support_blocked_addresses WHERE until_ms < :now_ms")
_GET_CURSOR = Sql(f"SELECT value FROM counters WHERE name = '{_CURSOR}'")
_SET_CURSOR = Sql(
    f"INSERT INTO counters (name, value) VALUES ('{_CURSOR}', :position) "
    "ON CONFLICT (name) DO UPDATE SET value = :position"
)


class SqlSupportRepo(SupportRepo):
    """Implements `ports.support.SupportRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add_site(self, site: Site) -> None:
        await _ADD_SITE.run(self._connection, **asdict(site))

    async def site(self, site_id: str) -> Site | None:
        row = await _SITE.first(self._connection, site_id=site_id)
        return None if row is None else _SITES.record(row)

    async def sites(self) -> list[Site]:
        return [_SITES.record(row) for row in await _ALL_SITES.rows(self._connection)]

    async def set_config(self, site_id: str, config: bytes) -> bool:
        return await _SET_CONFIG.run(self._connection, site_id=site_id, config=config) == 1

    async def seen_site(self, site_id: str, now_ms: int, origin: str) -> None:
        await _SEEN.run(self._connection, site_id=site_id, now_ms=now_ms, origin=origin)

    async def next_case(self, site_id: str) -> int:
        await _COUNT_CASE.run(self._connection, site_id=site_id)
        return int((await _LAST_CASE.first(self._connection, site_id=site_id))[0])

    async def next_turn(self, site_id: str) -> int:
        await _COUNT_TURN.run(self._connection, site_id=site_id)
        return int((await _TURN.first(self._connection, site_id=site_id))[0]) - 1

    async def delete_site(self, site_id: str) -> None:
        for statement in (_DELETE_JTIS, _DELETE_ADDRESSES, _DELETE_CASES, _DELETE_SITE):
            await statement.run(self._connection, site_id=site_id)

    async def put_visitor(self, visitor: Visitor) -> None:
        await _PUT_VISITOR.run(self._connection, **asdict(visitor))

    async def visitor(self, user_id: str) -> Visitor | None:
        return await self._visitor(_BY_ID, user_id=user_id)

    async def visitor_of(self, site_id: str, subject: str) -> Visitor | None:
        return await self._visitor(_BY_SUBJECT, site_id=site_id, subject=subject)

    async def visitor_begun(self, begun: bytes) -> Visitor | None:
        return await self._visitor(_BY_BEGUN, begun=begun)

    async def _visitor(self, statement: Sql, **parameters: Any) -> Visitor | None:
        row = await statement.first(self._connection, **parameters)
        return None if row is None else _VISITORS.record(row)

    async def idle_visitors(self, site_id: str, before_ms: int, limit: int) -> list[Visitor]:
        rows = await _IDLE.rows(self._connection, site_id=site_id, before_ms=before_ms, count=limit)
        return [_VISITORS.record(row) for row in rows]

    async def idle_sessions(self, site_id: str, before_ms: int, limit: int) -> list[Visitor]:
        rows = await _IDLE_SESSIONS.rows(self._connection, site_id=site_id, before_ms=before_ms, count=limit)
        return [_VISITORS.record(row) for row in rows]

    async def visitors_of(self, site_id: str, limit: int) -> list[Visitor]:
        rows = await _OF_SITE.rows(self._connection, site_id=site_id, count=limit)
        return [_VISITORS.record(row) for row in rows]

    async def delete_visitor(self, user_id: str) -> None:
        await _DELETE_VISITOR.run(self._connection, user_id=user_id)

    async def put_case(self, case: Case) -> None:
        excerpt = self._connection.sealing.seal_text(case.excerpt, "excerpt")
        await _PUT_CASE.run(self._connection, **{**asdict(case), "excerpt": excerpt})

    async def case(self, room_id: str) -> Case | None:
        return await self._case(_BY_ROOM, room_id=room_id)

    async def lock_case(self, room_id: str) -> Case | None:
        return await self._case(_LOCK_CASE, room_id=room_id)

    async def case_of_card(self, card_id: str) -> Case | None:
        return await self._case(_BY_CARD, card_id=card_id)

    async def case_numbered(self, site_id: str, number: int) -> Case | None:
        return await self._case(_BY_NUMBER, site_id=site_id, number=number)

    async def _case(self, statement: Sql, **parameters: Any) -> Case | None:
        row = await statement.first(self._connection, **parameters)
        return None if row is None else self._record(row)

    def _record(self, row: Any) -> Case:
        case = _CASES.record(row)
        return replace(case, excerpt=self._connection.sealing.open_text(case.excerpt, "excerpt"))

    async def cases(self, room_ids: Collection[str]) -> list[Case]:
        rows = await _BY_ROOMS.rows(self._connection, room_ids=json_texts(room_ids))
        return [self._record(row) for row in rows]

    async def open_cases(self, site_id: str) -> list[Case]:
        rows = await _OPEN.rows(self._connection, site_id=site_id, count=_MOST_OPEN)
        return [self._record(row) for row in rows]

    async def blocked_cases(self, site_id: str, below: int | None, limit: int) -> list[Case]:
        first = _NO_NUMBER if below is None else below
        rows = await _BLOCKED.rows(self._connection, site_id=site_id, below=first, count=limit)
        return [self._record(row) for row in rows]

    async def recent_cases(self, site_id: str, since_ms: int, limit: int) -> list[CaseTimes]:
        rows = await _RECENT.rows(self._connection, site_id=site_id, since_ms=since_ms, count=limit)
        return [CaseTimes(*row) for row in rows]

    async def unmailed_cases(self, site_id: str, since_ms: int, before_ms: int, limit: int) -> list[Case]:
        rows = await _UNMAILED.rows(
            self._connection, site_id=site_id, since_ms=since_ms, before_ms=before_ms, count=limit
        )
        return [_CASES.record(row) for row in rows]

    async def set_mailed(self, room_id: str, said_ms: int) -> None:
        await _MAILED.run(self._connection, room_id=room_id, said_ms=said_ms)

    async def ended_cases(self, site_id: str, before_ms: int, limit: int) -> list[Case]:
        rows = await _ENDED.rows(self._connection, site_id=site_id, before_ms=before_ms, count=limit)
        return [self._record(row) for row in rows]

    async def delete_case(self, case: Case) -> bool:
        if await _DELETE_CASE.run(self._connection, room_id=case.room_id, changed_ms=case.changed_ms) != 1:
            return False
        await _NO_ROOM.run(self._connection, user_id=case.visitor_id, room_id=case.room_id)
        return True

    async def case_rooms(self) -> list[str]:
        return [str(row[0]) for row in await _ROOMS.rows(self._connection)]

    async def cases_of(self, visitor_id: str) -> list[Case]:
        rows = await _OF_VISITOR.rows(self._connection, visitor_id=visitor_id, count=_MOST_OF_VISITOR)
        return [self._record(row) for row in rows]

    async def use_jti(self, site_id: str, jti: str, expires_ms: int, now_ms: int) -> bool:
        await _EXPIRE_JTIS.run(self._connection, now_ms=now_ms)
        return await _USE_JTI.run(self._connection, site_id=site_id, jti=jti, expires_ms=expires_ms) == 1

    async def block_address(self, site_id: str, digest: str, number: int, until_ms: int) -> None:
        await _BLOCK_ADDRESS.run(self._connection, site_id=site_id, digest=digest, number=number, until_ms=until_ms)

    async def unblock_addresses(self, site_id: str, number: int) -> None:
        await _UNBLOCK_ADDRESSES.run(self._connection, site_id=site_id, number=number)

    async def blocked_until(self, site_id: str, digest: str) -> int:
        row = await _BLOCKED_UNTIL.first(self._connection, site_id=site_id, digest=digest)
        return 0 if row is None or row[0] is None else int(row[0])

    async def blocked_by_case(self, site_id: str) -> dict[int, int]:
        rows = await _BLOCKED_BY_CASE.rows(self._connection, site_id=site_id)
        return {int(number): int(until_ms) for number, until_ms in rows}

    async def has_addresses_due(self, now_ms: int) -> bool:
        return await _ADDRESSES_DUE.first(self._connection, now_ms=now_ms) is not None

    async def forget_addresses(self, now_ms: int) -> None:
        await _FORGET_ADDRESSES.run(self._connection, now_ms=now_ms)

    async def cursor(self) -> int | None:
        row = await _GET_CURSOR.first(self._connection)
        return None if row is None else int(row[0])

    async def set_cursor(self, position: int) -> None:
        await _SET_CURSOR.run(self._connection, position=position)
