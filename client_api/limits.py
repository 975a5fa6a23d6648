"""Rate limits that belong to somebody else than the caller: an invited user, a room.

Only what succeeds is taken from them, or whoever is refused often enough could keep others from it. A part is taken
before the work, so that many requests at once get no more than there is, and given back if the work is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from client_api.deps import ClientServices
from homeserver.core.ids import parse_room_alias, parse_room_id, parse_user_id
from homeserver.ports.requester import Requester

Parts = list[tuple[str, str]]


@asynccontextmanager
async def taking(api: ClientServices, who: Requester, parts: Parts) -> AsyncIterator[None]:
    """Take one of each (bucket, key); give back what was taken if the body raises. Raises LimitExceeded."""
    taken: Parts = []
    try:
        if who.rate_limited:
            for bucket, key in parts:
                api.limits.take(bucket, key)
                taken.append((bucket, key))
        yield
    except BaseException:
        for bucket, key in taken:
            api.limits.give_back(bucket, key)
        raise


def of_invites(room_id: str | None, invited: Iterable[str]) -> Parts:
    """What invites take from their room (None: it is new) and from those invited. Raises INVALID_PARAM."""
    users = [parse_user_id(user_id) for user_id in invited]
    rooms = [] if room_id is None else [("invites_room", parse_room_id(room_id))] * len(users)
    return [*rooms, *(("invites_user", user_id) for user_id in users)]


def of_join(room_id_or_alias: str) -> Parts:
    """What a join takes from its room. Raises INVALID_PARAM."""
    is_alias = room_id_or_alias.startswith("#")
    return [("joins_room", (parse_room_alias if is_alias else parse_room_id)(room_id_or_alias))]
