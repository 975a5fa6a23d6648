"""Constructs login providers: users tables (`bridges.users`), and services over HTTP. Imported where there are any."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from bridges.users.directory import BadTable, Directory, InThread, Person, SourceAway
from bridges.users.mongodb import MongoUsers
from bridges.users.mysql import MysqlUsers
from bridges.users.people import Source, Table, Tls
from bridges.users.postgres import PostgresUsers
from homeserver.config.auth import LoginProvider as ProviderConfig
from homeserver.config.keyfiles import read_private
from homeserver.config.load import ConfigError
from homeserver.config.model import Config
from homeserver.ports.identity import Judgement, LoginProvider, ProviderUnavailable, SitePerson, Verdict
from homeserver.ports.outbound import OutboundSource
from homeserver.remote.identity import RestProvider

_SOURCES: Mapping[str, Callable[..., Source]] = {
    "postgresql": PostgresUsers,
    "mysql": MysqlUsers,
    "mongodb": MongoUsers,
}
_SCHEMES = {
    "postgresql": ("postgresql", "postgres"),
    "mysql": ("mysql", "mariadb"),
    "mongodb": ("mongodb", "mongodb+srv"),
    "rest": ("http", "https"),
}


class TableProvider(LoginProvider):
    """Implements `ports.identity.LoginProvider` on a users table."""

    def __init__(self, name: str, title: str, password_url: str, directory: Directory) -> None:
        self.name = name
        self.title = title
        self.password_url = password_url
        self._directory = directory

    async def judge(self, login: str, key: str | None, password: str) -> Judgement:
        try:
            verdict, person = await self._directory.check(login, key, password)
        except (SourceAway, BadTable) as error:
            raise ProviderUnavailable(str(error)) from None
        return Judgement(Verdict[verdict.name], None if person is None else _person(person))

    async def pretend(self, password: str) -> None:
        await self._directory.pretend(password)

    async def people(self, keys: Collection[str]) -> Mapping[str, SitePerson] | None:
        try:
            found = await self._directory.people(keys)
        except (SourceAway, BadTable) as error:
            raise ProviderUnavailable(str(error)) from None
        return {key: _person(person) for key, person in found.items()}

    async def everybody(self, page: int) -> AsyncIterator[Sequence[SitePerson]]:
        try:
            async for people in self._directory.pages(page):
                yield [_person(person) for person in people]
        except (SourceAway, BadTable) as error:
            raise ProviderUnavailable(str(error)) from None

    async def examine(self) -> str:
        try:
            return await self._directory.examine()
        except (SourceAway, BadTable) as error:
            raise ProviderUnavailable(str(error)) from None

    async def close(self) -> None:
        await self._directory.close()


def _person(person: Person) -> SitePerson:
    return SitePerson(
        person.key,
        person.localpart,
        person.logins,
        person.displayname,
        person.email,
        person.is_enabled,
        person.stamp,
    )


def build(config: Config, in_thread: InThread, outbound: OutboundSource) -> list[LoginProvider]:
    """The login providers of the configuration. None is asked yet. Raises ConfigError, UnsafeFile."""
    faults: list[str] = []
    made = [_provider(config, one, in_thread, outbound, faults) for one in config.auth.providers]
    if faults:
        raise ConfigError(faults)
    return [provider for provider in made if provider is not None]


def _provider(
    config: Config, settings: ProviderConfig, in_thread: InThread, outbound: OutboundSource, faults: list[str]
) -> LoginProvider | None:
    where = f"auth.providers.{settings.name}"
    url = _url(config, settings)
    title, seconds = settings.title or settings.name, float(settings.timeout_seconds)
    if urlsplit(url).scheme not in _SCHEMES[settings.type]:
        faults.append(f"{where}.url: must start with {_SCHEMES[settings.type][0]}://")
        return None
    if settings.type == "rest":
        name = config.server.name
        return RestProvider(settings.name, title, settings.password_url, url, name, outbound, seconds=seconds)
    table = Table(
        settings.table,
        settings.key,
        settings.login,
        settings.password,
        settings.schemes,
        settings.localpart,
        settings.displayname,
        settings.email,
        settings.enabled,
    )
    if found := list(table.faults()):
        faults += [f"{where}.{fault}" for fault in found]
        return None
    try:
        source = _SOURCES[settings.type](
            table, url, tls=_tls(config, settings, url), seconds=seconds, pool=settings.pool_size
        )
    except ImportError:
        faults.append(f"{where}: {settings.type} needs more packages: pip install 'hromada[{settings.type}]'")
    except (ValueError, OSError) as error:
        faults.append(f"{where}: {error}")
    else:
        directory = Directory(table, source, in_thread, seconds=seconds)
        return TableProvider(settings.name, title, settings.password_url, directory)
    return None


def _url(config: Config, settings: ProviderConfig) -> str:
    where = f"auth.providers.{settings.name}"
    if settings.url_env:
        return os.environ.get(settings.url_env, "")
    if settings.url_file:
        path = Path(config.server.data_dir) / settings.url_file
        return read_private(path, f"{where}.url_file").decode("utf-8", "replace").strip()
    return settings.url


def _tls(config: Config, settings: ProviderConfig, url: str) -> Tls | None:
    """How the connection is encrypted; None: not."""
    if settings.tls == "off" or (settings.tls == "auto" and is_local(url)):
        return None
    file = str(Path(config.server.data_dir) / settings.tls_ca) if settings.tls_ca else None
    return Tls(file)


def is_local(url: str) -> bool:
    """Whether a database is on this machine, where nobody listens in."""
    host = urlsplit(url).hostname
    try:
        return host in (None, "localhost") or ip_address(host or "").is_loopback
    except ValueError:
        return False
