"""`[users.NAME]`: the bridge judges logins for a homeserver that asks over HTTP (docs/bridges/login.md).

The contract is that of the REST password providers: it serves Hromada's `type = "rest"`, and the modules of others.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any, Literal

import msgspec
import structlog
from quart import Quart, request

from bridges import metrics
from bridges.config import Config, ConfigError, per_second, seconds
from bridges.sources.tls import tls_context
from bridges.state import State
from bridges.users.directory import BadTable, Directory, Person, SourceAway, Verdict
from bridges.users.mongodb import MongoUsers
from bridges.users.mysql import MysqlUsers
from bridges.users.people import Source, Table, Tls
from bridges.users.postgres import PostgresUsers

PATH = "/_matrix-internal/identity/v1/check_credentials"
_THREADS, _WAITING = 2, 50
_REMEMBERED = 10_000
_LARGEST_BODY = 65_536
_SOURCES: Mapping[str, Callable[..., Source]] = {
    "postgresql": PostgresUsers,
    "mysql": MysqlUsers,
    "mongodb": MongoUsers,
}
_log = structlog.get_logger(__name__)


class Password(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Where the stored password is."""

    column: str
    """The column."""
    schemes: tuple[str, ...]
    """How it is stored."""


class Profile(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is shown of people."""

    displayname: str = ""
    """The column with the name."""
    email: str = ""
    """The column with the address."""


class Throttle(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How often passwords may be tried."""

    per_user: str = "5/min"
    """For one name."""
    per_ip: str = ""
    """For the homeserver to keep: it alone sees addresses."""


class SiteUsers(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A users table."""

    source: str
    """The database."""
    key: tuple[str, ...]
    """The column of its primary key."""
    login: tuple[str, ...]
    """Columns that people may log in with."""
    password: Password
    """Their passwords."""
    table: str = ""
    """The table."""
    collection: str = ""
    """The collection (MongoDB)."""
    enabled: dict[str, Any] | None = None
    """Who may log in."""
    localpart: str = ""
    """A template of user ids."""
    profile: Profile = Profile()
    """What is shown of them."""
    throttle: Throttle = Throttle()
    """Limits."""
    provision: Literal["on_login", "all"] = "on_login"
    """`all` is for the homeserver's own providers (docs/bridges/login.md)."""
    on_disable: Literal["", "logout"] = ""
    """`logout` is for the homeserver's own providers."""
    directory: bool = False
    """For the homeserver's own providers."""
    capture: dict[str, Any] = {}
    """Not needed: rows are read when they are asked for."""

    @property
    def description(self) -> Table:
        """The table as readers take it."""
        return Table(
            self.table or self.collection,
            self.key[0] if self.key else "",
            self.login,
            self.password.column,
            self.password.schemes,
            self.localpart,
            self.profile.displayname,
            self.profile.email,
            self.enabled,
        )

    @property
    def later(self) -> list[str]:
        """Settings that only the homeserver can keep (docs/adr/0019): they are warned of, and change nothing here."""
        wanted = {
            "provision": self.provision == "all",
            "on_disable": bool(self.on_disable),
            "directory": self.directory,
            "capture": bool(self.capture),
            "throttle.per_ip": bool(self.throttle.per_ip),
        }
        return [name for name, is_wanted in wanted.items() if is_wanted]


def users(config: Config) -> dict[str, SiteUsers]:
    """The users tables of a configuration. Raises ConfigError."""
    found = {}
    for name, table in config.users.items():
        try:
            found[name] = msgspec.convert(table, SiteUsers)
        except msgspec.ValidationError as error:
            raise ConfigError([f"users.{name}: {error}"]) from None
    return found


def faults(config: Config) -> Iterator[str]:
    """What is wrong with the users tables of a configuration."""
    try:
        tables = users(config)
    except ConfigError as error:
        yield from error.faults
        return
    for name, table in tables.items():
        where = f"users.{name}"
        if table.source not in config.source:
            yield f"{where}.source: there is no source.{table.source}"
        if len(table.key) != 1:
            yield f"{where}.key must be one column"
        elif bool(table.table) == bool(table.collection):
            yield f"{where}: it has a table, or for MongoDB a collection"
        else:
            yield from (f"{where}.{fault}" for fault in table.description.faults())
        if config.appservice.address is None:
            yield f"{where}: appservice.listen is needed"
        try:
            per_second(table.throttle.per_user)
        except ValueError as error:
            yield f"{where}.throttle.per_user: {error}"


class _Throttle:
    """How often each of many names was tried lately."""

    def __init__(self, rate: float) -> None:
        self._rate, self._most = rate, max(5.0, rate)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def passes(self, name: str) -> bool:
        """Whether the name may be tried now."""
        now = time.monotonic()
        left, at = self._left.pop(name, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        self._left[name] = (max(0.0, left - 1) if left >= 1 else left, now)
        while len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return left >= 1


class Logins:
    """Judges logins by the users tables of a bridge, in their order."""

    def __init__(self, config: Config, state: State) -> None:
        """Raises ConfigError for want of a driver."""
        self._state = state
        self._server_name = config.appservice.server_name
        self._secret = config.appservice.hs_token.read().encode()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        self._directories: dict[str, Directory] = {}
        self._throttles: dict[str, _Throttle] = {}
        for name, table in users(config).items():
            for setting in table.later:
                _log.warning(
                    "users_setting_has_no_effect",
                    setting=f"users.{name}.{setting}",
                    instead="[[auth.providers]] of the homeserver: docs/bridges/login.md",
                )
            settings = config.source[table.source]
            url = settings.url.read()
            tls = None
            if tls_context(url, settings.tls) is not None:
                tls = Tls((settings.tls.ca or None) if settings.tls is not None else None)
            limit = seconds(settings.timeouts.statement)
            try:
                source = _SOURCES[settings.driver](table.description, url, tls=tls, seconds=limit, pool=settings.pool)
            except (ImportError, ValueError) as error:
                raise ConfigError([f"users.{name}: {error}"]) from None
            self._directories[name] = Directory(table.description, source, self._in_thread, seconds=limit)
            self._throttles[name] = _Throttle(per_second(table.throttle.per_user))

    async def _in_thread(self, work: Callable[[], bool]) -> bool:
        if self._waiting >= _WAITING:
            raise SourceAway("too many passwords wait to be checked")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End all connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for directory in self._directories.values():
            await directory.close()

    def may_ask(self, address: str | None, authorization: str) -> bool:
        """Who runs on this machine may ask, and who shows the homeserver's token."""
        try:
            if ip_address(address or "").is_loopback:
                return True
        except ValueError:
            pass
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._secret)

    async def answer(self, data: bytes) -> tuple[dict[str, Any], int]:
        """The answer to a question of the contract. 503: nothing is known, and nobody may be let in."""
        refused: tuple[dict[str, Any], int] = ({"auth": {"success": False}}, 200)
        try:
            asked = json.loads(data)["user"]
            user_id, password = asked["id"], asked["password"]
            good = isinstance(user_id, str) and isinstance(password, str) and len(password) <= 4096
        except (ValueError, KeyError, TypeError, RecursionError):
            good = False
        if not good:
            return {"error": 'expected {"user": {"id": …, "password": …}}'}, 400
        localpart, _, server = user_id.removeprefix("@").partition(":")
        if server not in ("", self._server_name):
            return refused
        last = None
        for name, directory in self._directories.items():
            if not self._throttles[name].passes(localpart.casefold()):
                metrics.LOGINS.labels(name, "throttled").inc()
                return {"error": "too many tries"}, 429
            try:
                verdict, person = await directory.check(localpart, None, password)
            except (SourceAway, BadTable) as error:
                metrics.LOGINS.labels(name, "unavailable").inc()
                _log.warning("users_unavailable", users=name, error=str(error))
                return {"error": f"{name} does not answer"}, 503
            if verdict is not Verdict.RIGHT:  # who is right may have no usable name: `_accepted` counts those
                metrics.LOGINS.labels(name, verdict.name.lower()).inc()
            if verdict is Verdict.UNKNOWN or person is None:
                last = directory
                continue
            return self._accepted(name, person) if verdict is Verdict.RIGHT else refused
        if last is not None:
            await last.pretend(password)
        return refused

    def _accepted(self, name: str, person: Person) -> tuple[dict[str, Any], int]:
        answer = self._linked(name, person)
        metrics.LOGINS.labels(name, "right" if answer["auth"]["success"] else "unusable").inc()
        return answer, 200

    def _linked(self, name: str, person: Person) -> dict[str, Any]:
        if not re.fullmatch(r"[a-z0-9._=/+-]{1,200}", person.localpart) or person.localpart.startswith("_"):
            _log.warning("users_name_unusable", users=name, key=person.key)
            return {"auth": {"success": False}}
        mxid = f"@{person.localpart}:{self._server_name}"
        with self._state.transaction() as db:
            owner = db.execute("SELECT users, key FROM linked WHERE mxid = ?", (mxid,)).fetchone()
            if owner is not None and owner != (name, person.key):
                _log.warning("users_name_taken", users=name, key=person.key, mxid=mxid)
                return {"auth": {"success": False}}
            db.execute("INSERT INTO linked VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (mxid, name, person.key))
        profile: dict[str, Any] = {}
        if person.displayname:
            profile["display_name"] = person.displayname
        if person.email:
            profile["three_pids"] = [{"medium": "email", "address": person.email}]
        return {"auth": {"success": True, "mxid": mxid, "profile": profile}}


def serve_logins(app: Quart, logins: Logins) -> None:
    """Add the route to the application of the bridge."""
    app.after_serving(logins.close)

    @app.post(PATH)
    async def check_credentials() -> tuple[dict[str, Any], int]:
        """One login."""
        if not logins.may_ask(request.remote_addr, request.headers.get("Authorization", "")):
            return {"error": "this is for the homeserver"}, 403
        if (request.content_length or _LARGEST_BODY + 1) > _LARGEST_BODY:
            return {"error": "too large"}, 413
        data = await request.get_data()
        return await logins.answer(data.encode() if isinstance(data, str) else data)
