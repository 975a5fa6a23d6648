"""The bounds of what request bodies hold: no text or list reaches a handler that is longer than is said here.

Body models are made of these types, so that a value is refused (`M_INVALID_PARAM`) before any work is done on it.
Bodies that are no model (event content, what interactive authentication goes over) have the size of their route's
`body_limit`. tests/architecture/test_bounds.py finds bodies that have neither; docs/security.md says what is promised.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

ID_LENGTH = 255
SEARCH_LENGTH = 256
LINE_LENGTH = 1_024
TEXT_LENGTH = 131_072
USERS = 100
ROOM_TYPES = 100
STATE_EVENTS = 200
ACTIONS = 50
KEYS = 1_000
DEVICES = 1_000

Id = Annotated[str, Meta(max_length=ID_LENGTH)]
"""An identifier, or a name that the protocol compares; how many bytes it may have its own parser says."""
Search = Annotated[str, Meta(max_length=SEARCH_LENGTH)]
"""What somebody looks for: folding it costs more than its length."""
Text = Annotated[str, Meta(max_length=TEXT_LENGTH)]
"""What somebody wrote. Whoever keeps it has a bound of its own; an event cannot be larger."""
Line = Annotated[str, Meta(max_length=LINE_LENGTH)]
"""What is kept in memory, or shown in a list."""
Users = Annotated[list[Id], Meta(max_length=USERS)]
RoomTypes = Annotated[list[Id | None], Meta(max_length=ROOM_TYPES)]
Actions = Annotated[list[Any], Meta(max_length=ACTIONS)]
Content = Annotated[dict[str, Any], Meta(max_length=KEYS)]
"""The content of an event inside a body; the event as a whole has 65,536 bytes."""

FREE_BODY = 786_432
"""An event has 65,536 bytes in canonical form, six times that where every character is escaped, and blanks between.
What interactive authentication goes over has no form of its own, and the same size."""
RULE_BODY = 16_384
"""A push rule has 1,024 bytes, a tag little more than its order."""
KEYS_BODY = 1_048_576
"""Keys of many users' devices, and messages to them; their services bound what they do with each."""
