"""From a TOML file, the environment and the command line to a `Config`; every fault found is reported at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from homeserver.config.auth import Auth
from homeserver.config.fields import ENVIRONMENT_PREFIX, Setting, sections, settings
from homeserver.config.model import Config
from homeserver.ports.blobs import StoreRule

# spec: appendices#server-name
_SERVER_NAME = re.compile(r"(?:[A-Za-z0-9.-]{1,220}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z", re.ASCII)
_WEAK_SECRETS = frozenset(("changeme", "secret", "password", "registration_shared_secret", "default"))


# With or without the driver's name: people copy these from other programs.
_DATABASE_OPTIONS = {
    *("host", "passfile", "port", "service", "target_session_attrs"),
    *("ssl", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert"),
}
_PICTURE_FORMATS = frozenset(("png", "jpeg", "gif", "webp", "avif", "heic", "video"))
_DATABASES = {"postgresql", "postgres", "postgresql+asyncpg", "sqlite", "sqlite+aiosqlite"}


class ConfigError(Exception):
    """What is wrong with the configuration: one line per fault, each with the setting's name."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def load(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """The configuration; flags go before the environment, that before the file, that before defaults.

    `flags` maps `section.name` to text. Raises ConfigError with every fault there is.
    """
    faults: list[str] = []
    tables = _read(file, faults) if file is not None else {}
    known = {name: {setting.name: setting for setting in settings(name, model)} for name, model in sections()}
    _refuse_unknown(tables, known, environment, faults)
    values: dict[str, Any] = {}
    for name, model in sections():
        table = tables.get(name, {})
        chosen = {
            setting.name: _choose(setting, table if isinstance(table, dict) else {}, environment, flags, faults)
            for setting in known[name].values()
        }
        values[name] = model(**chosen)
    config = Config(**values)
    _check(config, faults)
    if faults:
        raise ConfigError(faults)
    return config


def _read(file: Path, faults: list[str]) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        faults.append(f"{file}: cannot be read: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{file}: is not TOML: {error}")
    return {}


def _refuse_unknown(
    tables: dict[str, Any], known: dict[str, dict[str, Setting]], environment: Mapping[str, str], faults: list[str]
) -> None:
    for section, table in tables.items():
        if section not in known:
            faults.append(f"{section}: there is no such section")
        elif not isinstance(table, dict):
            faults.append(f"{section}: is a section, not a value")
        else:
            faults += [f"{section}.{name}: there is no such setting" for name in table if name not in known[section]]
    variables = {setting.variable for section in known.values() for setting in section.values()}
    for variable in environment:
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in variables:
            faults.append(f"{variable}: there is no such setting")


def _choose(
    setting: Setting, table: dict[str, Any], environment: Mapping[str, str], flags: Mapping[str, str], faults: list[str]
) -> Any:
    """The setting's value from its strongest source; its default, and a fault, if that is wrong."""
    try:
        if setting.key in flags:
            return setting.convert_text(flags[setting.key])
        if setting.variable in environment:
            return setting.convert_text(environment[setting.variable])
        if setting.name in table:
            return setting.convert(table[setting.name])
    except ValueError as error:
        source = f" ({setting.variable})" if setting.variable in environment else ""
        faults.append(f"{setting.key}{source}: {error}")
    return setting.default


def _check(config: Config, faults: list[str]) -> None:
    """What a single value's type and bounds cannot say."""
    if not _SERVER_NAME.match(config.server.name):
        faults.append("server.name: is not a server name (spec: appendices#server-name)")
    try:
        split_address(config.server.listen)
    except ValueError as error:
        faults.append(f"server.listen: {error}")
    if config.server.public_baseurl and not config.server.public_baseurl.startswith(("https://", "http://")):
        faults.append("server.public_baseurl: must start with https:// or http://")
    if config.database.url and config.database.url.partition("://")[0] not in _DATABASES:
        faults.append("database.url: must start with postgresql:// or sqlite:///")
    faults += [
        f"database.url: {name!r} is no option of a connection; there are {', '.join(sorted(_DATABASE_OPTIONS))}"
        for name in sorted(set(parse_qs(urlsplit(config.database.url).query, True)) - _DATABASE_OPTIONS)
        if config.database.url.startswith("postgres")
    ]
    if config.redis.url and not config.redis.url.startswith(("redis://", "rediss://", "unix://")):
        faults.append("redis.url: must start with redis://, rediss:// or unix://")
    for key, networks in (
        ("server.trusted_proxies", config.server.trusted_proxies),
        ("metrics.allow", config.metrics.allow),
        ("outbound.allow", config.outbound.allow),
        ("outbound.deny", config.outbound.deny),
    ):
        faults += [f"{key}: {text!r} is not a network" for text in networks if not _is_network(text)]
    if config.mail.host and "@" not in config.mail.sender:
        faults.append("mail.sender: the address that letters come from is needed with mail.host")
    _check_media(config, faults)
    _check_secrets(config, faults)


def _check_media(config: Config, faults: list[str]) -> None:
    media = config.media
    formats = ", ".join(sorted(_PICTURE_FORMATS))
    unknown = sorted(set(media.thumbnail_formats) - _PICTURE_FORMATS)
    faults += [f"media.thumbnail_formats: {name!r} is none of {formats}" for name in unknown]
    if "heic" in media.thumbnail_formats and find_spec("pillow_heif") is None:
        faults.append("media.thumbnail_formats: heic needs pillow-heif: install hromada[heic]")
    stores = {"local", "gcs"} if media.gcs_bucket else {"local"}
    for text in media.store_rules:
        try:
            if (store := StoreRule.parse(text).store) not in stores:
                faults.append(f"media.store_rules: {text!r}: there is no store {store!r}")
        except ValueError as error:
            faults.append(f"media.store_rules: {text!r}: {error}")
    if media.default_store and media.default_store not in stores:
        faults.append("media.default_store: gcs needs media.gcs_bucket")
    try:
        legacy_before_ms(media.legacy_before)
    except ValueError:
        faults.append("media.legacy_before: must be a date such as 2026-01-31")


def legacy_before_ms(date: str) -> int:
    """The start of a day in UTC, in Unix milliseconds; 0 for no date. Raises ValueError."""
    if not date:
        return 0
    return int(datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)


def _check_secrets(config: Config, faults: list[str]) -> None:
    secret = config.registration.shared_secret
    if secret and (len(secret) < 16 or len(set(secret)) < 6 or secret.lower() in _WEAK_SECRETS):
        # The value itself must not reach a log.
        faults.append("registration.shared_secret: is too short or too simple; use at least 16 random characters")
    if config.registration.first_user and not is_loopback(config.server.listen):
        faults.append(
            "registration.first_user: whoever comes first would own the server, so it must listen on a loopback "
            "address; or leave this off and use `hromada user add --admin NAME`"
        )
    if config.support.demo and not is_loopback(config.server.listen):
        faults.append("support.demo: is for servers that listen on a loopback address")
    if config.registration.require_terms and not config.registration.terms_url:
        faults.append("registration.terms_url: is needed with registration.require_terms")
    if config.auth.jwt_login:
        key = "jwt_secret_file" if config.auth.jwt_algorithm == "HS256" else "jwt_public_key_file"
        for name in ("jwt_issuer", key):
            if not getattr(config.auth, name):
                faults.append(f"auth.{name}: is needed with auth.jwt_login")
    _check_providers(config.auth, faults)


def _check_providers(auth: Auth, faults: list[str]) -> None:
    """What can be said without looking into the databases; the rest is said when they are opened."""
    names = [provider.name for provider in auth.providers]
    for number, provider in enumerate(auth.providers):
        where = f"auth.providers[{number}]"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", provider.name):
            faults.append(f"{where}.name: is made of a-z, 0-9 and _, at most 32")
        if names.index(provider.name) != number:
            faults.append(f"{where}.name: there is another provider {provider.name}")
        if sum(map(bool, (provider.url, provider.url_file, provider.url_env))) != 1:
            faults.append(f"{where}: one of url, url_file and url_env is needed")
        if provider.type != "rest":
            faults += [
                f"{where}.{name}: is needed" for name in ("table", "login", "schemes") if not getattr(provider, name)
            ]


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def is_loopback(listen: str) -> bool:
    """Whether only this machine reaches `HOST:PORT`."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(listen: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT`, split. Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:8008")
    return host, int(port)
