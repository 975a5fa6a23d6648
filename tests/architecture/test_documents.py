"""The generated pages match the code."""

from __future__ import annotations

import pytest

from tests.architecture.documents import FOLDER, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_generated_page_is_current(name: str) -> None:
    page = FOLDER / name
    current = page.exists() and page.read_text() == pages()[name]()
    assert current, f"docs/generated/{name} is out of date: run `make docs` and commit the result"
