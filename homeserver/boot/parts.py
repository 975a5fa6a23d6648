"""What the composition root prepares out of the configuration: key files, addresses, bounds."""

from __future__ import annotations

import hmac
import json
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec

from homeserver.config.keyfiles import create_private, dump_signing_key, load_signing_key, new_signing_key, read_private
from homeserver.config.model import Config
from homeserver.core.signatures import SigningKey
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.ratelimits import Rate
from homeserver.ports.store import Store
from homeserver.services.duties import Duties, OwnDuties, SharedDuties
from homeserver.services.push.webpush import WebPush
from homeserver.services.sync.request import SyncLimits
from homeserver.services.sync.stream import StreamSettings
from homeserver.storage.engine import EngineSettings
from homeserver.system import SystemClock, SystemEntropy
from homeserver.web.app import WebSettings
from homeserver.web.ratelimit import Network, RateLimiter
from homeserver.web.shares import ShareSettings
from homeserver.web.websocket import SocketSettings


@dataclass(frozen=True, slots=True)
class Secrets:
    """The server's keys."""

    signing_key: SigningKey
    jwt_keys: bytes
    """The content of the key file; `services/accounts/tokens` reads it."""


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """What one connection may cost; below the application, where only the web server sees it."""

    head_seconds: float = 10.0
    answer_seconds: float = 60.0
    frame_bytes: int = 64 * 1024
    """Largest WebSocket frame of a client."""


def data_path(config: Config, name: str) -> Path:
    """A file of the configuration, relative to the data folder."""
    return Path(config.server.data_dir) / name


def database_url(config: Config) -> str:
    """Where the database is."""
    url = config.database.url or f"sqlite:///{data_path(config, 'hromada.db').resolve()}"
    # Other names of the same things, which are in the examples of providers and of other programs.
    url = re.sub(r"^postgres(?=:)", "postgresql", url)
    return re.sub(r"(?<=[?&])ssl=", "sslmode=", url) if url.startswith("postgresql") else url


def engine_settings(config: Config) -> EngineSettings:
    """The bounds of the database pools."""
    database = config.database
    half = database.wait_seconds / 2  # for a connection, and again for a lock
    return EngineSettings(
        pool_size=database.pool_size,
        pool_timeout_s=half,
        statement_timeout_ms=database.statement_timeout_seconds * 1000,
        lock_timeout_ms=int(half * 1000),
        sqlite_busy_timeout_ms=int(half * 1000),
    )


def duties(config: Config, store: Store, clock: Clock, entropy: Entropy) -> Duties[Any]:
    """What one process does for all (`services/duties.py`). SQLite belongs to one process."""
    if database_url(config).startswith("sqlite"):
        return OwnDuties()
    holder = f"{socket.gethostname()} {os.getpid()} {entropy.letters(6)}"
    return SharedDuties(store, clock, holder)


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


@dataclass(frozen=True, slots=True)
class PushKeys:
    """What is made of the server's own key: for links in letters, and for push services of browsers."""

    links: bytes
    web: WebPush | None
    """None if the operator wants no Web Push."""


def push_keys(config: Config, secrets: Secrets, clock: Clock) -> PushKeys:
    """The keys of what goes out to people who are not here."""

    def made(purpose: bytes, digest: str) -> bytes:
        return hmac.digest(secrets.signing_key.seed, purpose, digest)

    links = made(b"chat.hromada links in letters", "sha256")
    if not config.push.web:
        return PushKeys(links, None)
    return PushKeys(links, WebPush(made(b"chat.hromada web push", "sha512"), public_base_url(config), clock))


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
        shares=ShareSettings(
            config.limits.requests_per_user,
            config.limits.requests_per_address,
            config.limits.long_polls_per_user,
            config.limits.long_polls_per_address,
            config.stream.unknown_per_address,
        ),
        query_tokens=config.auth.query_tokens,
        trusted_proxies=networks(config.server.trusted_proxies),
        log_requests=config.logging.requests,
        sockets=SocketSettings(config.stream.frame_bytes, config.stream.send_seconds, frozenset(config.stream.origins)),
    )


def connection_bounds(config: Config) -> ConnectionBounds:
    """The bounds of connections."""
    return ConnectionBounds(config.limits.head_seconds, config.limits.answer_seconds, config.stream.frame_bytes)


def stream_settings(config: Config) -> StreamSettings:
    """The bounds of streaming."""
    stream = config.stream
    return StreamSettings(
        auth_seconds=stream.auth_seconds,
        heartbeat_seconds=stream.heartbeat_seconds,
        sockets_per_user=stream.sockets_per_user,
        sockets_per_guest=stream.sockets_per_guest,
        frames=stream.frames,
        requests_in_flight=stream.requests_in_flight,
        buffer_bytes=stream.buffer_bytes,
    )


def sync_limits(config: Config) -> SyncLimits:
    """The bounds of sync."""
    sync = config.sync
    return SyncLimits(
        sync.max_timeout_seconds * 1000, sync.timeline_limit, sync.max_timeline_limit, sync.timeline_look_back
    )


def keeps_words(config: Config) -> bool:
    """Whether messages can be searched: the index would show what encryption at rest hides."""
    wanted = config.search.messages
    return wanted == "on" or (wanted == "auto" and not config.at_rest.enabled)


def public_base_url(config: Config) -> str:
    """The URL for clients: the configured one, or one made of the server name (plain HTTP only on this machine)."""
    if config.server.public_baseurl:
        return config.server.public_baseurl
    if config.server.name in ("localhost", "127.0.0.1"):
        return f"http://localhost:{config.server.listen.rpartition(':')[2]}"
    return f"https://{config.server.name}"
