"""The composition root: from a `Config` to a server that can be served. The only module that constructs adapters.

`build` is the one function that constructs services; the rest prepares what it needs.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec

from client_api.deps import ClientServices, PublicInfo
from homeserver.config.keyfiles import create_private, dump_signing_key, load_signing_key, new_signing_key, read_private
from homeserver.config.model import Config
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.signatures import SigningKey
from homeserver.ports.clock import Entropy
from homeserver.ports.ratelimits import Rate
from homeserver.ports.requester import Requester
from homeserver.roles import PACKAGES, Role
from homeserver.system import SystemClock, SystemEntropy
from homeserver.web import operations
from homeserver.web.app import Application, WebSettings
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import Network, RateLimiter

Worker = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Server:
    """What `serve` runs."""

    app: Application
    workers: Sequence[Worker]
    """Loops that run as long as the server does."""
    release: Callable[[], None]
    """Make all held requests answer now, and later ones at once."""
    close: Callable[[], Awaitable[None]]
    """Let go of the database and of everything else, after the last answer."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The server's keys."""

    signing_key: SigningKey
    jwt_keys: bytes
    """The content of the key file; `services/accounts/tokens` reads it."""


async def build(config: Config, roles: Sequence[Role]) -> Server:
    """Construct adapters, services and the application. Raises UnsafeFile for key files that cannot be used."""
    clock, metrics = SystemClock(), Metrics()
    load_secrets(config)
    limits = rate_limiter(config, clock)
    operators = operations.Operations(metrics, networks(config.metrics.allow))
    mounts: list[Mount[Any]] = [Mount(operators, operations.ROUTES)]
    if "client" in roles:
        mounts.append(import_module(PACKAGES["client"]).mount(ClientServices(info=public_info(config))))
    app = Application(
        mounts,
        settings=web_settings(config),
        authenticator=_NoAccounts(),
        limits=limits,
        metrics=metrics,
        clock=clock,
    )
    return Server(app, workers=(), release=_nothing, close=_nothing_to_close)


class _NoAccounts:
    """The authenticator of a server that has no accounts yet."""

    async def authenticate(
        self, token: str, *, masquerade_user: str | None = None, masquerade_device: str | None = None
    ) -> Requester:
        raise MatrixError(ErrCode.UNKNOWN_TOKEN, "Unknown access token")


def _nothing() -> None: ...


async def _nothing_to_close() -> None: ...


# --- parts ---


def data_path(config: Config, name: str) -> Path:
    """A file of the configuration, relative to the data folder."""
    return Path(config.server.data_dir) / name


def database_url(config: Config) -> str:
    """Where the database is."""
    return config.database.url or f"sqlite:///{data_path(config, 'hromada.db').resolve()}"


def load_secrets(config: Config) -> Secrets:
    """Read the key files; make those that do not exist. Raises UnsafeFile."""
    entropy = SystemEntropy()
    signing_path = data_path(config, config.server.signing_key_file)
    jwt_path = data_path(config, config.server.jwt_key_file)
    if not signing_path.exists():
        create_private(signing_path, dump_signing_key(new_signing_key(entropy)))
    if not jwt_path.exists():
        create_private(jwt_path, _new_jwt_keys(entropy))
    return Secrets(load_signing_key(signing_path), read_private(jwt_path, "server.jwt_key_file"))


def _new_jwt_keys(entropy: Entropy) -> bytes:
    """One Ed25519 key in the format of `services/accounts/tokens.load_keys`: a list, current key first."""
    seed = msgspec.json.encode(new_signing_key(entropy).seed)  # bytes become padded base64
    return json.dumps([{"kid": entropy.letters(8).lower(), "key": json.loads(seed)}], indent=2).encode()


def rate_limiter(config: Config, clock: SystemClock) -> RateLimiter:
    """The rate limits of the configuration."""
    fields = msgspec.structs.asdict(config.rate_limits)
    rates = {name: value for name, value in fields.items() if isinstance(value, Rate)}
    return RateLimiter(rates, clock, enabled=config.rate_limits.enabled)


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks of a checked configuration."""
    return tuple(ip_network(text) for text in texts)


def web_settings(config: Config) -> WebSettings:
    """The bounds of the web layer."""
    return WebSettings(
        body_limit=config.limits.body_bytes,
        body_timeout=config.limits.body_seconds,
        max_in_flight=config.limits.requests_in_flight,
        max_held=config.limits.long_polls,
        query_tokens=config.auth.query_tokens,
        trusted_proxies=networks(config.server.trusted_proxies),
        log_requests=config.logging.requests,
    )


def public_info(config: Config) -> PublicInfo:
    """What the server says about itself."""
    server = config.server
    contact = {"role": "m.role.admin"}
    if server.support_email:
        contact["email_address"] = server.support_email
    if server.support_matrix_id:
        contact["matrix_id"] = server.support_matrix_id
    return PublicInfo(
        server_name=server.name,
        base_url=public_base_url(config),
        support_contacts=(contact,) if len(contact) > 1 else (),
        support_page=server.support_page or None,
        default_room_version=config.rooms.default_version,
    )


def public_base_url(config: Config) -> str:
    """The URL for clients: the configured one, or one made of the server name (plain HTTP only on this machine)."""
    if config.server.public_baseurl:
        return config.server.public_baseurl
    if config.server.name in ("localhost", "127.0.0.1"):
        return f"http://localhost:{config.server.listen.rpartition(':')[2]}"
    return f"https://{config.server.name}"
