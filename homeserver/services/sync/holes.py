"""A response with holes: what many recipients get alike, and where what is each one's own goes.

The holes are key counts, of a device, at the beginning, and unread counts, of a user, in each joined room. The bytes
between them are made once (docs/adr/0009-deliveries-with-holes.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.services.push.unread import EMPTY, RoomUnread

_MAX_BYTES = 4_096  # larger ones go to few, or rarely
_MAX_MADE = 8
"""Of one template; the counts of a room's people are few different ones."""


@dataclass(frozen=True, slots=True)
class Template:
    """The pieces between the holes: one more than there are rooms, and one more for the key counts."""

    pieces: tuple[bytes, ...]
    rooms: tuple[str, ...]
    with_threads: bool
    _made: dict[tuple[Any, ...], tuple[bytes, object]] = field(default_factory=dict, init=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes of the pieces."""
        return sum(map(len, self.pieces))

    def filled(self, key_counts: bytes, unread: Mapping[str, RoomUnread]) -> bytes:
        """The JSON for a recipient with these key counts (members, without braces) and unread counts by room."""
        counts = [unread.get(room_id, EMPTY) for room_id in self.rooms]
        # Many have the very same counts: those kept beside what was made of them stand for their ids.
        key = (key_counts, *map(id, counts))
        made = self._made.get(key)
        if made is None:
            made = self._fill(key_counts, counts), counts
            if len(self._made) < _MAX_MADE and len(made[0]) <= _MAX_BYTES:
                self._made[key] = made
        return made[0]

    def parts(self, key_counts: bytes, unread: Mapping[str, RoomUnread]) -> list[bytes]:
        """What `filled` gives, in parts of at most a room each: for answers too large to be copied whole."""
        return self._parts(key_counts, [unread.get(room_id, EMPTY) for room_id in self.rooms])

    def _fill(self, key_counts: bytes, counts: Sequence[RoomUnread]) -> bytes:
        return b"".join(self._parts(key_counts, counts))

    def _parts(self, key_counts: bytes, counts: Sequence[RoomUnread]) -> list[bytes]:
        parts = [self.pieces[0], key_counts, self.pieces[1]]
        for one, piece in zip(counts, self.pieces[2:], strict=True):
            parts.append(members(one, self.with_threads))
            parts.append(piece)
        return parts


def members(unread: RoomUnread, with_threads: bool) -> bytes:
    """The members of a room's section that say what is unread, without braces.

    spec: client-server-api#get_matrixclientv3sync (Joined Room)
    """
    if unread is EMPTY or not unread.threads:
        return _NOTHING_BY_THREAD if with_threads else _NOTHING
    counts = unread.main if with_threads else unread.total
    shown = b'"unread_notifications":{"highlight_count":%d,"notification_count":%d}' % (counts.highlight, counts.notify)
    if not with_threads:
        return shown
    threads = {
        root: {"highlight_count": one.highlight, "notification_count": one.notify}
        for root, one in unread.threads.items()
        if root
    }
    return shown + b',"unread_thread_notifications":' + orjson.dumps(threads)


_NOTHING = b'"unread_notifications":{"highlight_count":0,"notification_count":0}'
_NOTHING_BY_THREAD = _NOTHING + b',"unread_thread_notifications":{}'
