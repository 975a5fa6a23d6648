"""Addresses of accounts and their checks, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from homeserver.ports.addresses import EMAIL, AddressCheck, UserAddress
from homeserver.ports.store import UniqueViolation
from homeserver.storage.unit import Database

ALICE = "@alice:hromada.test"
BOB = "@bob:hromada.test"
MAIL = UserAddress(EMAIL, "alice@example.org", ALICE, 1, 2)
CHECK = AddressCheck("sid", b"key", "add", EMAIL, "alice@example.org", ALICE, 1, "uk", 1_000)


async def test_an_address_belongs_to_one_account(store: Database) -> None:
    later = replace(MAIL, address="a@example.org", added_ms=3)
    async with store.write() as tx:
        assert await tx.addresses.add(later)
        assert await tx.addresses.add(MAIL)
        assert not await tx.addresses.add(replace(MAIL, user_id=BOB))
        assert not await tx.addresses.remove(BOB, EMAIL, MAIL.address)
    async with store.read() as tx:
        assert await tx.addresses.of_user(ALICE) == [MAIL, later]
        assert await tx.addresses.owner(EMAIL, MAIL.address) == MAIL
        assert await tx.addresses.owner("msisdn", MAIL.address) is None
    async with store.write() as tx:
        assert await tx.addresses.remove(ALICE, EMAIL, MAIL.address)
        assert not await tx.addresses.remove(ALICE, EMAIL, MAIL.address)
        assert await tx.addresses.add(replace(MAIL, user_id=BOB))
        await tx.addresses.begin(CHECK, 0)
        await tx.addresses.forget_user(ALICE)
        assert await tx.addresses.of_user(ALICE) == []
        assert await tx.addresses.check("sid", 0) is None
        assert await tx.addresses.owner(EMAIL, MAIL.address) == replace(MAIL, user_id=BOB)


async def test_a_check_is_used_once_and_only_after_its_link_was_followed(store: Database) -> None:
    async with store.write() as tx:
        await tx.addresses.begin(CHECK, 0)
        assert await tx.addresses.take("sid", 5) is None
        await tx.addresses.confirm("sid", 5)
        await tx.addresses.confirm("sid", 6)
        confirmed = replace(CHECK, validated_ms=5)
        assert await tx.addresses.check("sid", 999) == confirmed
        for wrong in ("other", "nul\0", "\ud800"):
            assert await tx.addresses.check(wrong, 5) is None
        assert await tx.addresses.take("sid", 1_000) is None, "expired"
        assert await tx.addresses.take("sid", 999) == confirmed
        assert await tx.addresses.take("sid", 999) is None


async def test_one_check_of_a_key_is_under_way(store: Database) -> None:
    async with store.write() as tx:
        await tx.addresses.begin(CHECK, 0)
        assert not await tx.addresses.ask_again(b"key", 1)
        assert await tx.addresses.ask_again(b"key", 3)
        assert not await tx.addresses.ask_again(b"key", 2)
        assert await tx.addresses.by_key(b"key", 5) == replace(CHECK, send_attempt=3)
        assert await tx.addresses.by_key(b"key", 1_000) is None
    with pytest.raises(UniqueViolation):
        async with store.write() as tx:
            await tx.addresses.begin(replace(CHECK, sid="other"), 999)
    async with store.write() as tx:
        await tx.addresses.begin(replace(CHECK, sid="other", expires_ms=2_000), 1_000)
        assert await tx.addresses.check("sid", 0) is None


async def test_checks_expire_and_are_few(store: Database) -> None:
    async with store.write() as tx:
        for number in range(1, 8):
            check = replace(CHECK, sid=f"{number}", key=b"%d" % number, expires_ms=number)
            await tx.addresses.begin(check, 0)
        assert await tx.addresses.prune(2, 7, 1) == 1
        assert await tx.addresses.prune(2, 7, 9) == 1
        assert await tx.addresses.prune(2, 2, 9) == 3
        assert [await tx.addresses.check(f"{number}", 0) is None for number in (5, 6, 7)] == [True, False, False]
        await tx.addresses.forget_checks(ALICE, "password")
        assert await tx.addresses.check("6", 0) is not None
        await tx.addresses.forget_checks(ALICE, "add")
        assert await tx.addresses.check("6", 0) is None
