"""SQL for `ports.people`."""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.ports.people import PeopleRepo
from homeserver.storage.dialect import Connection, Fragment, Sql, SqlByValues, in_texts, is_storable, json_texts

_WORDS = 5


def _holds(text: str) -> Fragment:
    """Whether the canonical bytes of the event hold `text`.

    No JSON is parsed: a value that one database refuses would make every search fail. Nor can a string imitate the
    text, because its quotes would be escaped. The event must be of a type that is stored plain (`rows.column_json`).
    """
    return Fragment(
        f"instr(e.json, CAST('{text}' AS BLOB)) > 0", f"position(convert_to('{text}', 'UTF8') in e.json) > 0"
    )


_SEARCH = SqlByValues(
    """SELECT u.user_id FROM users u
    WHERE u.search LIKE :word1 ESCAPE '!' AND u.search LIKE :word2 ESCAPE '!' AND u.search LIKE :word3 ESCAPE '!'
        AND u.search LIKE :word4 ESCAPE '!' AND u.search LIKE :word5 ESCAPE '!'
        AND NOT u.deactivated AND NOT u.is_guest
        AND (u.user_id = :user_id OR EXISTS (SELECT 1 FROM identities i
                WHERE i.user_id = u.user_id AND NOT i.disabled AND {is_shown})
            OR EXISTS (SELECT 1 FROM memberships a JOIN memberships b ON b.room_nid = a.room_nid
                WHERE a.user_id = u.user_id AND a.membership = 'join'
                    AND b.user_id = :user_id AND b.membership = 'join')
            OR EXISTS (SELECT 1 FROM memberships a JOIN current_state s ON s.room_nid = a.room_nid
                JOIN events e ON e.nid = s.event_nid
                WHERE a.user_id = u.user_id AND a.membership = 'join' AND s.state_key = '' AND (
                    (s.type = 'm.room.join_rules' AND {is_public})
                    OR (s.type = 'm.room.history_visibility' AND {is_readable}))))
    ORDER BY CASE WHEN u.search LIKE :begins ESCAPE '!' OR u.search LIKE :named ESCAPE '!' THEN 0 ELSE 1 END, u.user_id
    LIMIT :count""",
    is_public=_holds('"join_rule":"public"'),
    is_shown=in_texts("i.provider", "providers"),
    is_readable=_holds('"history_visibility":"world_readable"'),
)
_MUTUAL = Sql(
    """SELECT r.room_id FROM memberships m
    JOIN current_state c ON c.room_nid = m.room_nid AND c.type = 'm.room.member' AND c.state_key = :other
    JOIN rooms r ON r.room_nid = m.room_nid
    WHERE m.user_id = :user_id AND m.membership = 'join' AND c.membership = 'join' ORDER BY r.room_nid"""
)


class SqlPeopleRepo(PeopleRepo):
    """Implements `ports.people.PeopleRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def search(self, user_id: str, words: Sequence[str], limit: int, providers: Sequence[str] = ()) -> list[str]:
        escaped = [word.replace("!", "!!").replace("%", "!%").replace("_", "!_") for word in words[:_WORDS]]
        if not escaped:
            return []
        patterns = [f"%{word}%" for word in escaped] + ["%"] * (_WORDS - len(escaped))
        rows = await _SEARCH.rows(
            self._connection,
            user_id=user_id,
            count=limit,
            providers=json_texts(providers),
            begins=f"% {escaped[0]}%",
            named=f"@{escaped[0]}%",
            **{f"word{number}": pattern for number, pattern in enumerate(patterns, 1)},
        )
        return [row[0] for row in rows]

    async def mutual_rooms(self, user_id: str, other: str) -> list[str]:
        if not is_storable(other):
            return []
        return [row[0] for row in await _MUTUAL.rows(self._connection, user_id=user_id, other=other)]
