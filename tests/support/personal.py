"""The services of one user's affairs, wired as in production."""

from __future__ import annotations

from client_api.personal import PersonalServices
from homeserver.ports.clock import Clock
from homeserver.services.commit import Committer
from homeserver.services.log import Log
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.members import JoinedRooms
from homeserver.services.personal.presence import PresenceTracker
from homeserver.services.personal.pushrules import PushRules
from homeserver.services.personal.receipts import ReceiptService
from homeserver.services.personal.tags import Tags
from homeserver.services.personal.typing import TypingTracker
from homeserver.services.sync.roomlists import RoomLists
from homeserver.storage.unit import Database


def personal_services(store: Database, log: Log, committer: Committer, clock: Clock) -> PersonalServices:
    """Everything that `PERSONAL_ROUTES` need."""
    edits = AccountDataEdits(store, committer)
    members = JoinedRooms(store, RoomLists(store, log))
    return PersonalServices(
        members=members,
        presence=PresenceTracker(clock, members),
        push_rules=PushRules(edits),
        receipts=ReceiptService(store, committer, edits, clock),
        tags=Tags(edits),
        typing=TypingTracker(clock),
    )
