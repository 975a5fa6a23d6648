"""The log's tail: what is in it for any position, however it was published and cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homeserver.ports.log import ForgottenEntry, LogEntry
from homeserver.services.log import Log


def entry(position: int) -> LogEntry:
    return ForgottenEntry(position, "@a:b", "!room")


@given(
    start=st.integers(0, 5),
    batches=st.lists(st.integers(1, 4), max_size=6),
    limit=st.integers(1, 12),
    position=st.integers(0, 40),
    upto=st.none() | st.integers(0, 40),
)
def test_since(start: int, batches: list[int], limit: int, position: int, upto: int | None) -> None:
    log = Log(start, max_entries=limit)
    published: list[int] = []
    at = start
    for size in batches:
        positions = list(range(at + 1, at + 1 + size))
        log.publish([entry(one) for one in positions])
        published += positions
        at += size
    found = log.since(position, upto)
    kept = published[-limit:]
    if position < (kept[0] - 1 if kept else start):
        assert found is None
    else:
        assert found is not None
        assert [one.position for one in found] == [p for p in kept if p > position and (upto is None or p <= upto)]


def test_a_gap_empties_the_tail() -> None:
    log = Log(0)
    log.publish([entry(1), entry(2)])
    log.publish([entry(5)])
    assert log.since(2) is None
    assert [one.position for one in log.since(4) or []] == [5]
    assert log.since(5) == []
