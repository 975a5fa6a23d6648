"""The part of a room's section that all recipients of the same events share, as bytes made once.

Two recipients of a room's update get the same timeline and state, byte for byte, unless it holds an event of their
own (with its transaction id). The memory is keyed by the rendered events themselves, not by their positions: an event
that was redacted in between has other bytes, so nothing here can ever be stale and nothing needs invalidating.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from homeserver.services.rooms.render import with_membership

Forms = tuple[tuple[bytes, ...], tuple[str | None, ...]]
"""Events as all readers share them, and of each the reader's membership, where that is still to be put in. Such bytes
are those that are kept with the event: to look them up costs little, and only who is first puts memberships in."""

SharedKey = tuple[Forms, Forms, bool, str, str]
"""Timeline events, state events, limited, prev_batch, name of the state's field."""


def finished(forms: Forms) -> list[bytes]:
    """The events with all that belongs to them."""
    return [
        form if membership is None else with_membership(form, membership)
        for form, membership in zip(*forms, strict=True)
    ]


class SharedSections:
    """The newest shared parts, bounded by bytes."""

    def __init__(self, *, max_bytes: int = 4 * 1024 * 1024, max_part: int = 64 * 1024) -> None:
        self._parts: OrderedDict[SharedKey, bytes] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_part = max_part

    def get(self, key: SharedKey, make: Callable[[SharedKey], bytes]) -> bytes:
        """The part for `key`, made now if it is not in memory."""
        part = self._parts.get(key)
        if part is not None:
            self._parts.move_to_end(key)
            return part
        part = make(key)
        if len(part) <= self._max_part:
            self._parts[key] = part
            self._bytes += len(part)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._parts.popitem(last=False)[1])
        return part
