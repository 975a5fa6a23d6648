"""The state of a room at some point, read by key.

What decides about an event is a handful of keys, whatever the size of the room, so a state is a stored snapshot, the
keys of it that somebody has asked for, and changes on top that are not stored yet. Small rooms are held whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import immutables

from homeserver.core.event import StateKey

StateMap = immutables.Map[StateKey, str]
"""(type, state_key) → event id. Persistent: copies share structure."""

StateChanges = Mapping[StateKey, str | None]
"""State keys with the event id that each has now; None: the key is gone."""

MAX_WHOLE: Final = 2_000
"""Rooms of up to so many keys are held as one map: about 0.5 MB, and no key of them costs a statement."""

_MAX_KNOWN = 5 * MAX_WHOLE
_NOTHING: Final[StateChanges] = {}
_UNKNOWN: Final = object()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored room state: `nid` names it, `index` is its number in the chain (bounds the chain's length)."""

    nid: int
    index: int


EMPTY: Final = Snapshot(0, 0)
"""The state without keys."""


class MissingStateError(Exception):
    """A decision needs these keys of a stored state, which are not in memory."""

    def __init__(self, state: RoomState, keys: Iterable[StateKey]) -> None:
        super().__init__("State must be loaded")
        self.state = state
        self.keys = set(keys)


class RoomState:
    """One state of a room. What it says never changes; it may learn more of what its snapshot says.

    Either `snapshot` is set and names what is stored, or the state is `changes` on top of `base`.
    """

    __slots__ = ("_known", "base", "changes", "is_whole", "snapshot")

    def __init__(
        self,
        snapshot: Snapshot | None,
        known: Mapping[StateKey, str | None] | None = None,
        *,
        is_whole: bool = False,
        base: RoomState | None = None,
        changes: StateChanges = _NOTHING,
    ) -> None:
        """With `is_whole`, `known` is all of the state; else what it lacks may be there nevertheless."""
        self.snapshot = snapshot
        self.base = base
        self.changes = changes
        self.is_whole = is_whole
        self._known: immutables.Map[StateKey, str | None]
        self._known = known if isinstance(known, immutables.Map) else immutables.Map(known or {})

    @classmethod
    def empty(cls) -> RoomState:
        """The state of a room that does not exist yet."""
        return cls(EMPTY, is_whole=True)

    @property
    def weight(self) -> int:
        """How many keys are in memory."""
        return len(self._known)

    @property
    def whole(self) -> StateMap | None:
        """The state as a map, if it is held whole."""
        return self._known if self.is_whole else None  # type: ignore[return-value]  # a whole state has no None in it

    def get(self, key: StateKey) -> str | None:
        """The event id at a key. Raises MissingStateError if that is not in memory."""
        state = self
        while True:
            event_id = state._known.get(key, _UNKNOWN)
            if event_id is not _UNKNOWN:
                return event_id  # type: ignore[return-value]  # what is not the marker is a value
            if state.is_whole:
                return None
            if state.base is None:
                raise MissingStateError(state, [key])
            state = state.base

    def unknown(self, keys: Iterable[StateKey]) -> set[StateKey]:
        """Those of `keys` that `get` would have to load."""
        if self.is_whole:
            return set()
        unknown: set[StateKey] = set()
        for key in keys:
            try:
                self.get(key)
            except MissingStateError:
                unknown.add(key)
        return unknown

    def require(self, keys: Iterable[StateKey]) -> None:
        """Raise MissingStateError, for all of them at once, if any of `keys` is not in memory."""
        if not self.is_whole and (unknown := self.unknown(keys)):
            raise MissingStateError(self.stored, unknown)

    @property
    def stored(self) -> RoomState:
        """The stored state that it stands on."""
        state = self
        while state.base is not None:
            state = state.base
        return state

    def learn(self, found: StateChanges) -> None:
        """Take in keys of a stored state as the store gave them; None for those that it does not have."""
        if not self.is_whole:
            self._known = self._known.update(found)

    def changed(self, changes: StateChanges) -> RoomState:
        """The state with `changes` on top; itself if there are none."""
        if not changes:
            return self
        return RoomState(None, self._with(changes), is_whole=self.is_whole, base=self, changes=changes)

    def set(self, key: StateKey, event_id: str | None) -> RoomState:
        """The state with one key changed; None removes it."""
        return self.changed({key: event_id})

    def at(self, snapshot: Snapshot) -> RoomState:
        """The same state, now stored as `snapshot`. What has grown too large to be held is not held any more."""
        size = len(self._known)
        return RoomState(
            snapshot, self._known if size <= _MAX_KNOWN else None, is_whole=self.is_whole and size <= MAX_WHOLE
        )

    def _with(self, changes: StateChanges) -> immutables.Map[StateKey, str | None]:
        known = self._known.update(changes)
        if self.is_whole:
            for key, event_id in changes.items():
                if event_id is None:
                    known = known.delete(key)
        return known

    def since(self, base: RoomState) -> StateChanges | None:
        """The changes from `base` to this state, newest values; None if it was not made on top of `base`."""
        merged: dict[StateKey, str | None] = {}
        state = self
        while state is not base:
            if state.base is None:
                return None
            for key, event_id in state.changes.items():
                merged.setdefault(key, event_id)
            state = state.base
        return merged

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RoomState):
            return NotImplemented
        if self.is_whole and other.is_whole:
            return self._known == other._known
        return self is other or (self.snapshot is not None and self.snapshot == other.snapshot)

    __hash__ = None  # type: ignore[assignment]  # equal by what it says, which may become known later

    def __repr__(self) -> str:
        return f"RoomState({self.snapshot}, {len(self._known)} keys{' (all)' if self.is_whole else ''})"
