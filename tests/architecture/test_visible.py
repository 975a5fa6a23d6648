"""Events reach a user only through the one history filter: what is rendered is `Visible`, and one module makes it so.

That only `Visible` is rendered is what mypy checks; here is what it cannot.
"""

from __future__ import annotations

import ast

from tests.architecture.source import PACKAGES, modules

FILTER = "homeserver/services/rooms/visibility.py"
RENDERERS = {"client_json", "for_recipient", "federation_form", "client_content"}
MAY_RENDER = {
    "homeserver/services/push/notifications.py",  # for rules to match; what is shown is presented
    "homeserver/services/appservices/transactions.py",  # for those whose users saw it happen
    "homeserver/services/push/sender.py",  # for those who saw it happen
    "homeserver/services/push/unread.py",  # for rules to match, not for anybody to read
    "homeserver/ports/events.py",  # where the form is kept
    "homeserver/services/rooms/render.py",
    "homeserver/services/rooms/present.py",
    "homeserver/services/rooms/state.py",
    "homeserver/services/sync/render.py",
}
QUOTED = {"unsigned", "redaction_json"}
MAY_QUOTE = {FILTER, "homeserver/storage/repos/planned.py", "homeserver/storage/repos/redactions.py"}


def test_only_the_filter_makes_events_visible() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules(*PACKAGES)
        if module.name != FILTER
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == "Visible")
            or (isinstance(node.func, ast.Name) and node.func.id == "cast" and "Visible" in ast.unparse(node))
        )
    ]
    assert not found, f"{found}: ask `History` or `RoomWindow` what their reader may see"


def test_events_are_rendered_for_somebody() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules(*PACKAGES)
        if module.name not in MAY_RENDER
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name) and node.id in RENDERERS
    ]
    assert not found, f"{found}: `present` and `stated` render with what the reader may see of other events"


def test_quotes_of_other_events_pass_the_filter() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules(*PACKAGES)
        if module.name not in MAY_QUOTE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in QUOTED and isinstance(node.ctx, ast.Load)
    ]
    assert not found, f"{found}: only `History.quotes` knows what of it a reader may see"
