"""Room tags, kept as the user's account data `m.tag` of the room.  spec: client-server-api#room-tagging"""

from __future__ import annotations

from typing import Any

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.ids import parse_room_id
from homeserver.services.personal.account_data import MAX_CONTENT
from homeserver.services.personal.edits import AccountDataEdits

TAG = "m.tag"
MAX_NAME_BYTES = 255


class Tags:
    """Owns the tags of local users."""

    def __init__(self, edits: AccountDataEdits, *, max_bytes: int = MAX_CONTENT, max_tags: int = 100) -> None:
        self._max_tags = max_tags
        self._max_bytes = max_bytes
        self._edits = edits

    async def of(self, user_id: str, room_id: str) -> dict[str, Any]:
        """Tag name → what is said about it. Raises INVALID_PARAM for what is no room id."""
        parse_room_id(room_id)
        return _tags(await self._edits.read(user_id, room_id, TAG))

    async def put(self, user_id: str, room_id: str, name: str, data: dict[str, Any]) -> None:
        """Add or replace a tag. Raises MatrixError: INVALID_PARAM, TOO_LARGE for too many tags."""
        parse_room_id(room_id)
        if len(name.encode()) > MAX_NAME_BYTES:
            raise MatrixError(ErrCode.INVALID_PARAM, f"The name of a tag has at most {MAX_NAME_BYTES} bytes")
        order = data.get("order", 0)
        if isinstance(order, bool) or not isinstance(order, int | float) or not 0 <= order <= 1:
            raise MatrixError(ErrCode.INVALID_PARAM, "order must be a number between 0 and 1")

        async def edit(stored: bytes | None) -> bytes | None:
            tags = {**_tags(stored), name: data}
            content = orjson.dumps({"tags": tags})
            if len(tags) > self._max_tags or len(content) > self._max_bytes:
                raise MatrixError(ErrCode.TOO_LARGE, "The room has too many tags")
            return content

        await self._edits.edit(user_id, room_id, TAG, edit)

    async def delete(self, user_id: str, room_id: str, name: str) -> None:
        """Remove a tag, if there is such a tag."""
        parse_room_id(room_id)

        async def edit(stored: bytes | None) -> bytes | None:
            tags = _tags(stored)
            return orjson.dumps({"tags": tags}) if tags.pop(name, None) is not None else None

        await self._edits.edit(user_id, room_id, TAG, edit)


def _tags(stored: bytes | None) -> dict[str, Any]:
    """The tags in stored content. Clients may also write `m.tag` as plain account data, in any shape."""
    tags = None if stored is None else orjson.loads(stored).get("tags")
    return tags if isinstance(tags, dict) else {}
