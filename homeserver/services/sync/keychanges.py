"""`GET /keys/changes`: the device lists of a stretch of the log, as sync would have told them.

spec: client-server-api#get_matrixclientv3keyschanges
"""

from __future__ import annotations

from homeserver.ports.store import Store
from homeserver.services.e2e.devicelists import NOTHING, DeviceListChanges, DeviceLists
from homeserver.services.following import LogFollower
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.sync import positions
from homeserver.services.sync.window import Window, add_key_changes


class KeyChanges:
    """Answers from the database, however long ago the stretch was."""

    def __init__(self, store: Store, follower: LogFollower, rooms: RoomLists, lists: DeviceLists) -> None:
        self._store = store
        self._follower = follower
        self._rooms = rooms
        self._lists = lists

    async def between(self, user_id: str, low: str, high: str) -> DeviceListChanges:
        """The changes between two sync tokens, and those since: who asks gets them once more with the next sync.

        Raises MatrixError(INVALID_PARAM) for tokens that are not this server's, StoreUnavailable.
        """
        first, last = positions.decode(low), positions.decode(high)
        await self._follower.reach(max(first.position, last.position))
        if first.position >= last.position:
            return NOTHING
        await self._rooms.of(user_id)
        async with self._store.read() as tx:
            rooms = await self._rooms.of(user_id)
            window = Window(first.position, self._follower.log.position)
            await add_key_changes(tx, window, user_id, rooms)
            return await self._lists.changes(tx, user_id, rooms, window.keys)
