"""Fixtures of the interop tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop import javascript


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder with matrix-js-sdk in it."""
    return javascript.install()
