"""Constructs support chats: what operators need without a server, and what a server needs besides."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from homeserver.boot.accounts import Foundations
from homeserver.config.keyfiles import create_private, read_private
from homeserver.config.model import Config
from homeserver.ports.mail import Mailer
from homeserver.services.accounts.container import AccountServices
from homeserver.services.accounts.member_profiles import LocalMemberProfiles
from homeserver.services.accounts.passwords import Passwords, PasswordSettings
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.duties import Duty
from homeserver.services.log import Log
from homeserver.services.rooms import RoomServices
from homeserver.services.support.blocks import Blocks
from homeserver.services.support.cases import Cases
from homeserver.services.support.demo import AGENT, Demo
from homeserver.services.support.desk import Desk
from homeserver.services.support.files import VisitorFiles
from homeserver.services.support.letters import SupportLetters
from homeserver.services.support.messages import VisitorMessages
from homeserver.services.support.retention import Retention
from homeserver.services.support.rooms import SupportRooms
from homeserver.services.support.routing import IsOnline, Routing
from homeserver.services.support.sites import Sites
from homeserver.services.support.visitors import Visitors
from homeserver.web.ratelimit import address_key

_PASSWORD_FILE = "demo-agent.txt"


@dataclass(frozen=True, slots=True)
class SupportParts:
    """Sites, and those who use them."""

    sites: Sites
    rooms: SupportRooms
    cases: Cases
    visitors: Visitors
    blocks: Blocks
    files: VisitorFiles
    messages: VisitorMessages
    nonce_secret: bytes


def build_support(
    base: Foundations, rooms: RoomServices, sessions: Sessions, accounts: AccountServices, secrets: bytes
) -> SupportParts:
    """What stands on an open database. `secrets` are as old as the server, and all of its processes have them."""
    name, store, clock = base.config.server.name, base.store, base.clock
    profiles = LocalMemberProfiles(store)
    support = SupportRooms(rooms.writer, rooms.memory, profiles, name)
    sites = Sites(store, support, clock, name, most=base.config.support.sites)
    # Made of it, so that it is of no use to who learns one of them.
    nonce_secret, block_secret = (
        blake2b(secrets, person=person).digest() for person in (b"frame nonces", b"blocked places")
    )
    blocks = Blocks(store, base.committer, sessions, clock, block_secret, accounts.devices.newest, address_key)
    cases = Cases(store, support, profiles, clock, blocks, name)
    visitors = Visitors(
        store,
        base.committer,
        sessions,
        accounts.account,
        sites,
        cases,
        support,
        blocks,
        base.limits,
        clock,
        base.entropy,
        name,
    )
    files, messages = VisitorFiles(sites, base.limits), VisitorMessages(sites, base.limits)
    return SupportParts(sites, support, cases, visitors, blocks, files, messages, nonce_secret)


class HasDesks(Protocol):
    """What is asked of the core."""

    @property
    def support(self) -> SupportParts: ...
    @property
    def rooms(self) -> RoomServices: ...


@dataclass(frozen=True, slots=True)
class Visiting:
    """What a server does for its desks and visitors besides answering them."""

    desk: Desk
    letters: SupportLetters
    duty: Duty
    """Who of several processes does what is to be done once: letters, and forgetting."""
    retention: Retention

    @property
    def workers(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """Its loops."""
        return (self.desk.run, self.letters.run, self.retention.run)


def build_desk(  # what it stands on
    base: Foundations,
    core: HasDesks,
    log: Log,
    online: Sequence[IsOnline],
    mailer: Callable[[], Mailer] | None,
) -> Visiting:
    """The desk of a server, and what writes to visitors. Somebody is there if one of `online` says so."""
    of, store, clock = core.support, base.store, base.clock

    def is_online(user_id: str) -> bool:
        return any(is_there(user_id) for is_there in online)

    # Not the duty of pushes: those who have that may be processes that serve no chat.
    duty = base.duties.of("visitors")
    routing = Routing(store, clock, of.cases, of.rooms, is_online)
    letters = SupportLetters(store, core.rooms.history, of.sites, of.cases, clock, mailer, is_online, duty)
    retention = Retention(store, clock, of.sites, of.cases, of.rooms, of.visitors, duty)
    return Visiting(Desk(store, log, clock, of.sites, of.cases, of.rooms, routing, of.blocks), letters, duty, retention)


def demo_of(config: Config, base: Foundations, parts: SupportParts, rooms: RoomServices) -> Demo:
    """What makes the demo's site."""
    settings = PasswordSettings(min_length=config.auth.password_min_length, max_length=config.auth.password_max_length)
    passwords = Passwords(settings, base.entropy)
    return Demo(base.store, parts.sites, passwords, rooms.memberships, base.clock, config.server.name)


async def prepare_demo(
    config: Config, base: Foundations, demo: Demo, origins: tuple[str, str], say: Callable[[str], None]
) -> None:
    """Make the demo's site, and say where everything is. `origins` are the shop's and the server's own."""
    shop, own = origins
    file = Path(config.server.data_dir) / _PASSWORD_FILE
    if not file.exists():
        create_private(file, base.entropy.token(9).encode())
    password = read_private(file, _PASSWORD_FILE).decode().strip()
    await demo.prepare(shop, password)
    say(f"  Web client    {own}")
    say(f"  Demo shop     {shop} (a page with the support chat on it)")
    say(f"  Its desk      {own}/#/login as {AGENT}, password {password}")
