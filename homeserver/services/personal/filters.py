"""Stored filters: equal ones are stored once per user, and read ones are kept parsed.

spec: client-server-api#filtering
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import Any

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.filters import Filter, parse_filter
from homeserver.ports.store import Store, UniqueViolation

MAX_FILTER = 65_536
MAX_PER_USER = 100
MAX_TOTAL = 1_048_576
_MAX_CACHED = 2_000


class Filters:
    """Owns filters."""

    def __init__(
        self,
        store: Store,
        *,
        max_bytes: int = MAX_FILTER,
        max_per_user: int = MAX_PER_USER,
        max_total: int = MAX_TOTAL,
    ) -> None:
        """`max_bytes` of one filter, `max_total` of all that a user has."""
        self._max_total = max_total
        self._max_bytes = max_bytes
        self._max_per_user = max_per_user
        self._store = store
        self._parsed: OrderedDict[tuple[str, int], Filter] = OrderedDict()

    async def define(self, user_id: str, definition: dict[str, Any]) -> str:
        """Store a filter; returns its id. Raises BAD_JSON, INVALID_PARAM, TOO_LARGE, RESOURCE_LIMIT_EXCEEDED."""
        data = orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)
        if len(data) > self._max_bytes:
            raise MatrixError(ErrCode.TOO_LARGE, f"Filters have at most {self._max_bytes} bytes")
        parse_filter(definition)
        digest = sha256(data).digest()
        for _ in range(self._max_per_user + 1):
            try:
                return str(await self._find_or_add(user_id, digest, data))
            except UniqueViolation:
                continue  # another request of the user took the number: look again
        raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, "Too many filters are made at once")

    async def _find_or_add(self, user_id: str, digest: bytes, data: bytes) -> int:
        async with self._store.read() as tx:
            filter_id = await tx.filters.find(user_id, digest)
        if filter_id is not None:
            return filter_id
        async with self._store.write() as tx:
            filter_id = await tx.filters.add(user_id, digest, data)
            if filter_id >= self._max_per_user:
                raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You have {self._max_per_user} filters already")
            if await tx.filters.size(user_id) > self._max_total:
                raise MatrixError(
                    ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You may store {self._max_total:,} bytes of filters together"
                )
        return filter_id

    async def definition(self, user_id: str, filter_id: str) -> bytes:
        """The filter as JSON. Raises NOT_FOUND."""
        data = None
        if filter_id.isascii() and filter_id.isdigit() and len(filter_id) < 10:
            async with self._store.read() as tx:
                data = await tx.filters.get(user_id, int(filter_id))
        if data is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such filter")
        return data

    async def get(self, user_id: str, filter_id: str) -> Filter:
        """The filter, parsed. Filters never change, so this costs a statement once. Raises NOT_FOUND."""
        key = (user_id, int(filter_id) if filter_id.isascii() and filter_id.isdigit() and len(filter_id) < 10 else -1)
        parsed = self._parsed.get(key)
        if parsed is None:
            parsed = parse_filter(orjson.loads(await self.definition(user_id, filter_id)))
            self._parsed[key] = parsed
            while len(self._parsed) > _MAX_CACHED:
                self._parsed.popitem(last=False)
        return parsed
