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


def test_left_out_entries_empty_the_tail() -> None:
    log = Log(0)
    forgotten: list[int] = []
    log.listen(lambda entries: None, lambda: forgotten.append(log.position))
    log.publish([entry(1), entry(2)])
    log.skip_to(4)
    log.skip_to(3)
    log.publish([entry(5)])
    assert log.since(2) is None
    assert [one.position for one in log.since(4) or []] == [5]
    assert log.since(5) == [] and forgotten == [4]


@given(order=st.permutations([(1, 2), (3,), (4, 5, 6), (7,), (8, 9)]), twice=st.sets(st.integers(0, 4)))
def test_batches_wait_for_their_predecessors(order: list[tuple[int, ...]], twice: set[int]) -> None:
    log = Log(0)
    seen: list[int] = []
    log.listen(lambda entries: seen.extend(one.position for one in entries), seen.clear)
    for number, positions in enumerate(order):
        before = log.position
        assert log.publish([entry(one) for one in positions]) is (log.position >= positions[-1])
        assert log.position >= before
        if number in twice:
            log.publish([entry(one) for one in positions])
        assert seen == list(range(1, log.position + 1))
    assert seen == list(range(1, 10))
    assert [one.position for one in log.since(0) or []] == seen


def test_parts_that_are_known_are_passed_over() -> None:
    log = Log(0)
    log.publish([entry(1), entry(2)])
    assert log.publish([entry(1)])
    assert log.publish([entry(2), entry(3)])
    assert [one.position for one in log.since(0) or []] == [1, 2, 3]
