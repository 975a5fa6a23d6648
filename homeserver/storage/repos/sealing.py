"""Stored values are brought into the form that new ones get. Implements `ports.atrest`.

A counter for each form says that values of it may be stored, so that a server without a key that is needed does not
start; that of the current form says how far the events are renewed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.ports.atrest import AtRestRepo, KeysMissing
from homeserver.storage.dialect import FOR_UPDATE, HIGHEST, LOWEST, Connection, Fragment, Sql
from homeserver.storage.repos.rows import READ_BY_SQL
from homeserver.storage.sealing import PLAIN_FORM, Sealing, Use

_PREFIX = "at-rest-"

_FORMS = Sql(f"SELECT name, value FROM counters WHERE name LIKE '{_PREFIX}%'")
_SET_FORM = Sql(
    "INSERT INTO counters (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_RESET_OTHERS = Sql(f"UPDATE counters SET value = {LOWEST} WHERE name LIKE '{_PREFIX}%' AND name <> :name")
_FORGET_OTHERS = Sql(f"DELETE FROM counters WHERE name LIKE '{_PREFIX}%' AND name <> :name")
_EVENTS = Sql(
    "SELECT nid, type, json, unsigned FROM events WHERE nid > :after ORDER BY nid LIMIT :count{for_update}",
    for_update=FOR_UPDATE,
)
_SET_EVENT = Sql("UPDATE events SET json = :json, unsigned = :unsigned WHERE nid = :nid")
_FORGET_PREVIEWS = Sql("DELETE FROM url_previews")
_FORGET_WORDS = (
    Sql("{all}", all=Fragment("DELETE FROM event_search", "TRUNCATE event_search")),
    # What was deleted from FTS5 is in its segments until they are merged.
    Sql("{merge}", merge=Fragment("INSERT INTO event_search (event_search) VALUES ('optimize')", "SELECT 1")),
)


@dataclass(frozen=True)
class _Values:
    """A column of sealed values, and the primary key of its table."""

    table: str
    key: tuple[str, ...]
    column: str
    use: Use

    def first(self) -> Sql:
        """The first rows."""
        return self._page("TRUE")

    def following(self) -> Sql:
        """The rows after a key."""
        return self._page(f"({', '.join(self.key)}) > ({', '.join(f':{name}' for name in self.key)})")

    def update(self) -> Sql:
        """One row's value."""
        wanted = " AND ".join(f"{name} = :{name}" for name in self.key)
        return Sql(f"UPDATE {self.table} SET {self.column} = :value WHERE {wanted}")

    def _page(self, wanted: str) -> Sql:
        names = ", ".join(self.key)
        return Sql(
            f"SELECT {names}, {self.column} FROM {self.table} WHERE {wanted} ORDER BY {names} LIMIT :count{{lock}}",
            lock=FOR_UPDATE,
        )


_TABLES = {
    values.table: (values, values.first(), values.following(), values.update())
    for values in (
        _Values("account_data", ("user_id", "room_id", "type"), "content", "account"),
        _Values("to_device", ("device", "pack"), "json", "device"),
        _Values("to_device_packs", ("id",), "json", "device"),
        _Values("appservice_deliveries", ("service",), "body", "delivery"),
        _Values("support_cases", ("room_id",), "excerpt", "excerpt"),
    )
}


class SqlAtRestRepo(AtRestRepo):
    """Implements `ports.atrest.AtRestRepo`."""

    tables: Sequence[str] = tuple(_TABLES)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sealing = connection.sealing

    async def is_concerned(self) -> bool:
        return bool(await self._forms()) or self._sealing.is_on

    async def begin(self) -> int | None:
        forms = await self._forms()
        current = self._sealing.form
        if not forms and current == PLAIN_FORM:
            return None
        others = forms.keys() - {current}
        if current in forms and (forms[current] < HIGHEST or not others):
            await _RESET_OTHERS.run(self._connection, name=_PREFIX + current)
            return None if forms[current] == HIGHEST else int(forms[current])
        await _RESET_OTHERS.run(self._connection, name=_PREFIX + current)
        await self._note(LOWEST)
        return LOWEST

    async def renew_events(self, after: int, limit: int) -> int | None:
        rows = await _EVENTS.rows(self._connection, after=after, count=limit)
        changed: list[dict[str, Any]] = []
        for nid, kind, json, unsigned in rows:
            new_json = json if kind in READ_BY_SQL else _renewed(self._sealing, json, "event")
            new_unsigned = None if unsigned is None else _renewed(self._sealing, unsigned, "unsigned")
            if new_json is not json or new_unsigned is not unsigned:
                changed.append({"nid": nid, "json": new_json, "unsigned": new_unsigned})
        await _SET_EVENT.run_many(self._connection, changed)
        if len(rows) < limit:
            return None
        last: int = rows[-1][0]
        await self._note(last)
        return last

    async def renew_values(self, table: str, after: Sequence[str | int], limit: int) -> Sequence[str | int] | None:
        values, first, following, update = _TABLES[table]
        if after:
            rows = await following.rows(self._connection, count=limit, **_named(values, after))
        else:
            rows = await first.rows(self._connection, count=limit)
        changed = []
        for *key, value in rows:
            new = self._renewed_value(value, values.use)
            if new is not value:
                changed.append({"value": new, **_named(values, key)})
        await update.run_many(self._connection, changed)
        return list(rows[-1][:-1]) if len(rows) == limit else None

    async def drop_words(self) -> None:
        for statement in _FORGET_WORDS:
            await statement.run(self._connection)

    async def finish(self) -> None:
        """Previews are a cache: they are made anew."""
        await _FORGET_PREVIEWS.run(self._connection)
        await _FORGET_OTHERS.run(self._connection, name=_PREFIX + self._sealing.form)
        await self._note(HIGHEST)

    async def _forms(self) -> dict[str, int]:
        forms = {name.removeprefix(_PREFIX): value for name, value in await _FORMS.rows(self._connection)}
        missing = forms.keys() - self._sealing.forms
        if missing:
            named = ", ".join(sorted(missing))
            raise KeysMissing(f"at_rest: the database holds content of the keys {named}, which are not configured")
        return forms

    def _renewed_value(self, value: Any, use: Use) -> Any:
        if value is None or not isinstance(value, str):
            return None if value is None else _renewed(self._sealing, value, use)
        plain = self._sealing.open_text(value, use)
        return self._sealing.seal_text(plain, use) if plain != value or self._sealing.is_on else value

    async def _note(self, value: int) -> None:
        await _SET_FORM.run(self._connection, name=_PREFIX + self._sealing.form, value=value)


def _renewed(sealing: Sealing, stored: bytes, use: Use) -> bytes:
    """`stored` itself if it has the current form."""
    return stored if sealing.is_current(stored) else sealing.seal(sealing.open(stored, use), use)


def _named(values: _Values, key: Sequence[str | int]) -> Mapping[str, str | int]:
    return dict(zip(values.key, key, strict=True))
