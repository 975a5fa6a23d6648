"""SQL for `ports.unread`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from homeserver.ports.unread import PastEvent, Unread, UnreadEvent, UnreadRepo
from homeserver.storage.dialect import LOWEST, Connection, Fragment, Sql, in_ints, in_texts, json_ints, json_texts

_LOWEST = f"({LOWEST + 1} - 1)"  # -2^63 is no literal: the minus is read behind the number
_NEWEST = "SELECT i.nid FROM events i WHERE i.room_nid = m.room_nid AND i.ord > m.mark ORDER BY i.ord DESC LIMIT :most"
# The unthreaded receipt covers everything; then the events behind it, with who sent them and in which thread they are.
_UNREAD = """WITH marks AS (
        SELECT r.room_nid, coalesce(max(CASE WHEN c.thread_id = '' THEN c.ord END), {lowest}) AS mark
        FROM rooms r LEFT JOIN receipts c ON c.room_nid = r.room_nid AND c.user_id = :user_id
        WHERE {rooms} GROUP BY r.room_nid),
    behind AS (
        SELECT e.room_nid, e.nid, e.ord, e.sender, e.state_key, e.push, coalesce(t.target_event_id, '') AS thread,
            CASE WHEN n.ord IS NULL THEN 0 ELSE 1 END AS mentioned
        FROM marks m {newest}
        LEFT JOIN event_relations t ON t.event_nid = e.nid AND t.rel_type = 'm.thread'
        LEFT JOIN event_mentions n ON n.user_id = :user_id AND n.room_nid = e.room_nid AND n.ord = e.ord
        WHERE (e.redacted_by IS NULL OR e.sender = :user_id) AND {wanted}),
    entered AS (
        SELECT room_nid, max(ord) AS mark FROM behind WHERE push = 4 AND sender = :user_id GROUP BY room_nid),
    own AS (
        SELECT room_nid, thread, max(ord) AS mark FROM behind WHERE sender = :user_id AND state_key IS NULL
        GROUP BY room_nid, thread),
    threaded AS (
        SELECT c.room_nid, CASE c.thread_id WHEN 'main' THEN '' ELSE c.thread_id END AS thread, max(c.ord) AS mark
        FROM receipts c WHERE {receipts} AND c.user_id = :user_id AND c.thread_id <> ''
        GROUP BY c.room_nid, c.thread_id)
    """
_FROM = """ FROM behind b LEFT JOIN entered j ON j.room_nid = b.room_nid
    LEFT JOIN own o ON o.room_nid = b.room_nid AND o.thread = b.thread
    LEFT JOIN threaded h ON h.room_nid = b.room_nid AND h.thread = b.thread
    WHERE b.sender <> :user_id AND NOT {ignored} AND b.ord > coalesce(j.mark, {lowest})
        AND b.ord > coalesce(o.mark, {lowest}) AND b.ord > coalesce(h.mark, {lowest})"""
_PARTS = {
    "lowest": Fragment(_LOWEST, _LOWEST),
    "rooms": in_ints("r.room_nid", "rooms"),
    "receipts": in_ints("c.room_nid", "rooms"),
    "ignored": in_texts("b.sender", "ignored"),
    "newest": Fragment(
        f"JOIN events e ON e.nid IN ({_NEWEST})", f"CROSS JOIN LATERAL ({_NEWEST}) i JOIN events e ON e.nid = i.nid"
    ),
}
_ASKED = (in_ints("e.nid", "nids").sqlite, in_ints("e.nid", "nids").postgres)
_COUNTED = Fragment(*["(e.push > 0 OR e.sender = :user_id OR n.ord IS NOT NULL)"] * 2)
_ANY = Fragment(*["TRUE"] * 2)
_COUNTS = Sql(
    _UNREAD
    + "SELECT b.room_nid, b.thread, count(*), sum(CASE WHEN b.mentioned = 1 OR b.push IN (2, 3) THEN 1 ELSE 0 END)"
    + _FROM
    + " AND (b.push IN (1, 2, 3) OR b.mentioned = 1) GROUP BY b.room_nid, b.thread"
    + " UNION ALL SELECT CAST(NULL AS bigint), '', value, 0 FROM counters WHERE name = 'log'",
    wanted=_COUNTED,
    **_PARTS,
)
_AMONG = Sql(
    _UNREAD + "SELECT b.nid" + _FROM + " AND {asked}",
    wanted=Fragment(*(f"({asked} OR e.sender = :user_id)" for asked in _ASKED)),
    asked=in_ints("b.nid", "nids"),
    **_PARTS,
)
_EVENTS = Sql(_UNREAD + "SELECT b.room_nid, b.nid, b.thread" + _FROM + " ORDER BY b.ord", wanted=_ANY, **_PARTS)

_BEFORE = (
    "SELECT i.nid FROM events i WHERE i.room_nid = r.room_nid AND i.ord < :before ORDER BY i.ord DESC LIMIT :limit"
)
_PAST = Sql(
    """SELECT e.nid, e.ord, e.room_nid, e.sender, e.push, n.ord IS NOT NULL,
        e.type = 'm.room.member' AND e.state_key = :user_id, e.redacted_by IS NOT NULL
    FROM rooms r {newest}
    LEFT JOIN event_mentions n ON n.user_id = :user_id AND n.room_nid = e.room_nid AND n.ord = e.ord
    WHERE {rooms} ORDER BY e.ord DESC, e.nid DESC LIMIT :limit""",
    newest=Fragment(
        f"JOIN events e ON e.nid IN ({_BEFORE})", f"CROSS JOIN LATERAL ({_BEFORE}) i JOIN events e ON e.nid = i.nid"
    ),
    rooms=in_ints("r.room_nid", "rooms"),
)


class SqlUnreadRepo(UnreadRepo):
    """Implements `ports.unread.UnreadRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def counts(
        self, user_id: str, room_nids: Collection[int], ignored: Collection[str], most: int
    ) -> tuple[dict[int, dict[str, Unread]], int]:
        found: dict[int, dict[str, Unread]] = {room_nid: {} for room_nid in room_nids}
        position = 0
        rows = await _COUNTS.rows(
            self._connection, user_id=user_id, rooms=json_ints(room_nids), ignored=json_texts(ignored), most=most
        )
        for room_nid, thread, notify, highlight in rows:
            if room_nid is None:
                position = int(notify)
            else:
                found[room_nid][thread] = Unread(int(notify), int(highlight))
        return found, position

    async def events(
        self, user_id: str, room_nids: Collection[int], ignored: Collection[str], most: int
    ) -> Mapping[int, Sequence[UnreadEvent]]:
        found: dict[int, list[UnreadEvent]] = {room_nid: [] for room_nid in room_nids}
        if room_nids:
            rows = await _EVENTS.rows(
                self._connection,
                user_id=user_id,
                rooms=json_ints(room_nids),
                ignored=json_texts(ignored),
                most=most,
            )
            for room_nid, nid, thread in rows:
                found[room_nid].append(UnreadEvent(nid, thread))
        return found

    async def unread_among(
        self, user_id: str, room_nids: Collection[int], nids: Collection[int], ignored: Collection[str], most: int
    ) -> set[int]:
        if not nids:
            return set()
        rows = await _AMONG.rows(
            self._connection,
            user_id=user_id,
            rooms=json_ints(room_nids),
            nids=json_ints(nids),
            ignored=json_texts(ignored),
            most=most,
        )
        return {row[0] for row in rows}

    async def past(self, user_id: str, room_nids: Collection[int], before: int, limit: int) -> Sequence[PastEvent]:
        rows = await _PAST.rows(
            self._connection, user_id=user_id, rooms=json_ints(room_nids), before=before, limit=limit
        )
        return [
            PastEvent(nid, order, room_nid, sender, push, bool(mentioned), bool(invites), bool(redacted))
            for nid, order, room_nid, sender, push, mentioned, invites, redacted in rows
        ]
