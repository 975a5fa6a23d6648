"""Websites with a support chat: made, changed and removed by operators; remembered for whoever serves them.

A server that runs looks at the settings again after a few seconds, so that changes made beside it count.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, StoreUnavailable, UniqueViolation
from homeserver.ports.support import Site
from homeserver.services.audit import Note, noted
from homeserver.services.support.names import bot_id
from homeserver.services.support.rooms import Staff, SupportRooms
from homeserver.services.support.site import (
    Identity,
    Key,
    SiteConfig,
    allows,
    dump_config,
    origin_of,
    parse_config,
    site_id_of,
)

_log = structlog.get_logger(__name__)
_FRESH_S = 2.0
_MOST_KEYS = 2
_SEEN_S = 60.0
_LONGEST_ORIGIN = 300


@dataclass(frozen=True, slots=True)
class LiveSite:
    """A site with its settings as they are used."""

    row: Site
    config: SiteConfig

    @property
    def id(self) -> str:
        """The site's public id."""
        return self.row.site_id


class Sites:
    """Owns the sites."""

    def __init__(self, store: Store, rooms: SupportRooms, clock: Clock, server_name: str, *, most: int) -> None:
        self._store = store
        self._rooms = rooms
        self._clock = clock
        self._server_name = server_name
        self._most = most
        self._known: dict[str, LiveSite] = {}
        self._read_at: float | None = None
        self._listeners: list[Callable[[], None]] = []
        self._seen: dict[str, float] = {}

    @property
    def some(self) -> bool:
        """Whether there is a site at all, as far as this process knows."""
        return bool(self._known)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when this process learns of sites that it did not know."""
        self._listeners.append(listener)

    async def all(self, *, fresh: bool = False) -> list[LiveSite]:
        """All sites, at most two seconds old, as they are this moment if `fresh`."""
        now = self._clock.monotonic()
        if fresh or self._read_at is None or now - self._read_at > _FRESH_S:
            async with self._store.read_committed() as tx:
                rows = await tx.support.sites()
            before = self._known.keys()
            self._known = {
                row.site_id: LiveSite(row, known.config)
                if (known := self._known.get(row.site_id)) is not None and known.row.config == row.config
                else LiveSite(row, parse_config(row.config))
                for row in rows
            }
            self._read_at = now
            if self._known.keys() - before:
                for listener in self._listeners:
                    listener()
        return list(self._known.values())

    async def get(self, site_id: str, *, fresh: bool = False) -> LiveSite:
        """One site, its settings as they are this moment if `fresh`. Raises MatrixError(NOT_FOUND)."""
        if fresh:
            self._read_at = None
        await self.all()
        if site_id not in self._known:
            self._read_at = None  # it may have been made a moment ago
            await self.all()
        if (site := self._known.get(site_id)) is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such site")
        return site

    async def add(self, site_id: str, config: SiteConfig, agents: Sequence[str], note: Note | None = None) -> LiveSite:
        """Make a site with its bot, space and desk; `agents` (user ids) are invited.

        Raises MatrixError: INVALID_PARAM (the id, or there is such a site already), NOT_FOUND for an agent,
        RESOURCE_LIMIT_EXCEEDED.
        """
        site_id_of(site_id)
        now = self._clock.now_ms()
        bot = bot_id(site_id, self._server_name)
        async with self._store.read() as tx:
            known = await tx.support.sites()
            for agent in agents:
                user = await tx.users.get(agent)
                if user is None or user.deactivated or user.is_guest:
                    raise MatrixError(ErrCode.NOT_FOUND, f"There is no account {agent}")
            account = await tx.users.get(bot)
        if any(row.site_id == site_id for row in known):
            raise MatrixError(ErrCode.INVALID_PARAM, f"There is a site {site_id} already")
        if len(known) >= self._most:
            raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, f"This server has at most {self._most} sites")
        if account is None:
            async with self._store.write() as tx:
                await tx.users.create(User(bot, now))
                await tx.profiles.put(bot, "displayname", msgspec.json.encode(config.name))
        elif account.password_hash is not None:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{bot} is somebody's account: choose another id")
        space, desk = await self._rooms.make_desk(bot, config.name, list(agents))
        row = Site(site_id, dump_config(config), bot, space, desk, now)
        try:
            async with self._store.write() as tx:
                await tx.support.add_site(row)
                await noted(tx, note)
        except UniqueViolation:
            raise MatrixError(ErrCode.INVALID_PARAM, f"There is a site {site_id} already") from None
        self._read_at = None
        return LiveSite(row, config)

    async def edit(self, site_id: str, config: SiteConfig, note: Note | None = None) -> LiveSite:
        """Replace a site's settings. Raises MatrixError(NOT_FOUND)."""
        async with self._store.write() as tx:
            if not await tx.support.set_config(site_id, dump_config(config)):
                raise MatrixError(ErrCode.NOT_FOUND, "There is no such site")
            await noted(tx, note)
        self._read_at = None
        return await self.get(site_id)

    async def seen(self, site: LiveSite, page: str) -> None:
        """A page (its address, or what begins it) shows the chat; noted once a minute, for the site's owner to see.

        What is not an address of one of the site's origins is passed over: anybody can send anything.
        """
        now, before = self._clock.monotonic(), self._seen.get(site.id)
        if before is not None and now - before < _SEEN_S:
            return
        origin = origin_of(page)
        if origin is None or len(origin) > _LONGEST_ORIGIN or not allows(site.config, origin):
            return
        self._seen[site.id] = now
        try:
            async with self._store.write() as tx:
                await tx.support.seen_site(site.id, self._clock.now_ms(), origin)
        except StoreUnavailable as error:  # the chat is shown all the same; the next minute notes it
            _log.warning("site_not_noted_as_seen", site_id=site.id, error=str(error))

    async def invite(self, site: LiveSite, agent: str) -> None:
        """Bring somebody to the desk. Raises MatrixError(NOT_FOUND)."""
        async with self._store.read() as tx:
            user = await tx.users.get(agent)
        if user is None or user.deactivated or user.is_guest:
            raise MatrixError(ErrCode.NOT_FOUND, f"There is no account {agent}")
        for room_id in (site.row.desk_id, site.row.space_id):
            await self._rooms.member(site.row.bot, room_id, agent, "invite")

    async def staff(self, site: LiveSite) -> list[Staff]:
        """Who is on the desk or invited to it, without the bot."""
        return [one for one in await self._rooms.staff(site.row.desk_id) if one.user_id != site.row.bot]

    async def dismiss(self, site: LiveSite, agent: str) -> None:
        """Take somebody from the desk and its space. Raises MatrixError."""
        for room_id in (site.row.desk_id, site.row.space_id):
            await self._rooms.member(site.row.bot, room_id, agent, "leave")

    async def rotate_key(
        self, site_id: str, *, alg: str = "HS256", public_key: str = "", note: Note | None = None
    ) -> Key:
        """Give the site a new identity key and keep the one before it, no more; returns the new one.

        It is the only time that a secret made here is shown. Raises MatrixError: NOT_FOUND, INVALID_PARAM.
        """
        site = await self.get(site_id, fresh=True)
        new = {"kid": f"k{secrets.token_hex(4)}", "alg": alg, "public_key": public_key}
        if alg == "HS256":
            new["secret"] = secrets.token_urlsafe(32)
        try:
            key = msgspec.convert(new, Key)
        except msgspec.ValidationError as error:
            raise MatrixError(ErrCode.INVALID_PARAM, str(error)) from None
        keys = (key, *site.config.identity.keys)[:_MOST_KEYS]
        identity = Identity(site.config.identity.mode, keys)
        config = msgspec.structs.replace(site.config, identity=identity)
        parse_config(dump_config(config))
        await self.edit(site_id, config, note)
        return key

    async def remove(self, site_id: str) -> LiveSite:
        """Forget a site. Its rooms stay with staff; its visitors' accounts are closed by the caller.

        Raises MatrixError(NOT_FOUND).
        """
        site = await self.get(site_id)
        async with self._store.write() as tx:
            await tx.support.delete_site(site_id)
        self._read_at = None
        self._seen.pop(site_id, None)
        return site
