"""SQL for `ports.administration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from homeserver.ports.administration import (
    UPLOADER_ORDERS,
    USER_ORDERS,
    AccountRow,
    Act,
    ActSearch,
    AdministrationRepo,
    Growth,
    Holdings,
    RoomBlock,
    RoomRow,
    UploaderRow,
    UploaderSearch,
    UserSearch,
)
from homeserver.storage.dialect import HIGHEST, Connection, Fragment, Sql, in_texts, is_storable, json_texts
from homeserver.storage.repos.accounts import USERS
from homeserver.storage.repos.columns import Columns

_ACTS = Columns(Act)
_BLOCKS = Columns(RoomBlock)
_ROOMS = Columns(RoomRow)

_RECORD = Sql(f"INSERT INTO acts ({_ACTS.names}) VALUES ({_ACTS.parameters})")
_FIND_ACTS = Sql(
    f"""SELECT act_id, {_ACTS.names} FROM acts
    WHERE act_id < :before AND admin = coalesce(:admin, admin) AND target = coalesce(:target, target)
        AND action = coalesce(:action, action) AND {{is_kind}}
        AND ts >= :from_ms AND ts < :until_ms AND {{has_admin}} AND {{has_target}}
    ORDER BY act_id DESC LIMIT :count""",
    is_kind=Fragment("instr(action, :kind) = 1", "strpos(action, :kind) = 1"),
    has_admin=Fragment("instr(lower(admin), :admin_term) > 0", "strpos(lower(admin), :admin_term) > 0"),
    has_target=Fragment("instr(lower(target), :target_term) > 0", "strpos(lower(target), :target_term) > 0"),
)
_PRUNE = Sql(
    """DELETE FROM acts WHERE act_id IN (SELECT act_id FROM acts WHERE ts < :before_ms
        OR act_id <= coalesce((SELECT act_id FROM acts ORDER BY act_id DESC LIMIT 1 OFFSET :keep), -1) LIMIT :count)"""
)
_NEWEST = 2**62

_ACCOUNT_COLUMNS = ", ".join(f"u.{name}" for name in USERS.names.split(", "))
_FIELD = "(SELECT p.value FROM profile_fields p WHERE p.user_id = u.user_id AND p.name = '{}')"
_SEEN = "(SELECT max(d.seen_ms) FROM devices d WHERE d.user_id = u.user_id)"
_ACCOUNT = (
    f"SELECT {_ACCOUNT_COLUMNS}, {_FIELD.format('displayname')} AS displayname, "
    f"{_FIELD.format('avatar_url')} AS avatar_url, {_SEEN} AS seen_ms FROM users u "
)
_MATCHING = """WHERE
    ({has_name} OR EXISTS (SELECT 1 FROM user_addresses ea WHERE ea.user_id = u.user_id AND {has_address}))
    AND {has_id} AND (:guests OR NOT u.is_guest) AND (:deactivated OR NOT u.deactivated)
    AND (:locked OR NOT u.locked) AND u.is_admin = coalesce(:admins, u.is_admin)
    AND (NOT :visitors OR u.site_id IS NOT NULL) AND (NOT :suspended OR u.suspended OR u.locked) """
_CONTAINS = {
    name: Fragment(f"instr({column}, :{parameter}) > 0", f"strpos({column}, :{parameter}) > 0")
    for name, column, parameter in (
        ("has_name", "u.search", "name"),
        ("has_address", "ea.address", "name"),
        ("has_id", "u.user_id", "user_id"),
    )
}
_COLUMN_OF = {
    "name": "user_id",
    "admin": "is_admin",
    "creation_ts": "created_ms",
    "last_seen_ts": "seen_ms",
}
_PAGES = {
    (order, descending): Sql(
        f"SELECT * FROM ({_ACCOUNT}{_MATCHING}) a "
        f"ORDER BY {_COLUMN_OF.get(order, order)} {way} NULLS LAST, user_id {way} "
        "LIMIT :count OFFSET :skip",
        **_CONTAINS,
    )
    for order in USER_ORDERS
    for descending, way in ((False, "ASC"), (True, "DESC"))
}
_COUNT = Sql(f"SELECT count(*) FROM users u {_MATCHING}", **_CONTAINS)
_ONE = Sql(f"{_ACCOUNT}WHERE u.user_id = :user_id")

_DEVICES_OF = Sql("SELECT user_id, count(*) FROM devices WHERE {ids} GROUP BY user_id", ids=in_texts("user_id", "ids"))
_UPLOADS_OF = Sql(
    """SELECT user_id, count(size), CAST(coalesce(sum(size), 0) AS bigint) FROM media WHERE {ids} GROUP BY user_id""",
    ids=in_texts("user_id", "ids"),
)
_UPLOADERS = f"""SELECT u.user_id, {_FIELD.format("displayname")} AS displayname, m.media_count, m.media_length
    FROM (SELECT user_id, count(*) AS media_count, CAST(sum(size) AS bigint) AS media_length FROM media
        WHERE user_id IS NOT NULL AND size IS NOT NULL AND created_ms >= :from_ms AND created_ms < :until_ms
        GROUP BY user_id) m JOIN users u ON u.user_id = m.user_id WHERE {{has_name}}"""
_UPLOADER_PAGES = {
    (order, descending): Sql(
        f"SELECT * FROM ({_UPLOADERS}) a ORDER BY {order} {way} NULLS LAST, user_id {way} LIMIT :count OFFSET :skip",
        has_name=_CONTAINS["has_name"],
    )
    for order in UPLOADER_ORDERS
    for descending, way in ((False, "ASC"), (True, "DESC"))
}
_COUNT_UPLOADERS = Sql(f"SELECT count(*) FROM ({_UPLOADERS}) a", has_name=_CONTAINS["has_name"])

_ROOM = """SELECT r.room_nid, r.room_id, r.room_version, r.creator, r.is_public,
        EXISTS (SELECT 1 FROM blocked_rooms b WHERE b.room_id = r.room_id),
        (SELECT count(*) FROM current_state c WHERE c.room_nid = r.room_nid AND c.membership = 'join'),
        (SELECT count(*) FROM memberships m WHERE m.room_nid = r.room_nid AND m.membership = 'join'),
        (SELECT count(*) FROM current_state c WHERE c.room_nid = r.room_nid),
        coalesce(s.events, 0), coalesce(s.bytes, 0)
    FROM rooms r LEFT JOIN room_sizes s ON s.room_nid = r.room_nid """
_LIST_ROOMS = Sql(f"{_ROOM}ORDER BY r.room_nid DESC LIMIT :count")
_ONE_ROOM = Sql(f"{_ROOM}WHERE r.room_id = :room_id")
_MEASURED = Sql(
    """SELECT c.value, coalesce((SELECT m.value FROM counters m WHERE m.name = 'measured'), 0)
    FROM counters c WHERE c.name = 'log'"""
)
# The plus keeps SQLite from walking all rooms by their index.
_GROWTH = Sql(
    """SELECT +room_nid, count(*), CAST(sum(length(json) + coalesce(length(unsigned), 0)) AS bigint)
    FROM events WHERE nid > :low AND nid <= :high GROUP BY +room_nid"""
)
_MEASURE = Sql(
    """INSERT INTO counters (name, value) VALUES ('measured', :high)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE counters.value = :low"""
)
_GROW = Sql(
    """INSERT INTO room_sizes (room_nid, events, bytes) VALUES (:room_nid, :events, :bytes)
    ON CONFLICT (room_nid) DO UPDATE SET events = room_sizes.events + excluded.events,
        bytes = room_sizes.bytes + excluded.bytes"""
)
_DEVICES = Sql(
    """SELECT count(*) FROM memberships m JOIN devices d ON d.user_id = m.user_id
    WHERE m.room_nid = :room_nid AND m.membership = 'join'"""
)
_PRESENT = Sql(
    """SELECT user_id FROM memberships WHERE room_nid = :room_nid AND membership IN ('join', 'invite', 'knock')
    ORDER BY user_id LIMIT :count"""
)
_BLOCK = Sql(
    f"INSERT INTO blocked_rooms ({_BLOCKS.names}) VALUES ({_BLOCKS.parameters}) ON CONFLICT (room_id) DO NOTHING"
)
_UNBLOCK = Sql("DELETE FROM blocked_rooms WHERE room_id = :room_id")
_MOVE_HEAD = Sql("UPDATE rooms SET head_version = head_version + 1 WHERE room_id = :room_id")
_BLOCKED = Sql(f"SELECT {_BLOCKS.names} FROM blocked_rooms WHERE room_id = :room_id")


class SqlAdministrationRepo(AdministrationRepo):
    """Implements `ports.administration.AdministrationRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def record(self, act: Act) -> None:
        await _RECORD.run(self._connection, **asdict(act))

    async def acts(self, search: ActSearch, before: int | None, limit: int) -> list[tuple[int, Act]]:
        wanted = asdict(search)
        if not all(is_storable(value) for value in wanted.values() if isinstance(value, str)):
            return []
        wanted["until_ms"] = HIGHEST if search.until_ms is None else search.until_ms
        before = _NEWEST if before is None else before
        rows = await _FIND_ACTS.rows(self._connection, before=before, count=limit, **wanted)
        return [(int(row[0]), _ACTS.record(row[1:])) for row in rows]

    async def prune_acts(self, before_ms: int, keep: int, limit: int) -> int:
        return await _PRUNE.run(self._connection, before_ms=before_ms, keep=keep, count=limit)

    async def accounts(self, search: UserSearch, offset: int, limit: int) -> list[AccountRow]:
        if not (is_storable(search.name) and is_storable(search.user_id)):
            return []
        page = _PAGES[search.order_by, search.descending]
        rows = await page.rows(self._connection, count=limit, skip=offset, **_parameters(search))
        return [_account(row) for row in rows]

    async def count_accounts(self, search: UserSearch) -> int:
        if not (is_storable(search.name) and is_storable(search.user_id)):
            return 0
        return int((await _COUNT.first(self._connection, **_parameters(search)))[0])

    async def account(self, user_id: str) -> AccountRow | None:
        row = await _ONE.first(self._connection, user_id=user_id) if is_storable(user_id) else None
        return None if row is None else _account(row)

    async def holdings(self, user_ids: Sequence[str]) -> dict[str, Holdings]:
        ids = json_texts(user_ids)
        devices = {row[0]: int(row[1]) for row in await _DEVICES_OF.rows(self._connection, ids=ids)}
        uploads = {row[0]: row[1:] for row in await _UPLOADS_OF.rows(self._connection, ids=ids)}
        return {
            user_id: Holdings(devices.get(user_id, 0), *map(int, uploads.get(user_id, (0, 0))))
            for user_id in devices.keys() | uploads.keys()
        }

    async def uploaders(self, search: UploaderSearch, offset: int, limit: int) -> tuple[list[UploaderRow], int]:
        if not is_storable(search.name):
            return [], 0
        until = HIGHEST if search.until_ms is None else search.until_ms
        wanted = {"name": search.name, "from_ms": search.from_ms, "until_ms": until}
        page = _UPLOADER_PAGES[search.order_by, search.descending]
        rows = await page.rows(self._connection, count=limit, skip=offset, **wanted)
        total = await _COUNT_UPLOADERS.first(self._connection, **wanted)
        return [UploaderRow(row[0], row[1], int(row[2]), int(row[3])) for row in rows], int(total[0])

    async def rooms(self, limit: int) -> list[RoomRow]:
        return [_ROOMS.record(row) for row in await _LIST_ROOMS.rows(self._connection, count=limit)]

    async def room(self, room_id: str) -> RoomRow | None:
        row = await _ONE_ROOM.first(self._connection, room_id=room_id) if is_storable(room_id) else None
        return None if row is None else _ROOMS.record(row)

    async def growth(self, limit: int) -> Growth:
        end, low = map(int, await _MEASURED.first(self._connection))
        high = min(end, low + limit)
        if high <= low:
            return Growth(low, low, [])
        rows = await _GROWTH.rows(self._connection, low=low, high=high)
        return Growth(low, high, [(int(row[0]), int(row[1]), int(row[2])) for row in rows])

    async def grow(self, growth: Growth) -> bool:
        if await _MEASURE.run(self._connection, low=growth.low, high=growth.high) != 1:
            return False
        rows = [{"room_nid": nid, "events": events, "bytes": size} for nid, events, size in growth.rooms]
        await _GROW.run_many(self._connection, rows)
        return True

    async def joined_local_devices(self, room_nid: int) -> int:
        return int((await _DEVICES.first(self._connection, room_nid=room_nid))[0])

    async def present_local_users(self, room_nid: int, limit: int) -> list[str]:
        return [row[0] for row in await _PRESENT.rows(self._connection, room_nid=room_nid, count=limit)]

    async def block(self, block: RoomBlock) -> bool:
        changed = await _BLOCK.run(self._connection, **asdict(block)) == 1
        await self._move_head(block.room_id)
        return changed

    async def unblock(self, room_id: str) -> bool:
        changed = await _UNBLOCK.run(self._connection, room_id=room_id) == 1
        await self._move_head(room_id)
        return changed

    async def _move_head(self, room_id: str) -> None:
        """Whoever has the room's head in memory, in whichever process, is to read it again before they write."""
        await _MOVE_HEAD.run(self._connection, room_id=room_id)

    async def blocked(self, room_id: str) -> RoomBlock | None:
        row = await _BLOCKED.first(self._connection, room_id=room_id) if is_storable(room_id) else None
        return None if row is None else _BLOCKS.record(row)


def _parameters(search: UserSearch) -> dict[str, Any]:
    wanted = asdict(search)
    del wanted["order_by"], wanted["descending"]
    return wanted


def _account(row: Any) -> AccountRow:
    return AccountRow(USERS.record(row[: USERS.count]), *row[USERS.count :])
