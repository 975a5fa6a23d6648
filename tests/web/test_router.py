"""The tree of path segments, by itself."""

from __future__ import annotations

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.router import Router


@pytest.mark.parametrize("target", ["x/metrics", "*", "http:", "http:/metrics", "", "?/metrics"])
def test_only_what_begins_with_a_slash_is_a_path(target: str) -> None:
    router: Router[int] = Router()
    router.add("GET", "/metrics", 1)
    assert router.find("GET", b"/metrics") == (1, [])
    with pytest.raises(MatrixError) as refused:
        router.find("GET", target.encode())
    assert refused.value.code is ErrCode.UNRECOGNIZED
