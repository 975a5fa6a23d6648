"""State snapshots as chains of deltas: how a new snapshot finds its parent and what its delta holds.

Snapshot number n (base 16) stands on n with its lowest non-zero digit decremented. That ancestor is always on the
chain of n-1, so the delta of n is the union of the deltas between the two, newest first, with its own change on
top. A chain is at most 15 long per digit, and a change is repeated at most once per digit. Forks number on from the
snapshot they leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.core.event import StateKey

BASE = 16

AT_ONCE = BASE**8
"""The number of a state that came at once, as that of a room which is joined on another server: its parent is 0, and no
later number has one below it, so its delta, which may be large, is never written again."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What became of one state key: the event with this row id was set, or removed."""

    event: int
    removed: bool = False


Delta = Mapping[StateKey, KeyChange]


@dataclass(frozen=True, slots=True)
class Link:
    """One snapshot of a chain."""

    nid: int
    parent_nid: int
    index: int
    delta: Delta


def parent_index(index: int) -> int:
    """The number of the snapshot that number `index` (> 0) is a delta on."""
    step = 1
    while index % (step * BASE) == 0:
        step *= BASE
    return index - step


def needs_chain(index: int) -> bool:
    """Whether the parent of number `index` lies farther back than `index` - 1."""
    return index % BASE == 0


def link(nid: int, base: int, base_index: int, change: Delta, known: Mapping[int, Link], index: int = 0) -> Link:
    """The new snapshot `nid`, made by `change` on the state `base`.

    `known` holds the chain of `base` at least down to the new snapshot's parent, if that is not `base` itself.
    `index` is its number if that is not the next one, which is for snapshots on the empty state only.
    """
    if base == 0:
        return Link(nid, 0, index or 1, dict(change))
    index = base_index + 1
    stop = parent_index(index)
    merged = dict(change)
    at, at_index = base, base_index
    while at_index > stop:
        step = known[at]
        for key, older in step.delta.items():
            merged.setdefault(key, older)
        at = step.parent_nid
        at_index = parent_index(at_index)
    return Link(nid, at, index, merged)
