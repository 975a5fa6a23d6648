"""Secrets do not reach the logs."""

from __future__ import annotations

import pytest

from homeserver.logs import redact


@pytest.mark.parametrize(
    "event",
    [
        {"event": "GET /x?access_token=sesame&a=1"},
        {"event": "header Authorization: Bearer sesame"},
        {"event": 'body {"password": "sesame"}'},
        {"event": "postgresql://user:sesame@host/db"},
        {"event": "x", "token": "sesame"},
        {"event": "x", "new_password": b"sesame"},
        {"event": "x", "exception": "ValueError: refresh_token=sesame"},
    ],
)
def test_secrets_are_blotted_out(event: dict[str, object]) -> None:
    assert "sesame" not in str(redact(None, "info", dict(event)))


def test_everything_else_stays() -> None:
    event = {"event": "request", "path": "/_matrix/client/v3/sync", "status": 200, "tokens_used": 3}
    assert redact(None, "info", dict(event)) == event
