"""Seeded fault points: places in the code that sleep, fail or die when a test run asks for it. Off in production.

A point is reached with `if faults.plan is not None: await faults.plan.reach("store.write.committed")`: one attribute
test where `plan` is None, and it is None unless the environment variable UNSAFE_HROMADA_FAULTS was set when
`hromada run` started. That is on purpose no setting: no configuration file can turn it on. Imports nothing of the
project, so that every layer but the core may have points. See docs/subsystems/chaos.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random

import structlog

VARIABLE = "UNSAFE_HROMADA_FAULTS"

SLEEP, RAISE, CANCEL, BLOCK = "sleep", "raise", "cancel", "block"
"""Wait; fail as a lost connection would; cancel the task; stop the whole event loop for a moment."""

POINTS: Mapping[str, frozenset[str]] = {
    name: frozenset(actions.split())
    for name, actions in {
        "store.read.begin": "sleep raise",
        "store.read_committed.begin": "sleep raise",
        "store.write.begin": "sleep raise",
        "store.write.before_commit": "sleep raise",
        "store.write.committed": "sleep raise",
        "commit.taken": "sleep",
        "commit.reserved": "sleep raise",
        "commit.publish": "sleep",
        "commit.answer": "sleep",
        "writer.head": "sleep",
        "writer.decided": "sleep raise",
        "writer.appended": "sleep raise",
        "writer.arrived": "sleep raise",
        "writer.transactions": "sleep raise",
        "heads.load": "sleep raise",
        "events.load": "sleep raise",
        "roomlists.load": "sleep raise",
        "to_device.flush": "sleep raise",
        "appservices.stored": "sleep raise",
        "appservices.answered": "sleep",
        "ignored.load": "sleep raise",
        "sessions.load": "sleep raise",
        "receipts.decided": "sleep raise",
        "account_data.decided": "sleep raise",
        "media.received": "sleep raise",
        "media.stored": "sleep raise",
        "backups.chunk": "sleep raise",
        "sync.initial": "sleep raise",
        "sync.store": "sleep raise",
        "sync.answer": "sleep raise",
        "stream.send": "sleep raise",
        "stream.shared": "block raise",
        "stream.acknowledged": "block",
        "waiters.wake": "block",
        "request.admitted": "sleep raise cancel",
        "request.handled": "sleep raise cancel",
        "migrations.begin": "block raise",
        "migrations.done": "block raise",
    }.items()
}
"""Every point, and what may happen there without making the server anything else than unlucky."""

CONTROLS = ("positions-ahead", "early-acknowledgement")
"""Servers that are wrong on purpose; built by `boot.controls`."""

_MOST_BLOCKED_S = 0.01

_log = structlog.get_logger(__name__)


class InjectedFault(ConnectionError):
    """What a point raises: to the store it is a lost connection, to everything else a bug."""


class BadFaults(Exception):
    """The environment variable does not say what is to be broken."""


@dataclass(slots=True)
class FaultPlan:
    """What to break. Every point draws from a sequence of its own, made of the seed and its name."""

    seed: int = 0
    rate: float = 0.0
    """The share of visits to a point at which something happens."""
    sleep: float = 0.05
    """The longest sleep, in seconds."""
    only: tuple[str, ...] = ("*",)
    """Patterns of point names; the others do nothing."""
    crash: tuple[str, int] | None = None
    """Die by SIGKILL at this visit to this point."""
    control: str | None = None
    _visits: Counter[str] = field(default_factory=Counter)
    _chances: dict[str, Random] = field(default_factory=dict)

    async def reach(self, point: str) -> None:
        """Do what the plan says for this visit. Raises InjectedFault, CancelledError."""
        action = self._draw(point)
        if action == SLEEP:
            await asyncio.sleep(self._chances[point].uniform(0, self.sleep))
        elif action == CANCEL and (task := asyncio.current_task()) is not None:
            task.cancel()
            await asyncio.sleep(0)
        else:
            self._now(point, action)

    def touch(self, point: str) -> None:
        """As `reach`, where nothing may be awaited. Raises InjectedFault."""
        self._now(point, self._draw(point))

    def _now(self, point: str, action: str | None) -> None:
        if action == BLOCK:
            time.sleep(self._chances[point].uniform(0, _MOST_BLOCKED_S))
        elif action == RAISE:
            raise InjectedFault(f"fault injected at {point}")

    def _draw(self, point: str) -> str | None:
        actions = POINTS[point]
        self._visits[point] += 1
        if self.crash == (point, self._visits[point]):
            os.kill(os.getpid(), signal.SIGKILL)
        if not any(fnmatchcase(point, pattern) for pattern in self.only):
            return None
        chance = self._chances.get(point)
        if chance is None:
            chance = self._chances[point] = Random(f"{self.seed}/{point}")  # noqa: S311 - repeatable on purpose
        if chance.random() >= self.rate:
            return None
        action = chance.choice(sorted(actions))
        _log.info("fault_injected", point=point, visit=self._visits[point], action=action)
        return action


plan: FaultPlan | None = None
"""What is broken in this process. The one module-level variable of the project: a point must cost next to nothing
where there is no plan, and reaching one through constructors would put tests into every signature."""


def switch_on(environment: Mapping[str, str]) -> FaultPlan | None:
    """Read the variable, once, before anything is built. Raises BadFaults."""
    global plan  # noqa: PLW0603 - see `plan`
    text = environment.get(VARIABLE)
    if text is None:
        return None
    plan = parse(text)
    _log.critical("fault_injection_is_on", variable=VARIABLE, plan=text, consequence="THIS SERVER LOSES MESSAGES")
    return plan


def parse(text: str) -> FaultPlan:
    """A plan from words such as `seed=1 rate=0.02 sleep=0.05 only=store.*,sync.* crash=commit.publish:7`.

    Raises BadFaults.
    """
    found: dict[str, object] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if name not in _WORDS:
            raise BadFaults(f"{VARIABLE}: {name!r} is none of {', '.join(_WORDS)}")
        try:
            found[name] = _WORDS[name](value)
        except ValueError as error:
            raise BadFaults(f"{VARIABLE}: {word}: {error}") from None
    if not found:
        raise BadFaults(f"{VARIABLE} is set and empty: unset it")
    return FaultPlan(**found)  # type: ignore[arg-type] # the parsers give what the fields want


def _share(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError("must be from 0 to 1")
    return number


def _patterns(value: str) -> tuple[str, ...]:
    patterns = tuple(value.split(","))
    for pattern in patterns:
        if not any(fnmatchcase(point, pattern) for point in POINTS):
            raise ValueError(f"no point is called {pattern}")
    return patterns


def _visit(value: str) -> tuple[str, int]:
    point, _, number = value.partition(":")
    if point not in POINTS:
        raise ValueError("there is no such point")
    return point, int(number or 1)


def _control(value: str) -> str:
    if value not in CONTROLS:
        raise ValueError(f"must be one of {', '.join(CONTROLS)}")
    return value


_WORDS: Mapping[str, Callable[[str], object]] = {
    "seed": int,
    "rate": _share,
    "sleep": _share,
    "only": _patterns,
    "crash": _visit,
    "control": _control,
}
