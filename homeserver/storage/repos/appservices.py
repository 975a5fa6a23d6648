"""SQL for `ports.appservices.AppServiceRepo`."""

from __future__ import annotations

from collections.abc import Collection

from homeserver.ports.appservices import AppServiceRepo, Delivery
from homeserver.storage.dialect import Connection, Sql, in_ints, json_ints

_GET = Sql("SELECT service, version, position, txn_id, body FROM appservice_deliveries WHERE service = :service")
_ADD = Sql(
    "INSERT INTO appservice_deliveries (service, version, position, txn_id, body) "
    "VALUES (:service, :version, :position, :txn_id, :body) ON CONFLICT (service) DO NOTHING"
)
_REPLACE = Sql(
    "UPDATE appservice_deliveries SET version = :version, position = :position, txn_id = :txn_id, body = :body "
    "WHERE service = :service AND version = :before"
)
_LIST = Sql(
    "INSERT INTO appservice_rooms (service, network, room_nid) VALUES (:service, :network, :room_nid) "
    "ON CONFLICT (service, network, room_nid) DO NOTHING"
)
_UNLIST = Sql("DELETE FROM appservice_rooms WHERE service = :service AND network = :network AND room_nid = :room_nid")
_LISTED = Sql(
    "SELECT DISTINCT a.room_nid, r.room_id FROM appservice_rooms a JOIN rooms r ON r.room_nid = a.room_nid "
    "ORDER BY a.room_nid"
)
_LISTED_ON = Sql(
    "SELECT a.room_nid, r.room_id FROM appservice_rooms a JOIN rooms r ON r.room_nid = a.room_nid "
    "WHERE a.service = :service AND a.network = :network ORDER BY a.room_nid"
)
_LOCAL = Sql(
    "SELECT room_nid, user_id, membership, position FROM memberships WHERE {rooms}",
    rooms=in_ints("room_nid", "rooms"),
)


class SqlAppServiceRepo(AppServiceRepo):
    """Implements `ports.appservices.AppServiceRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def delivery(self, service: str) -> Delivery | None:
        row = await _GET.first(self._connection, service=service)
        if row is None:
            return None
        name, version, position, txn_id, body = row
        plain = None if body is None else self._connection.sealing.open(body, "delivery")
        return Delivery(name, version, position, txn_id, plain)

    async def put_delivery(self, delivery: Delivery) -> bool:
        row = {
            "service": delivery.service,
            "version": delivery.version,
            "position": delivery.position,
            "txn_id": delivery.txn_id,
            "body": None if delivery.body is None else self._connection.sealing.seal(delivery.body, "delivery"),
        }
        if delivery.version == 1:
            return await _ADD.run(self._connection, **row) == 1
        return await _REPLACE.run(self._connection, **row, before=delivery.version - 1) == 1

    async def list_room(self, service: str, network: str, room_nid: int) -> None:
        await _LIST.run(self._connection, service=service, network=network, room_nid=room_nid)

    async def unlist_room(self, service: str, network: str, room_nid: int) -> None:
        await _UNLIST.run(self._connection, service=service, network=network, room_nid=room_nid)

    async def listed_rooms(self, instance: tuple[str, str] | None) -> list[tuple[int, str]]:
        if instance is None:
            rows = await _LISTED.rows(self._connection)
        else:
            rows = await _LISTED_ON.rows(self._connection, service=instance[0], network=instance[1])
        return [(row[0], row[1]) for row in rows]

    async def local_memberships(self, room_nids: Collection[int]) -> list[tuple[int, str, str, int]]:
        rows = await _LOCAL.rows(self._connection, rooms=json_ints(room_nids))
        return [(row[0], row[1], row[2], row[3]) for row in rows]
