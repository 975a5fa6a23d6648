"""Profiles as rooms show them: what goes into a user's member events."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from homeserver.ports.store import Store

_SHOWN = ("displayname", "avatar_url")


class LocalMemberProfiles:
    """Implements `services.rooms.profiles.MemberProfiles` over the profiles of local users."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def member_profile(self, user_id: str) -> Mapping[str, str]:
        """`displayname` and `avatar_url`, each only if it is set."""
        async with self._store.read_committed() as tx:
            fields = await tx.profiles.get(user_id)
        shown = {name: orjson.loads(fields[name]) for name in _SHOWN if name in fields}
        return {name: value for name, value in shown.items() if isinstance(value, str)}
