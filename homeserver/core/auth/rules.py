"""The authorisation rules: may this event happen in this state?

Steps are numbered as in v12, in its order. v6 to v11 have no rule 2, so their numbers are one less; v1 to v5 have a
rule for m.room.aliases there instead, which follows rule 4. The rules of one type live in `create`, `member`, `power`.
spec: rooms/v12#authorisation-rules, rooms/v1#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from homeserver.core.auth.create import check_create
from homeserver.core.auth.member import SignedBy, check_member
from homeserver.core.auth.power import PowerLevels, check_power_levels
from homeserver.core.auth.select import auth_types_of
from homeserver.core.auth.state import CREATE, StateView, membership_of
from homeserver.core.errors import NotAllowed
from homeserver.core.event import Event, StateKey
from homeserver.core.ids import domain_of


def check(
    event: Event,
    state: StateView,
    *,
    auth_events: Sequence[Event] | None = None,
    rejected: Container[str] = frozenset(),
    signed_by: SignedBy | None = None,
) -> None:
    """Check an event against `state`, which holds the create event in every version.

    With `auth_events`, the events that the event names, its choice of them is checked too (`rejected` as in
    `check_auth_events`). `signed_by` answers whether a server has validly signed this event; without it the signature
    of restricted joins counts as checked before. Raises NotAllowed.
    """
    # 1. If type is m.room.create: (see `create`)
    if event.type == "m.room.create":
        check_create(event)
        return
    # 2. [from v12] If the event's room_id is not an event ID for an accepted m.room.create event, with the sigil !
    #    instead of $, reject.
    create = state.get(*CREATE)
    if create is None or create.room_id != event.room_id:
        raise NotAllowed("The room has no create event")
    if event.version.auth.room_id_is_create_hash and event.room_id != "!" + create.event_id[1:]:
        raise NotAllowed("The room id is not that of the create event")
    # 3. Considering the event's auth_events:
    if auth_events is not None:
        check_auth_events(event, auth_events, rejected)
    # 4. If the content of the m.room.create event in the room state has the property m.federate set to false, and the
    #    sender domain of the event does not match the sender domain of the create event, reject.
    if create.content.get("m.federate") is False and domain_of(event.sender) != domain_of(create.sender):
        raise NotAllowed("This room is closed to other servers")
    # [to v5: 4] If type is m.room.aliases:
    if event.type == "m.room.aliases" and event.version.auth.aliases_rule:
        _check_aliases(event)
        return
    # 5. If type is m.room.member: (see `member`)
    if event.type == "m.room.member":
        check_member(event, state, signed_by)
        return
    _check_sending(event, state)


def check_auth_events(event: Event, auth_events: Sequence[Event], rejected: Container[str]) -> None:
    """Rule 3 (to v11: 2): the event's choice of auth events. Raises NotAllowed.

    `auth_events` are the events named by `event.auth_events`, `rejected` holds the ids of those among them that were
    rejected. An event id that nobody could find is the caller's to refuse.
    """
    expected = set(auth_types_of(event))
    seen: set[StateKey] = set()
    for auth_event in auth_events:
        # 3.1 If there are duplicate entries for a given type and state_key pair, reject.
        key = auth_event.key if auth_event.is_state else None
        if key in seen:
            raise NotAllowed(f"Two auth events for {key}")
        # 3.2 If there are entries whose type and state_key don't match those specified by the auth events selection
        #     algorithm, reject.
        if key is None or key not in expected:
            raise NotAllowed(f"{auth_event.event_id} is not an auth event of this event")
        seen.add(key)
        # 3.3 If there are entries which were themselves rejected, reject.
        if auth_event.event_id in rejected:
            raise NotAllowed(f"Auth event {auth_event.event_id} was rejected")
    # 3.4 [to v11] If there is no m.room.create event among the entries, reject.
    if CREATE in expected and CREATE not in seen:
        raise NotAllowed("The auth events lack the create event")
    # 3.5 If any event in auth_events has a room_id which does not match that of the event being authorised, reject.
    if any(auth_event.room_id != event.room_id for auth_event in auth_events):
        raise NotAllowed("An auth event belongs to another room")


def may_redact(redaction: Event, target: Event, state: StateView) -> bool:
    """Whether a redaction that the rules allow is to be applied to `target`, given the state at the redaction.

    In v1 and v2 it always is, within its room: rule 11 has decided.  spec: rooms/v12#handling-redactions
    """
    if redaction.room_id != target.room_id:
        return False
    if redaction.version.auth.redaction_checked:
        return True
    # 1. The power level of the redaction event's sender is greater than or equal to the redact level.
    levels = PowerLevels.of(state, redaction.version)
    if levels.user(redaction.sender) >= levels.named("redact"):
        return True
    # 2. The domain of the redaction event's sender matches that of the original event's sender.
    return domain_of(redaction.sender) == domain_of(target.sender)


def _check_aliases(event: Event) -> None:
    # 4.1 If event has no state_key, reject.
    # 4.2 If sender's domain doesn't match state_key, reject.
    if event.state_key != domain_of(event.sender):
        raise NotAllowed("A server may only list aliases of its own")
    # 4.3 Otherwise, allow.


def _check_sending(event: Event, state: StateView) -> None:
    """Rules 6 to 11, for everything but creation and membership."""
    # 6. If the sender's current membership state is not join, reject.
    if membership_of(state, event.sender) != "join":
        raise NotAllowed("You are not in this room")
    levels = PowerLevels.of(state, event.version)
    own = levels.user(event.sender)
    # 7. If type is m.room.third_party_invite:
    # 7.1 Allow if and only if sender's current power level is greater than or equal to the invite level.
    if event.type == "m.room.third_party_invite":
        if own < levels.named("invite"):
            raise NotAllowed("Not enough power to invite")
        return
    # 8. If the event type's required power level is greater than the sender's power level, reject.
    if levels.event(event.type, is_state=event.is_state) > own:
        raise NotAllowed(f"Not enough power to send {event.type}")
    # 9. If the event has a state_key that starts with an @ and does not match the sender, reject.
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        raise NotAllowed("State about a user can only be set by that user")
    # 10. If type is m.room.power_levels: (see `power`)
    if event.type == "m.room.power_levels":
        check_power_levels(event, state)
    # [v1, v2: 11] If type is m.room.redaction:
    elif event.type == "m.room.redaction" and event.version.auth.redaction_checked:
        _check_redaction(event, levels)
    # 11. Otherwise, allow.


def _check_redaction(event: Event, levels: PowerLevels) -> None:
    # 11.1 If the sender's power level is greater than or equal to the redact level, allow.
    if levels.user(event.sender) >= levels.named("redact"):
        return
    # 11.2 If the domain of the event_id of the event being redacted is the same as the domain of the event_id of the
    #      m.room.redaction, allow.
    own = event.event_id.partition(":")[2]
    if own and event.redacts is not None and event.redacts.partition(":")[2] == own:
        return
    # 11.3 Otherwise, reject.
    raise NotAllowed("Not enough power to redact this event")
