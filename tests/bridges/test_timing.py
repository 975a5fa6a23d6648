"""Names that are not there cost what names that are there cost: hashes are counted, no clock is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bridges.users import schemes
from bridges.users.directory import Directory, Verdict
from bridges.users.formats import Format
from bridges.users.people import Row, SourceAway, Table
from tests.bridges.test_login import VECTORS, stored

RIGHT = "the right one"
WRONG = ("a guess", "", 'quoted "guess" that\'s slashed', " blanks ", "x" * 100)


class Rows:
    """A table in memory."""

    def __init__(self, *rows: Row) -> None:
        self.rows = rows

    async def find(self, login: str, limit: int) -> list[Row]:
        return [row for row in self.rows if row["name"] == login][:limit]

    async def by_keys(self, keys: list[str]) -> list[Row]:
        return [row for row in self.rows if str(row["id"]) in keys]

    async def page(self, after: Row | None, limit: int) -> list[Row]:
        return [row for row in self.rows if after is None or row["id"] > after["id"]][:limit]

    async def check(self) -> str:
        return ""

    async def close(self) -> None:
        pass


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Format and stored hash of each computation since this was emptied. None is really done: it would take long."""
    made: list[tuple[str, str]] = []

    def verify(format_: Format, hash_: str, password: bytes) -> bool:
        made.append((format_.name, hash_))
        return password == RIGHT.encode()

    monkeypatch.setattr(schemes, "verify", verify)
    return made


async def at_once(work: Callable[[], bool]) -> bool:
    return work()


def directory(names: tuple[str, ...], *hashes: str) -> Directory:
    rows: list[Any] = [{"id": n, "name": f"user{n}", "hash": hash_, "on": n % 2} for n, hash_ in enumerate(hashes)]
    table = Table("users", "id", ("name",), "hash", names, enabled={"col": "on", "op": "eq", "value": 1})
    return Directory(table, Rows(*rows), at_once, seconds=10)


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        (("wordpress", "phpass", "bcrypt"), "wordpress-login"),
        (("wordpress", "phpass", "bcrypt"), "wordpress-phpass"),
        (("wordpress", "phpass", "bcrypt"), "php-bcrypt"),
        (("django",), "django-scrypt"),
        (("crypt",), "crypt-sha512-rounds"),
        (("symfony",), "symfony-bcrypt"),
        (("ldap",), "ldap-ssha512"),
    ],
)
async def test_as_many_hashes_of_the_same_cost(
    names: tuple[str, ...], scheme: str, computed: list[tuple[str, str]]
) -> None:
    hash_ = next(c["hash"] for c in json.loads(VECTORS.read_text()) if c["scheme"] == scheme and c["valid"])
    users = directory(names, "!", "no hash at all", hash_, hash_)

    async def cost(login: str, password: str) -> list[tuple[str, str]]:
        computed.clear()
        verdict, _ = await users.check(login, None, password)
        if verdict is Verdict.UNKNOWN:
            await users.pretend(password)  # as those do that ask several tables
        assert verdict in (Verdict.UNKNOWN, Verdict.WRONG)
        return computed.copy()

    for round_ in ("before anybody has logged in", "after it"):
        for password in WRONG:
            unknown = [await cost(login, password) for login in ("nobody", "x" * 1000, "user\0", "")]
            known = [await cost(f"user{number}", password) for number in (0, 1, 2, 3)]
            assert len({tuple(one) for one in unknown + known if one}) <= 1, (round_, password)
            if password:  # the empty one is nobody's, and some formats do not look at it
                assert all(unknown), (round_, password)
            assert all(len(one) == len(unknown[0]) for one in known + unknown), (round_, password)
        assert (await users.check("user3", None, RIGHT))[0] is Verdict.RIGHT


async def test_a_table_without_passwords_costs_something(computed: list[tuple[str, str]]) -> None:
    users = directory(("django",), "!", "")
    for _ in range(2):
        await users.pretend("guess")
    assert [name for name, _ in computed] == ["bcrypt", "bcrypt"]


async def test_a_table_that_is_away_is_looked_at_later(
    computed: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_ = stored("django-scrypt")
    users = directory(("django",), hash_)

    async def away(*_asked: object) -> list[Row]:
        raise SourceAway("it does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Rows, "page", away)
        await users.pretend("guess")
    users._away_until = 0
    assert (await users.check("user0", None, "guess"))[0] is Verdict.WRONG
    await users.pretend("guess")
    assert [name for name, _ in computed] == ["bcrypt", "django-scrypt", "django-scrypt"]
