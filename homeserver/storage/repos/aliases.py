"""Room aliases of this server."""

from __future__ import annotations

from collections.abc import Collection

from homeserver.ports.aliases import AliasRepo, RoomAlias
from homeserver.storage.dialect import Connection, Sql, in_ints, is_storable, json_ints

_GET = Sql(
    """SELECT a.alias, a.room_nid, r.room_id, a.creator
    FROM room_aliases a JOIN rooms r ON r.room_nid = a.room_nid WHERE a.alias = :alias"""
)
PUT_ALIAS = Sql("INSERT INTO room_aliases (alias, room_nid, creator) VALUES (:alias, :room_nid, :creator)")
_DELETE = Sql("DELETE FROM room_aliases WHERE alias = :alias")
_MOVE = Sql("UPDATE room_aliases SET room_nid = :new WHERE room_nid = :old")
_COUNT_OF = Sql("SELECT count(*) FROM room_aliases WHERE creator = :creator")
_OF_ROOM = Sql("SELECT alias FROM room_aliases WHERE room_nid = :room_nid ORDER BY alias")
_OF_ROOMS = Sql("SELECT room_nid, alias FROM room_aliases WHERE {rooms}", rooms=in_ints("room_nid", "rooms"))


class SqlAliasRepo(AliasRepo):
    """Implements `ports.aliases.AliasRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, alias: str) -> RoomAlias | None:
        if not is_storable(alias):
            return None
        row = await _GET.first(self._connection, alias=alias)
        return None if row is None else RoomAlias(row[0], row[1], row[2], row[3])

    async def put(self, alias: str, room_nid: int, creator: str) -> None:
        await PUT_ALIAS.run(self._connection, alias=alias, room_nid=room_nid, creator=creator)

    async def delete(self, alias: str) -> bool:
        return is_storable(alias) and await _DELETE.run(self._connection, alias=alias) > 0

    async def move(self, old: int, new: int) -> None:
        await _MOVE.run(self._connection, old=old, new=new)

    async def count_of(self, creator: str) -> int:
        return int((await _COUNT_OF.first(self._connection, creator=creator))[0])

    async def of_rooms(self, room_nids: Collection[int]) -> list[tuple[int, str]]:
        rows = await _OF_ROOMS.rows(self._connection, rooms=json_ints(room_nids))
        return [(row[0], row[1]) for row in rows]

    async def of_room(self, room_nid: int) -> list[str]:
        return [row[0] for row in await _OF_ROOM.rows(self._connection, room_nid=room_nid)]
