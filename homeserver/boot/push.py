"""Constructs what tells people of events while no client is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from homeserver.boot.accounts import Foundations
from homeserver.ports.outbound import Outbound
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.push.badges import Badges
from homeserver.services.push.pushers import PusherLimits, Pushers
from homeserver.services.push.sender import PushSender, SenderSettings


@dataclass(frozen=True, slots=True)
class PushParts:
    """Pushers, and who tells them."""

    pushers: Pushers
    sender: PushSender


def build_push(
    base: Foundations, log: Log, badges: Badges, ignored: IgnoredUsers, outbound: Callable[[], Outbound]
) -> PushParts:
    """The services of pushers."""
    push = base.config.push
    settings = SenderSettings(outage_s=float(push.outage_seconds), waiting=push.waiting)
    sender = PushSender(base.store, log, base.clock, ignored, badges, outbound, settings)
    limits = PusherLimits(push.pushers_per_user, push.data_bytes, allow_http=push.insecure_gateways)
    return PushParts(Pushers(base.store, log, base.clock, limits, sender.set_by), sender)
