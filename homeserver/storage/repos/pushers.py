"""SQL for `ports.pushers.PusherRepo`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from homeserver.ports.pushers import Pusher, PusherName, PusherRepo
from homeserver.storage.dialect import Connection, Sql, in_texts, json_texts

_CURSOR_NAME = "told"
_FIELDS = (
    "user_id, app_id, pushkey, kind, device_id, app_display_name, device_display_name, profile_tag, lang, data, "
    "set_ms, enabled, position, failing_ms, confirmed, mails, mailed_ms"
)
_THIS = "user_id = :user_id AND app_id = :app_id AND pushkey = :pushkey"
_GET = Sql(f"SELECT {_FIELDS} FROM pushers WHERE {_THIS}")
_OF_USERS = Sql(
    f"SELECT {_FIELDS} FROM pushers WHERE {{users}} ORDER BY user_id, set_ms, app_id, pushkey",
    users=in_texts("user_id", "users"),
)
_USERS = Sql("SELECT DISTINCT user_id FROM pushers")
_FIRST = Sql("SELECT min(position) FROM pushers")
_FAILING = Sql(f"SELECT {_FIELDS} FROM pushers WHERE failing_ms IS NOT NULL")
_PUT = Sql(
    f"INSERT INTO pushers ({_FIELDS}) VALUES (:user_id, :app_id, :pushkey, :kind, :device_id, :app_display_name, "
    ":device_display_name, :profile_tag, :lang, :data, :set_ms, :enabled, :position, :failing_ms, "
    ":confirmed, :mails, :mailed_ms) "
    "ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET kind = excluded.kind, device_id = excluded.device_id, "
    "app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name, "
    "profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data, set_ms = excluded.set_ms, "
    "enabled = excluded.enabled, mailed_ms = CASE WHEN pushers.confirmed THEN pushers.mailed_ms END"
)
_DELETE = Sql(f"DELETE FROM pushers WHERE {_THIS}")
_DELETE_OF_OTHERS = Sql("DELETE FROM pushers WHERE app_id = :app_id AND pushkey = :pushkey AND user_id <> :user_id")
_DELETE_DEVICES = Sql(
    "DELETE FROM pushers WHERE user_id = :user_id AND {devices}", devices=in_texts("device_id", "ids")
)
_DELETE_ALL = Sql("DELETE FROM pushers WHERE user_id = :user_id")
_DELETE_OTHERS = Sql("DELETE FROM pushers WHERE user_id = :user_id AND (device_id IS NULL OR device_id <> :device_id)")
_ADVANCE = Sql(f"UPDATE pushers SET position = :position, failing_ms = :failing_ms WHERE {_THIS}")
_OF_KIND = Sql(f"SELECT {_FIELDS} FROM pushers WHERE kind = :kind")
_CONFIRM = Sql(f"UPDATE pushers SET confirmed = TRUE, position = :position WHERE {_THIS}")
_MAILED = Sql(f"UPDATE pushers SET mails = :mails, mailed_ms = coalesce(:at_ms, mailed_ms) WHERE {_THIS}")
_GET_CURSOR = Sql("SELECT position FROM push_cursor WHERE name = :name")
_SET_CURSOR = Sql(
    "INSERT INTO push_cursor (name, position) VALUES (:name, :position) "
    "ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)


class SqlPusherRepo(PusherRepo):
    """Implements `ports.pushers.PusherRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of_users(self, user_ids: Collection[str]) -> list[Pusher]:
        return [_pusher(row) for row in await _OF_USERS.rows(self._connection, users=json_texts(user_ids))]

    async def get(self, name: PusherName) -> Pusher | None:
        row = await _GET.first(self._connection, **_named(name))
        return None if row is None else _pusher(row)

    async def users(self) -> list[str]:
        return [row[0] for row in await _USERS.rows(self._connection)]

    async def first_position(self) -> int | None:
        row = await _FIRST.first(self._connection)
        return None if row is None or row[0] is None else int(row[0])

    async def failing(self) -> list[Pusher]:
        return [_pusher(row) for row in await _FAILING.rows(self._connection)]

    async def put(self, pusher: Pusher) -> None:
        await _PUT.run(self._connection, **asdict(pusher))

    async def of_kind(self, kind: str) -> list[Pusher]:
        return [_pusher(row) for row in await _OF_KIND.rows(self._connection, kind=kind)]

    async def confirm(self, name: PusherName, position: int) -> None:
        await _CONFIRM.run(self._connection, position=position, **_named(name))

    async def mailed(self, name: PusherName, *, mails: int, at_ms: int | None = None) -> None:
        await _MAILED.run(self._connection, mails=mails, at_ms=at_ms, **_named(name))

    async def delete(self, name: PusherName) -> bool:
        return await _DELETE.run(self._connection, **_named(name)) > 0

    async def delete_of_others(self, name: PusherName) -> None:
        await _DELETE_OF_OTHERS.run(self._connection, **_named(name))

    async def delete_devices(self, user_id: str, device_ids: Collection[str] | None) -> None:
        if device_ids is None:
            await _DELETE_ALL.run(self._connection, user_id=user_id)
        else:
            await _DELETE_DEVICES.run(self._connection, user_id=user_id, ids=json_texts(device_ids))

    async def delete_others_than(self, user_id: str, device_id: str | None) -> None:
        await _DELETE_OTHERS.run(self._connection, user_id=user_id, device_id=device_id or "")

    async def advance(self, told: Sequence[tuple[PusherName, int, int | None]]) -> None:
        rows = [{**_named(name), "position": position, "failing_ms": failing} for name, position, failing in told]
        await _ADVANCE.run_many(self._connection, rows)

    async def cursor(self) -> int | None:
        row = await _GET_CURSOR.first(self._connection, name=_CURSOR_NAME)
        return None if row is None else row[0]

    async def set_cursor(self, position: int) -> None:
        await _SET_CURSOR.run(self._connection, name=_CURSOR_NAME, position=position)


def _named(name: PusherName) -> dict[str, str]:
    return dict(zip(("user_id", "app_id", "pushkey"), name, strict=True))


def _pusher(row: Sequence[object]) -> Pusher:
    values = list(row)
    values[11], values[14] = bool(values[11]), bool(values[14])
    return Pusher(*values)  # type: ignore[arg-type]
