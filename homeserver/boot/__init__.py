"""The composition root: from a `Config` to a server that can be served. The only package that constructs adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from random import SystemRandom
from typing import Any, Protocol

import structlog

from homeserver import faults
from homeserver.boot import parts
from homeserver.boot.accounts import Foundations, account_data_quota, build_accounts, build_sessions
from homeserver.boot.administration import build_administration, build_audit, build_passwords, with_media
from homeserver.boot.appservices import DeliveryMetrics, build_queries, build_senders, load_registry
from homeserver.boot.atrest import sealing_of
from homeserver.boot.e2e import build_e2e
from homeserver.boot.identity import follow_providers
from homeserver.boot.outbound import LazyOutbound
from homeserver.boot.parts import load_secrets
from homeserver.boot.push import PushParts, build_push
from homeserver.boot.support import SupportParts, Visiting, build_desk, build_support, demo_of, prepare_demo
from homeserver.config.model import Config
from homeserver.core.build import Signer
from homeserver.core.versions import room_version
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.roles import PACKAGES, Role
from homeserver.services.accounts.container import AccountServices
from homeserver.services.accounts.member_profiles import LocalMemberProfiles
from homeserver.services.accounts.sessions import Sessions, locked
from homeserver.services.accounts.watch import AccountWatch
from homeserver.services.administration.container import AdministrationServices
from homeserver.services.appservices.queries import AppServiceQueries
from homeserver.services.appservices.registry import AppServiceAuthenticator, make_senders
from homeserver.services.appservices.sender import AppServiceSenders
from homeserver.services.commit import Committer
from homeserver.services.duties import Duty
from homeserver.services.e2e.container import E2eServices
from homeserver.services.following import LogFollower
from homeserver.services.log import Log
from homeserver.services.maintenance import Maintenance
from homeserver.services.media.control import MediaControl
from homeserver.services.media.library import Library
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import Uploads
from homeserver.services.personal.container import PersonalServices
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.personal.members import JoinedRooms
from homeserver.services.personal.people import People
from homeserver.services.personal.presence import PresenceTracker
from homeserver.services.personal.pushrules import PushRules
from homeserver.services.personal.receipts import ReceiptService
from homeserver.services.personal.succession import Succession
from homeserver.services.personal.tags import Tags
from homeserver.services.personal.typing import TypingTracker
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.renewal import Renewal
from homeserver.services.rooms import RoomsConfig, RoomServices, build_rooms
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.rooms.recent import RecentRooms
from homeserver.services.sync.held import HeldOpen
from homeserver.services.sync.peek import Peeks
from homeserver.services.sync.reads import RoomMemoryReads
from homeserver.services.sync.service import SyncService
from homeserver.services.sync.stream import Sockets
from homeserver.storage.engine import Engine, check_durability, create_engine
from homeserver.storage.migrations import migrate
from homeserver.storage.unit import Database
from homeserver.system import SystemClock, SystemEntropy, keep_returning_memory
from homeserver.terminal import write
from homeserver.web import operations
from homeserver.web.app import Application
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import RateLimiter

__all__ = ["Server", "build", "load_secrets"]

_log = structlog.get_logger(__name__)

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
    bounds: parts.ConnectionBounds = field(default_factory=parts.ConnectionBounds)


class MediaSide(Protocol):
    """What is asked of the content repository. Its role is imported only where it runs."""

    @property
    def library(self) -> Library: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def thumbnails(self) -> Thumbnails: ...
    @property
    def control(self) -> MediaControl: ...

    async def close(self) -> None: ...


class DatabaseUnreachable(Exception):
    """The database does not answer, or refuses us; the message says how."""


@dataclass(frozen=True, slots=True)
class Core:
    """The services that need no HTTP, on an open database."""

    engine: Engine
    store: Database
    log: Log
    follower: LogFollower
    base: Foundations
    limits: RateLimiter
    outbound: LazyOutbound
    queries: AppServiceQueries
    sessions: Sessions
    rooms: RoomServices
    accounts: AccountServices
    administration: AdministrationServices
    lists: RoomLists
    e2e: E2eServices
    push_keys: parts.PushKeys
    """Signs the links in letters: as old as the server, whatever happens to sessions."""
    support: SupportParts
    renewal: Renewal


async def build_core(config: Config) -> Core:
    """Open the database and construct what stands on it. Raises as `build`."""
    secrets = load_secrets(config)
    engine = await open_database(config)
    try:
        core = await _core_on(engine, config, secrets)
        await core.renewal.begin()
        return core
    except BaseException:
        await asyncio.shield(engine.dispose())  # its threads would keep the process from ending
        raise


async def _core_on(engine: Engine, config: Config, secrets: parts.Secrets) -> Core:
    clock, entropy = SystemClock(), SystemEntropy()
    limits = parts.rate_limiter(config, clock)
    store = Database(engine, config.server.name, searchable=parts.keeps_words(config))
    log = Log(await _last_position(store), max_bytes=config.sync.tail_bytes)
    if faults.plan is not None and faults.plan.control is not None:
        spoil = import_module("homeserver.boot.controls").spoil
        store, log = spoil(faults.plan.control, engine, config.server.name, log)
    follower, duties = LogFollower(store, log), parts.duties(config, store, clock, entropy)
    committer = Committer(store, log, follower)
    base = Foundations(
        config, store, committer, limits, clock, entropy, load_registry(config), duties, duties.of("telling")
    )
    sessions = build_sessions(base, secrets.jwt_keys)
    log.listen(sessions.follow, lambda: None)
    outbound = LazyOutbound(config)
    queries = build_queries(config, base.appservices, outbound.get)
    settings = RoomsConfig(
        Signer(config.server.name, secrets.signing_key),
        clock,
        entropy,
        room_version(config.rooms.default_version),
        event_cache_bytes=config.rooms.cache_bytes,
        head_cache_bytes=config.rooms.cache_bytes,
        messages_page=config.limits.messages_page,
        context_events=config.limits.context_events,
        aliases_per_user=config.limits.aliases_per_user,
        hierarchy_page=config.limits.hierarchy_page,
        hierarchy_walk=config.limits.hierarchy_walk,
        encrypt_by_default=config.rooms.encrypt_by_default,
        appservices=base.appservices,
        makers=queries,
    )
    rooms = build_rooms(store, log, committer, LocalMemberProfiles(store), settings)
    audit, passwords = build_audit(base), build_passwords(base)
    keys = parts.push_keys(config, secrets, base.clock)
    accounts = build_accounts(base, sessions, rooms.memberships, queries, audit, passwords, outbound.get, keys.links)
    lists = RoomLists(store, log)
    e2e = build_e2e(base, follower, lists, accounts.interactive)
    support = build_support(base, rooms, sessions, accounts, secrets.jwt_keys)
    administration = build_administration(base, audit, passwords, accounts, rooms, support)
    return Core(
        engine,
        store,
        log,
        follower,
        base,
        limits,
        outbound,
        queries,
        sessions,
        rooms,
        accounts,
        administration,
        lists,
        e2e,
        keys,
        support,
        Renewal(store, keeps_words=parts.keeps_words(config)),
    )


@asynccontextmanager
async def offline(config: Config) -> AsyncIterator[Core]:
    """The services for a command that serves nothing. Raises as `build`."""
    core = await build_core(config)
    try:
        yield core
    finally:
        await core.engine.dispose()


async def build(config: Config, roles: Sequence[Role]) -> Server:
    """Construct adapters, services and the application.

    Raises UnsafeFile and BadKeyFile for key files that cannot be used, UnsafeDatabase, UnknownSchema, KeysMissing and
    DatabaseUnreachable.
    """
    if config.redis.url:
        _log.warning("redis_not_used", reason="one process keeps in memory what several would share")
    core = await build_core(config)
    try:
        await make_senders(core.base.appservices, core.store, core.base.committer, core.base.clock)
        return _server_on(core, config, roles)
    except BaseException:
        await asyncio.shield(core.engine.dispose())
        raise


def _server_on(core: Core, config: Config, roles: Sequence[Role]) -> Server:
    base, store, log, accounts, metrics = core.base, core.store, core.log, core.accounts, Metrics()
    typing, ignored = TypingTracker(base.clock), IgnoredUsers(store, log)
    unread, held = UnreadCounts(store, log, ignored), HeldOpen()
    sync = build_sync(core, typing, unread, held)
    peeks = Peeks(log, core.rooms.history, held, base.clock, max_timeout_ms=sync.limits.timeout_ms)
    sockets = Sockets(parts.stream_settings(config), held, base.clock)
    _end_what_is_open(core.sessions, held)

    mounts: list[Mount[Any]] = [watching(metrics, config)]
    push = build_push(base, log, core.lists, core.rooms.access, unread, ignored, core.outbound.get, core.push_keys)
    personal = build_personal(base, JoinedRooms(store, sync.rooms), typing, core.rooms, push)
    tell = build_telling(core, metrics, typing, personal.presence)
    media: MediaSide | None = None
    if "media" in roles:
        of_media = import_module("homeserver.boot.media")
        media = built = of_media.build_media(base, core.outbound, metrics.registry)
        mounts.append(
            import_module(PACKAGES["media"]).mount(of_media.serve_media(built, config, core.sessions, core.support))
        )
    if "client" in roles:
        administration = with_media(base, core.administration, None if media is None else media.control)
        of_clients = import_module("homeserver.boot.client")
        services = of_clients.build_client(core, administration, personal, ignored, sync, peeks, sockets)
        mounts.append(import_module(PACKAGES["client"]).mount(services))
    visiting = build_desk(base, core, log, (sockets.has, personal.presence.has), push.mailer)
    if "embed" in roles:
        services = import_module("homeserver.boot.embed").build_embed(
            base, core.support, visiting.desk, visiting.letters, core
        )
        mounts.append(import_module(PACKAGES["embed"]).mount(services))
    app = build_application(core, mounts, metrics, tell.nudge)

    async def close() -> None:
        await push.sender.close()
        await tell.close()
        if push.mail is not None:
            await push.mail.close()
        await base.duties.close(*_performed(base, visiting, roles))
        await accounts.close()
        if media is not None:
            await media.close()
        await core.outbound.close()
        await core.engine.dispose()

    def release() -> None:
        if media is not None:
            media.library.release()
        held.release()

    workers: list[Worker] = [*_workers(core, media), typing.run, sockets.run, metrics.watch_loop]
    workers += [lambda: base.duties.run(*_performed(base, visiting, roles))]
    workers += _client_workers(core, push, tell) if "client" in roles else ()
    workers += (*visiting.workers, *_demo(core)) if "embed" in roles else ()
    return Server(app, workers, release, close, parts.connection_bounds(config))


def _performed(base: Foundations, visiting: Visiting, roles: Sequence[Role]) -> Sequence[Duty]:
    """The duties that a process of these roles may have."""
    return [duty for role, duty in (("client", base.duty), ("embed", visiting.duty)) if role in roles]


def _demo(core: Core) -> Sequence[Worker]:
    """What makes the demo, where it is asked for."""
    config, shop = core.base.config, import_module("homeserver.boot.embed").demo_shop(core.base.config)
    if shop is None:
        return ()
    demo = demo_of(config, core.base, core.support, core.rooms)
    return (lambda: prepare_demo(config, core.base, demo, (shop.origin, shop.widget_origin), write),)


def _client_workers(core: Core, push: PushParts, tell: AppServiceSenders) -> Sequence[Worker]:
    """The loops of what clients are served by."""
    recent = RecentRooms(core.rooms.memory, core.rooms.history, core.log.position)
    mail = () if push.mail is None else (push.mail.run,)
    return push.sender.run, tell.run, recent.run, *mail


def _workers(core: Core, media: MediaSide | None) -> list[Worker]:
    """The loops of what stands below requests."""
    watch = AccountWatch(core.store, core.sessions, core.accounts.account)
    workers: list[Worker] = [
        core.base.committer.run,
        core.accounts.devices.run,
        build_maintenance(core, media).run,
        watch.run,
        core.follower.run,
        core.e2e.to_device.run,
        core.store.run,
        core.renewal.run,
        keep_returning_memory,
        *follow_providers(core.base.config, core.store, core.base.clock, core.accounts.providers),
    ]
    return workers if media is None else [*workers, media.library.run, media.control.run]


def watching(metrics: Metrics, config: Config) -> Mount[Any]:
    """Health and metrics, for who may see them."""
    return Mount(operations.Operations(metrics, parts.networks(config.metrics.allow)), operations.ROUTES)


def build_telling(core: Core, metrics: Metrics, typing: TypingTracker, presence: PresenceTracker) -> AppServiceSenders:
    """What tells application services of what concerns them."""
    tell = build_senders(core.base, core.log, core.rooms, core.lists, core.outbound.get)
    tell.hear(typing, presence)
    core.queries.on_reached(tell.nudge)
    metrics.registry.register(DeliveryMetrics(tell.progress))
    return tell


def build_application(
    core: Core, mounts: Sequence[Mount[Any]], metrics: Metrics, heard: Callable[[str], None]
) -> Application:
    """What answers requests."""
    return Application(
        mounts,
        settings=parts.web_settings(core.base.config),
        authenticator=AppServiceAuthenticator(core.base.appservices, core.store, core.sessions, heard),
        limits=core.limits,
        metrics=metrics,
        clock=core.base.clock,
        seen=core.accounts.devices.saw,
        chance=SystemRandom().random,
    )


def build_sync(core: Core, typing: TypingTracker, unread: UnreadCounts, held: HeldOpen) -> SyncService:
    """Sync for all transports."""
    reads = RoomMemoryReads(core.store, core.rooms.memory)
    limits = parts.sync_limits(core.base.config)
    base = core.base
    return SyncService(
        core.store,
        core.follower,
        core.lists,
        reads,
        core.e2e.updates,
        unread,
        typing,
        base.clock,
        held=held,
        limits=limits,
    )


def _end_what_is_open(sessions: Sessions, held: HeldOpen) -> None:
    """Polls and sockets learn nothing more once their session has ended or their account is locked."""
    sessions.on_ended(lambda session: held.end_session(session.user_id, session.session_id))
    sessions.on_locked(lambda user_id: held.end_user(user_id, locked()))


def build_maintenance(core: Core, media: MediaSide | None) -> Maintenance:
    """What keeps tables bounded."""
    limits = core.base.config.limits
    return Maintenance(
        core.store,
        core.base.clock,
        transaction_days=limits.transaction_days,
        report_days=limits.report_days,
        chores=[
            core.accounts.interactive.expire,
            core.accounts.addresses.expire,
            core.administration.audit.prune,
            core.administration.rooms.sizes.chore,
            core.e2e.backups.purge,
            *(() if media is None else (media.uploads.forget_expired, media.thumbnails.expire, media.control.chore)),
        ],
    )


def build_personal(
    base: Foundations, members: JoinedRooms, typing: TypingTracker, rooms: RoomServices, push: PushParts
) -> PersonalServices:
    """Services of what belongs to one user and changes often."""
    limits = base.config.limits
    edits = AccountDataEdits(base.store, base.committer, account_data_quota(base.config))
    push_rules = PushRules(edits, max_rules=limits.push_rules_per_user, max_bytes=limits.push_rules_bytes)
    return PersonalServices(
        members=members,
        people=People(
            base.store,
            max_results=base.config.limits.user_directory_results,
            shown=[provider.name for provider in base.config.auth.providers if provider.directory],
        ),
        presence=PresenceTracker(
            base.clock,
            members,
            idle_s=base.config.presence.idle_seconds,
            offline_s=base.config.presence.offline_seconds,
        ),
        push_rules=push_rules,
        receipts=ReceiptService(
            base.store,
            base.committer,
            edits,
            base.clock,
            most=limits.receipts_per_room,
            events=rooms.memory.events,
        ),
        succession=Succession(rooms.memory, edits, push_rules),
        tags=Tags(edits, max_bytes=limits.account_data_bytes, max_tags=limits.tags_per_room),
        typing=typing,
        pushers=push.pushers,
        notifications=push.notifications,
        mail=push.mail,
    )


async def open_database(config: Config) -> Engine:
    """An engine on a database that is safe to use and has the schema of this release."""
    engine = create_engine(
        parts.database_url(config), replace(parts.engine_settings(config), sealing=sealing_of(config))
    )
    try:
        await migrate(engine)
        await check_durability(engine)
    except (StoreUnavailable, engine.errors) as error:
        await engine.dispose()
        raise DatabaseUnreachable(str(error)) from error
    except BaseException:
        await asyncio.shield(engine.dispose())
        raise
    return engine


async def _last_position(store: Store) -> int:
    async with store.read() as tx:
        return await tx.log.position()
