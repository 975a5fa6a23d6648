"""What strangers wrote is shown, and neither obeyed nor believed."""

from __future__ import annotations

import pytest

from homeserver import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünï and 💬", "plain, ünï and 💬"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("a\nb\tc\rd", "a\\u000ab\\u0009c\\u000dd"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("a\u2028b\u200bc\U000e0041", "a\\u2028b\\u200bc\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert terminal.escaped(text) == shown


def test_a_row_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_row(["@a:b", "\x1b[2J\n@admin:b\tadmin"])
    assert capsys.readouterr().out == "@a:b\t\\u001b[2J\\u000a@admin:b\\u0009admin\n"


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_error("hromada: \x1b[2J\nno")
    assert capsys.readouterr().err == "hromada: \\u001b[2J\\u000ano\n"
