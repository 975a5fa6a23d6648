"""The services of one user's affairs, wired as in production."""

from __future__ import annotations

from homeserver.ports.clock import Clock
from homeserver.services.commit import Committer
from homeserver.services.log import Log
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
from homeserver.services.push.notifications import Notifications
from homeserver.services.push.pushers import PusherLimits, Pushers
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.cache import EventCache
from homeserver.services.rooms.heads import HeadCache
from homeserver.services.rooms.histories import HistoryCache
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.rooms.writer import RoomMemory
from homeserver.storage.unit import Database


def personal_services(store: Database, log: Log, committer: Committer, clock: Clock) -> PersonalServices:
    """Everything that `PERSONAL_ROUTES` need."""
    edits = AccountDataEdits(store, committer)
    lists = RoomLists(store, log)
    members = JoinedRooms(store, lists)
    push_rules = PushRules(edits)
    memory = RoomMemory(store, HeadCache(), EventCache(), HistoryCache())
    unread = UnreadCounts(store, log, IgnoredUsers(store, log))
    return PersonalServices(
        members=members,
        people=People(store, max_results=50),
        presence=PresenceTracker(clock, members),
        push_rules=push_rules,
        receipts=ReceiptService(store, committer, edits, clock, events=memory.events),
        succession=Succession(memory, edits, push_rules),
        tags=Tags(edits),
        typing=TypingTracker(clock),
        pushers=Pushers(store, committer, clock, PusherLimits()),
        notifications=Notifications(store, RoomAccess(memory, log), lists, unread, max_page=100),
        mail=None,
    )
