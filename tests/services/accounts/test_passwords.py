"""Password hashing: policy, cost changes and the bound on waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.services.accounts.passwords import Passwords, PasswordSettings
from tests.support.accounts import TestEntropy

CHEAP = PasswordSettings(time_cost=1, memory_kib=64)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAP, TestEntropy())
    yield made
    made.close()


async def test_verify(passwords: Passwords) -> None:
    stored = await passwords.hash("пароль\0")
    assert stored.startswith("$argon2id$")
    assert await passwords.verify("пароль\0", stored)
    assert not await passwords.verify("пароль", stored)
    assert not await passwords.verify("anything", None)
    assert not await passwords.verify("anything", "not a hash")


async def test_parameters_change(passwords: Passwords) -> None:
    stored = await passwords.hash("secret123")
    dearer = Passwords(PasswordSettings(time_cost=2, memory_kib=64), TestEntropy())
    assert not passwords.needs_rehash(stored)
    assert dearer.needs_rehash(stored) and await dearer.verify("secret123", stored)
    dearer.close()


@pytest.mark.parametrize("password", ["", "1234567", "x" * 513])
def test_policy(passwords: Passwords, password: str) -> None:
    with pytest.raises(MatrixError) as caught:
        passwords.check_policy(password)
    assert caught.value.code is ErrCode.WEAK_PASSWORD


async def test_only_so_many_may_wait() -> None:
    passwords = Passwords(PasswordSettings(time_cost=1, memory_kib=64, max_waiting=3), TestEntropy())
    results = await asyncio.gather(*(passwords.hash("secret123") for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 3
    assert sum(isinstance(result, LimitExceeded) for result in results) == 7
    assert isinstance(await passwords.hash("secret123"), str)
    passwords.close()


async def test_a_caller_that_goes_away_still_counts_until_its_thread_is_done() -> None:
    passwords = Passwords(PasswordSettings(time_cost=1, memory_kib=64, max_waiting=1), TestEntropy())
    task = asyncio.create_task(passwords.hash("secret123"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(LimitExceeded):
        await passwords.hash("secret123")
    while passwords._waiting:
        await asyncio.sleep(0.001)
    assert isinstance(await passwords.hash("secret123"), str)
    passwords.close()
