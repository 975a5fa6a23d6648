"""Connections to MySQL and MariaDB. aiomysql goes on without encryption where the server offers none; these do not."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiomysql
import pymysql.err
from pymysql.constants import CLIENT, CR

_TRUSTED_S = 1.0
"""A connection that has rested for longer may have been cut meanwhile, and is asked first."""


class _Encrypted(aiomysql.Connection):  # type: ignore[misc] # has no types
    """What the server can is known before anything of the password is sent."""

    @property
    def server_capabilities(self) -> int:
        """The flags of the server's greeting."""
        return self._capabilities

    @server_capabilities.setter
    def server_capabilities(self, flags: int) -> None:
        if not flags & CLIENT.SSL:
            raise pymysql.err.OperationalError(CR.CR_SSL_CONNECTION_ERROR, "The server offers no encryption (SSL)")
        self._capabilities = flags


class Pool:
    """At most so many connections, made when they are needed."""

    def __init__(self, size: int, login: Mapping[str, Any]) -> None:
        """`login` is what aiomysql connects with; with `ssl` the connection is encrypted, or there is none."""
        self._login = dict(login)
        self._room = asyncio.Semaphore(size)
        self._idle: deque[tuple[Any, float]] = deque()
        self._used: set[Any] = set()
        self._closed = False

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection. Raises pymysql.err.Error, OSError."""
        async with self._room:
            connection = await self._take()
            self._used.add(connection)
            try:
                yield connection
            finally:
                self._used.discard(connection)
                if self._closed or connection.closed or connection.get_transaction_status():
                    connection.close()
                else:
                    self._idle.append((connection, time.monotonic()))

    async def _take(self) -> Any:
        while self._idle:
            connection, since = self._idle.pop()
            try:
                if time.monotonic() - since > _TRUSTED_S:
                    await connection.ping(reconnect=False)
            except (pymysql.err.Error, OSError, RuntimeError):
                connection.close()
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        if self._closed:
            raise RuntimeError("the connections are closed")
        kind = _Encrypted if self._login.get("ssl") is not None else aiomysql.Connection
        connection = kind(**self._login)
        try:
            await connection.ping(reconnect=True)
        except BaseException:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Close all of them, at once."""
        self._closed = True
        for connection in (*self._used, *(one for one, _ in self._idle)):
            connection.close()
        self._idle.clear()
