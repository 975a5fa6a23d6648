"""What happened in a run, as its clients saw it: the only thing the checker looks at.

An operation has a client, a kind, a start, an end and a result, on the monotonic clock of one machine. An operation
without an end has an unknown outcome ("maybe"): it may have happened or not, and may still happen. Knows no server
and no rule; can be saved as JSON and read again.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

WRITES = ("send", "state", "redact")
"""Kinds of operations that make one event of a room. `asked` has `room` and `key`, which the event carries too."""


@dataclass(slots=True)
class Operation:
    """One thing a client asked for. `attempts` counts requests: more than one may still be under way somewhere."""

    client: str
    kind: str
    start: float
    asked: Json
    end: float | None = None
    result: Any = None
    attempts: int = 1

    @property
    def acked(self) -> bool:
        """Whether the server said that it was done."""
        return self.end is not None


@dataclass(slots=True)
class Final:
    """What the server says when all is over and everybody has come to rest."""

    events: dict[str, list[Json]] = field(default_factory=dict)
    """Room → all events in the order of /messages: `id`, `type`, `sender`, perhaps `state_key`, `key`, `pruned`."""
    walks: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Room → whose walk in which direction → event ids, turned into forward order."""
    state: dict[str, dict[str, str]] = field(default_factory=dict)
    """Room → `type|state_key` → event id, by GET /state."""
    registers: dict[str, Any] = field(default_factory=dict)
    """Values that are replaced, not appended: account data and receipts."""
    unread: dict[str, Json] = field(default_factory=dict)
    """`room|user` → the unread counts of a first sync."""


@dataclass(slots=True)
class History:
    """All operations of a run in the order of their start."""

    seed: int = 0
    operations: list[Operation] = field(default_factory=list)
    final: Final = field(default_factory=Final)
    faults: list[tuple[float, str]] = field(default_factory=list)
    """What was broken, and when."""

    def begin(self, client: str, kind: str, **asked: Any) -> Operation:
        """Note that an operation starts; its outcome is unknown until `finish`."""
        operation = Operation(client, kind, time.monotonic(), asked)
        self.operations.append(operation)
        return operation

    def finish(self, operation: Operation, result: Any) -> None:
        """Note that the server has answered."""
        operation.end = time.monotonic()
        operation.result = result

    def broke(self, what: str) -> None:
        """Note a fault."""
        self.faults.append((time.monotonic(), what))

    def of(self, *kinds: str) -> list[Operation]:
        """Operations of these kinds."""
        return [operation for operation in self.operations if operation.kind in kinds]

    def syncs(self) -> dict[str, list[Operation]]:
        """Each reader's accepted responses, in its order."""
        readers: dict[str, list[Operation]] = {}
        for operation in self.of("sync"):
            if operation.acked:
                readers.setdefault(operation.client, []).append(operation)
        return readers

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> History:
        """What `save` wrote."""
        data = json.loads(path.read_text())
        operations = [Operation(**operation) for operation in data["operations"]]
        faults = [(moment, what) for moment, what in data["faults"]]
        return cls(data["seed"], operations, Final(**data["final"]), faults)
