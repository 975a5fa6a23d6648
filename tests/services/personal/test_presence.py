"""Who is online."""

from __future__ import annotations

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.personal.presence import PresenceTracker
from tests.services.personal.conftest import ALICE, BOB, ManualClock


class Rooms:
    """Everybody shares a room with Alice, nobody with Bob."""

    async def require_joined(self, room_id: str, user_id: str) -> None:
        raise NotImplementedError

    async def share_a_room(self, user_id: str, asked_by: str) -> bool:
        return user_id == ALICE


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def presence(clock: ManualClock) -> PresenceTracker:
    return PresenceTracker(clock, Rooms(), max_users=2)


async def shown(presence: PresenceTracker) -> dict[str, object]:
    return (await presence.get(ALICE, ALICE)).to_json()


async def test_states_follow_from_time(presence: PresenceTracker, clock: ManualClock) -> None:
    assert await shown(presence) == {"presence": "offline"}
    presence.seen(ALICE, "online")
    assert await shown(presence) == {"presence": "online", "currently_active": True, "last_active_ago": 0}
    for _ in range(11):
        clock.seconds += 30
        presence.seen(ALICE, "online")
    assert await shown(presence) == {"presence": "unavailable", "last_active_ago": 330_000}
    presence.active(ALICE)
    assert (await shown(presence))["presence"] == "online"
    clock.seconds += 301
    assert (await shown(presence))["presence"] == "offline"


async def test_what_the_user_chooses(presence: PresenceTracker) -> None:
    presence.set(ALICE, "unavailable", "Tea")
    assert await shown(presence) == {"presence": "unavailable", "status_msg": "Tea"}
    presence.seen(ALICE, "offline")
    assert (await shown(presence))["presence"] == "unavailable"
    presence.seen(ALICE, "online")
    assert (await shown(presence))["presence"] == "online"
    presence.set(ALICE, "offline", None)
    assert "status_msg" not in await shown(presence)
    with pytest.raises(MatrixError) as caught:
        presence.set(ALICE, "online", "x" * 2_049)
    assert caught.value.code is ErrCode.TOO_LARGE


async def test_only_for_those_who_share_a_room(presence: PresenceTracker) -> None:
    presence.seen(ALICE, "online")
    assert (await presence.get(ALICE, BOB)).state == "online"
    with pytest.raises(MatrixError) as caught:
        await presence.get(BOB, ALICE)
    assert caught.value.code is ErrCode.FORBIDDEN


async def test_memory_is_bounded(presence: PresenceTracker) -> None:
    for user_id in (ALICE, "@c:hromada.test", "@d:hromada.test"):
        presence.seen(user_id, "online")
    assert (await presence.get(ALICE, ALICE)).state == "offline"
