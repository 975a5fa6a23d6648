"""All services of what belongs to one user, as they are handed on together."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.ports.members import RoomMembers
from homeserver.services.personal.people import People
from homeserver.services.personal.presence import PresenceTracker
from homeserver.services.personal.pushrules import PushRules
from homeserver.services.personal.receipts import ReceiptService
from homeserver.services.personal.succession import Succession
from homeserver.services.personal.tags import Tags
from homeserver.services.personal.typing import TypingTracker
from homeserver.services.push.mail import MailPushes
from homeserver.services.push.notifications import Notifications
from homeserver.services.push.pushers import Pushers


@dataclass(frozen=True, slots=True)
class PersonalServices:
    """Services of what belongs to one user and changes often."""

    members: RoomMembers
    people: People
    presence: PresenceTracker
    push_rules: PushRules
    receipts: ReceiptService
    succession: Succession
    tags: Tags
    typing: TypingTracker
    pushers: Pushers
    notifications: Notifications
    mail: MailPushes | None
    """None: this server writes no letters."""
