"""Whom a users table describes: rows turned into people, the same way whatever database they come from."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from bridges.filters import Filter, check_filter
from bridges.render import BadTemplate, Template
from bridges.users.schemes import SCHEMES

Row = Mapping[str, Any]
_LONGEST_NAME = 256
_LONGEST_MAIL = 500
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?")
_ALWAYS_OFF = ("null", "not_null")


class SourceAway(Exception):
    """The database does not answer, or refuses; the message says how, and holds no secret."""


class BadTable(Exception):
    """The table is not what the configuration says: a column is missing, or a row cannot be used."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted: the certificate is checked, against a file of authorities if there is one."""

    ca_file: str | None = None

    def context(self) -> ssl.SSLContext:
        """For drivers of Python's own sockets. Raises OSError for a file that cannot be read."""
        return ssl.create_default_context(cafile=self.ca_file)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of a site."""

    key: str
    """What their row is found by, as long as it lives."""
    localpart: str
    """What their user id would be made of; empty if nothing can be."""
    logins: tuple[str, ...]
    """What they may give as their user name."""
    displayname: str | None
    email: str | None
    is_enabled: bool

    @property
    def stamp(self) -> str:
        """Changes when what is shown of them does."""
        return hashlib.sha256(json.dumps([self.displayname, self.email]).encode()).hexdigest()[:32]


class Source(Protocol):
    """Reads one table of one database. All methods raise SourceAway and BadTable."""

    async def find(self, login: str, limit: int) -> list[Row]:
        """Rows with this text in one of the columns that people log in with."""
        ...

    async def by_keys(self, keys: list[str]) -> list[Row]:
        """Rows with these keys."""
        ...

    async def page(self, after: Row | None, limit: int) -> list[Row]:
        """Rows in the order of their keys, behind a row."""
        ...

    async def check(self) -> str:
        """Look whether table and columns are there; says what there is."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """What is where in a users table."""

    name: str
    key: str
    login: tuple[str, ...]
    password: str
    schemes: tuple[str, ...]
    localpart: str = ""
    """A template; empty: the first login column, in the letters of user ids."""
    displayname: str = ""
    email: str = ""
    enabled: Mapping[str, Any] | None = None
    """A condition that the row of a person who may log in meets."""

    @property
    def template(self) -> Template:
        """Of the localpart. Raises BadTemplate."""
        return Template(self.localpart or f"{{{{ {self.login[0]} | mxlocalpart }}}}")

    @property
    def columns(self) -> tuple[str, ...]:
        """All that are read, the key first."""
        names = [self.key, *self.login, self.password, *sorted(self.template.names)]
        names += [name for name in (self.displayname, self.email) if name]
        names += sorted(_columns_of(self.enabled))
        return tuple(dict.fromkeys(names))

    def faults(self) -> Iterator[str]:
        """What is wrong with the description."""
        if not _NAME.fullmatch(self.name):
            yield f"table: {self.name!r} is not the name of a table"
        if not self.login:
            yield "login: at least one column is needed"
            return
        if not self.schemes:
            yield f"schemes: at least one of {', '.join(sorted(SCHEMES))}"
        for name in self.schemes:
            if name not in SCHEMES:
                yield f"schemes: {name!r} is none of {', '.join(sorted(SCHEMES))}"
        if self.schemes and set(self.schemes) <= {"md5", "sha1"}:
            yield "schemes: md5 and sha1 are for old hashes beside another scheme, such as wordpress"
        try:
            columns = self.columns
        except BadTemplate as error:
            yield f"localpart: {error}"
            return
        for column in columns:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]{0,62}", column):
                yield f"{column!r} is not the name of a column"
        if self.enabled is not None and self.enabled.get("op") not in _ALWAYS_OFF:
            for fault in check_filter(dict(self.enabled), set(columns)):
                yield f"enabled: {fault}"

    def person(self, row: Row) -> Person:
        """Whom a row describes. A person without a usable name has no localpart, and logs in nowhere."""
        plain = {name: _plain(value) for name, value in row.items()}
        try:
            localpart = self.template.render(plain).strip()
        except BadTemplate:
            localpart = ""
        return Person(
            key=str(plain[self.key]),
            localpart=localpart,
            logins=tuple(str(plain[name]) for name in self.login if plain.get(name) not in (None, "")),
            displayname=_text(plain.get(self.displayname), _LONGEST_NAME) if self.displayname else None,
            email=_text(plain.get(self.email), _LONGEST_MAIL) if self.email else None,
            is_enabled=self._is_enabled(plain),
        )

    def hash_of(self, row: Row) -> str:
        """The stored password; empty for none."""
        value = row.get(self.password)
        if isinstance(value, bytes | bytearray | memoryview):
            value = bytes(value).rstrip(b"\0").decode("ascii", "replace")  # BINARY columns are filled up with NUL
        return value.strip() if isinstance(value, str) else ""

    def _is_enabled(self, row: Row) -> bool:
        condition = self.enabled
        if condition is None:
            return True
        if condition.get("op") in _ALWAYS_OFF:
            return bool((row.get(condition["col"]) is None) == (condition["op"] == "null"))
        return Filter(condition).holds(row)


def _columns_of(condition: Any) -> set[str]:
    """The columns that a condition looks at."""
    if isinstance(condition, Mapping):
        own = {condition["col"]} if isinstance(condition.get("col"), str) else set()
        return own.union(*(_columns_of(part) for part in (*condition.get("all", ()), *condition.get("any", ()))))
    return set()


def _plain(value: Any) -> Any:
    """A value of a database as templates and conditions take it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Decimal | float):
        return str(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, date | timedelta):
        return str(value)
    return str(value)[:1024]


def _text(value: Any, longest: int) -> str | None:
    """Something to show, without what cannot be stored or would move the cursor."""
    if value is None:
        return None
    text = "".join(letter for letter in str(value)[: longest * 4] if letter.isprintable()).strip()[:longest]
    return text.encode("utf-8", "replace").decode() or None
