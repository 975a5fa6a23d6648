"""Password hashing and policy.

Argon2id in a small thread pool: hashing is meant to be slow, so at most a bounded number of callers may wait for
it and the rest are told to come back. An unknown user costs the same time as a known one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.ports.clock import Entropy

_RETRY_AFTER_MS = 2_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """Policy and cost. The cost is OWASP's minimum for Argon2id."""

    min_length: int = 8
    max_length: int = 512
    time_cost: int = 2
    memory_kib: int = 19_456
    parallelism: int = 1
    threads: int = 2
    max_waiting: int = 50


class Passwords:
    """Hashes and verifies passwords. `close` stops its threads."""

    def __init__(self, settings: PasswordSettings, entropy: Entropy) -> None:
        self._settings = settings
        self._hasher = PasswordHasher(
            time_cost=settings.time_cost,
            memory_cost=settings.memory_kib,
            parallelism=settings.parallelism,
            type=Type.ID,
        )
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="passwords")
        # Beside the start of the server, which would wait for it longer than for anything else.
        self._dummy = self._pool.submit(self._hasher.hash, entropy.token(32))
        self._waiting = 0

    def check_policy(self, password: str) -> None:
        """Raises WEAK_PASSWORD if the password may not be chosen."""
        if len(password) < self._settings.min_length:
            raise MatrixError(ErrCode.WEAK_PASSWORD, f"Passwords have at least {self._settings.min_length} characters")
        if len(password) > self._settings.max_length:
            raise MatrixError(ErrCode.WEAK_PASSWORD, f"Passwords have at most {self._settings.max_length} characters")

    async def hash(self, password: str) -> str:
        """The hash to store. Raises LimitExceeded if too many are waiting."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, stored: str | None) -> bool:
        """True if `stored` is a hash of the password. Takes as long when there is none (`stored` is None).

        Raises LimitExceeded if too many are waiting.
        """
        if self.is_too_long(password):
            return False
        return await self._run(lambda: self._verify(stored or self._dummy.result(), password)) and stored is not None

    def is_too_long(self, password: str) -> bool:
        """Whether it is longer than any password may be."""
        return len(password) > self._settings.max_length

    async def run(self, work: Callable[[], bool]) -> bool:
        """Do slow work on a password of another kind, within the same bounds. Raises LimitExceeded, what it raises."""
        return await self._run(work)

    def needs_rehash(self, stored: str) -> bool:
        """True if `stored` was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._settings.max_waiting:
            raise LimitExceeded(_RETRY_AFTER_MS, "Too many people are logging in at the moment")
        self._waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Counted until the thread is done, even if the caller has gone away.
        running.add_done_callback(self._done)
        return await asyncio.shield(running)

    def _done(self, running: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not running.cancelled():
            running.exception()  # retrieved here in case nobody waits for it any more
