"""State resolution of room version 1.

Its order of passes is the specification's; within a pass each key is resolved on its own against the result of the
passes before, so that the outcome does not depend on any order of keys.
spec: rooms/v1#state-resolution
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from hashlib import sha1

from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.conflict import Conflict
from homeserver.core.resolve.lookup import EventLookup, is_allowed

_PASSES = ("m.room.power_levels", "m.room.join_rules", "m.room.member")


def resolve_v1(conflict: Conflict, events: EventLookup) -> dict[StateKey, str | None]:
    """The resolved conflicted keys. `conflict.agreed` need not hold more than what the rules may ask for."""
    # Start by setting R to the union of the states to be resolved, excluding any conflicting events.
    changes: dict[StateKey, str] = {}
    resolved = ChainMap(changes, conflict.agreed)
    # First we resolve conflicts between m.room.power_levels events. Repeat the above process for m.room.join_rules,
    # and for m.room.member events.
    for event_type in _PASSES:
        resolved.update(
            {
                key: _last_of_chain(_ordered(holders, events), resolved, events)
                for key, holders in conflict.conflicted.items()
                if key[0] == event_type
            }
        )
    # For all other conflicts, just pick the event with the highest depth and lowest sha1(event_id) that passes
    # authentication in R and add it to R.
    others: dict[StateKey, str] = {}
    for key, holders in conflict.conflicted.items():
        if key[0] not in _PASSES:
            candidates = reversed(_ordered(holders, events))
            passing = (event.event_id for event in candidates if is_allowed(event, resolved, events))
            winner = next(passing, None)
            if winner is not None:
                others[key] = winner
    changes |= others
    return {key: changes.get(key) for key in conflict.conflicted}


def _ordered(holders: Mapping[str, int], events: EventLookup) -> list[Event]:
    """By ascending depth, then descending sha1(event_id)."""
    by_hash = sorted(holders, key=_sha1, reverse=True)
    return sorted((events[event_id] for event_id in by_hash), key=lambda event: event.depth)


def _last_of_chain(ordered: list[Event], resolved: MutableMapping[StateKey, str], events: EventLookup) -> str:
    """Add the first event to R, then each next one as long as R allows it; the one that stays."""
    winner = ordered[0]
    for event in ordered[1:]:
        if not is_allowed(event, ChainMap({winner.key: winner.event_id}, resolved), events):
            break
        winner = event
    return winner.event_id


def _sha1(event_id: str) -> bytes:
    return sha1(event_id.encode(), usedforsecurity=False).digest()
