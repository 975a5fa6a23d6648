"""Constructs what tells people of events while no client is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from homeserver.boot.accounts import Foundations
from homeserver.boot.mail import mailer_of
from homeserver.boot.parts import PushKeys, public_base_url
from homeserver.ports.mail import Mailer
from homeserver.ports.outbound import OutboundSource
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.push.badges import Badges
from homeserver.services.push.letters import Letters
from homeserver.services.push.lines import PushLines, SenderSettings
from homeserver.services.push.links import MailLinks
from homeserver.services.push.mail import MailPushes, MailSettings, Post, Reading
from homeserver.services.push.notifications import Notifications
from homeserver.services.push.pushers import PusherLimits, Pushers
from homeserver.services.push.sender import PushSender
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.lists import RoomLists


@dataclass(frozen=True, slots=True)
class PushParts:
    """Pushers, who tells them, and the list of what was told."""

    pushers: Pushers
    sender: PushSender
    notifications: Notifications
    mail: MailPushes | None
    mailer: Callable[[], Mailer] | None
    """What sends letters, where the server has mail."""


def build_push(  # the services that it stands on
    base: Foundations,
    log: Log,
    lists: RoomLists,
    access: RoomAccess,
    unread: UnreadCounts,
    ignored: IgnoredUsers,
    outbound: OutboundSource,
    keys: PushKeys,
) -> PushParts:
    """The services of pushers."""
    config, push = base.config, base.config.push
    settings = SenderSettings(outage_s=float(push.outage_seconds), waiting=push.waiting)
    badges = Badges(lists, unread, by_room=push.badge == "rooms")
    lines = PushLines(base.store, base.clock, badges, outbound, settings, base.duty, keys.web)
    sender = PushSender(base.store, log, ignored, lines, base.duty)
    notifications = Notifications(base.store, access, lists, unread, max_page=config.limits.notifications_page)
    mail, mailer = None, None
    if config.mail.host:
        reading = Reading(base.store, lists, ignored, notifications)
        mailer = mailer_of(config)
        mail = _letters_of(base, log, reading, keys.links, mailer)
        sender.write_letters(mail)
    limits = PusherLimits(
        push.pushers_per_user,
        push.data_bytes,
        emails=config.mail.pushers_per_user if mail is not None else 0,
        web=keys.web is not None,
        allow_http=push.insecure_gateways,
    )
    pushers = Pushers(base.store, base.committer, base.clock, limits)
    return PushParts(pushers, sender, notifications, mail, mailer)


def _letters_of(
    base: Foundations, log: Log, reading: Reading, link_key: bytes, mailer: Callable[[], Mailer]
) -> MailPushes:
    config = base.config
    links = MailLinks(link_key, public_base_url(config))

    @cache
    def letters() -> Letters:
        return Letters(config.server.name, links.home)

    settings = MailSettings(
        quiet_ms=config.mail.quiet_seconds * 1000, show_text=config.mail.show_text, at_once=config.mail.at_once
    )
    return MailPushes(base.store, log, base.clock, reading, Post(mailer, letters, links), settings, base.duty)
