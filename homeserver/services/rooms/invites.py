"""Who may not be invited: users who block invites for themselves. Asked wherever an invite is made or shown.

spec: client-server-api#minvite_permission_config
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.appservices import Makers
from homeserver.ports.store import Store

INVITE_PERMISSION_CONFIG = "m.invite_permission_config"


class InvitePermission:
    """What users say in their account data about being invited."""

    def __init__(self, store: Store, makers: Makers | None = None) -> None:
        """`makers` make users of theirs whom somebody invites before they are there."""
        self._store = store
        self._makers = makers

    async def check(self, user_ids: Iterable[str]) -> None:
        """Raise MatrixError(INVITE_BLOCKED) if one of the users wants no invites."""
        for user_id in user_ids:
            await self._let_be_made(user_id)
            if await self.blocked_by(user_id):
                raise MatrixError(ErrCode.INVITE_BLOCKED, f"{user_id} does not accept invites")

    async def _let_be_made(self, user_id: str) -> None:
        if self._makers is None or not self._makers.may_make(user_id):
            return
        async with self._store.read_committed() as tx:
            exists = await tx.users.get(user_id) is not None
        if not exists:
            await self._makers.make_user(user_id)

    async def blocked_by(self, user_id: str) -> bool:
        """Whether the user wants no invites. Content they wrote that says nothing understood blocks nothing."""
        async with self._store.read_committed() as tx:
            content = await tx.account_data.get(user_id, None, INVITE_PERMISSION_CONFIG)
        return content is not None and orjson.loads(content).get("default_action") == "block"
