"""Constructs what tells people of events while no client is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from homeserver.boot.accounts import Foundations
from homeserver.ports.outbound import Outbound
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.push.badges import Badges
from homeserver.services.push.notifications import Notifications
from homeserver.services.push.pushers import PusherLimits, Pushers
from homeserver.services.push.sender import PushSender, SenderSettings
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.lists import RoomLists


@dataclass(frozen=True, slots=True)
class PushParts:
    """Pushers, who tells them, and the list of what was told."""

    pushers: Pushers
    sender: PushSender
    notifications: Notifications


def build_push(  # the services that it stands on
    base: Foundations,
    log: Log,
    lists: RoomLists,
    access: RoomAccess,
    unread: UnreadCounts,
    ignored: IgnoredUsers,
    outbound: Callable[[], Outbound],
) -> PushParts:
    """The services of pushers."""
    push = base.config.push
    settings = SenderSettings(outage_s=float(push.outage_seconds), waiting=push.waiting)
    badges = Badges(lists, unread, by_room=push.badge == "rooms")
    sender = PushSender(base.store, log, base.clock, ignored, badges, outbound, settings)
    limits = PusherLimits(push.pushers_per_user, push.data_bytes, allow_http=push.insecure_gateways)
    notifications = Notifications(base.store, access, lists, unread, max_page=base.config.limits.notifications_page)
    return PushParts(Pushers(base.store, log, base.clock, limits, sender.set_by), sender, notifications)
