"""A server whose HTTP packages are not the tested ones does not start, and says why."""

from __future__ import annotations

import pytest

from homeserver.web import stack


def test_this_environment_is_the_tested_one() -> None:
    assert list(stack.faults()) == []
    stack.check()


def test_another_version_or_a_lost_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stack.TESTED, "h11", "0.99.")
    monkeypatch.setitem(stack.TESTED, "no-such-package-of-ours", "1.")
    monkeypatch.setitem(stack._NAMES, "hypercorn.protocol", ("H11Protocol", "NoSuchName"))
    monkeypatch.setitem(stack._NAMES, "hypercorn.nothing", ("x",))
    with pytest.raises(stack.UnknownStack) as refused:
        stack.check()
    message = str(refused.value)
    assert "h11 is 0.16" in message and "needs 0.99.x" in message
    assert "no-such-package-of-ours is not installed" in message
    assert "hypercorn.protocol.NoSuchName is gone" in message and "hypercorn.nothing.x is gone" in message
    assert message.count(" is gone") == 2
