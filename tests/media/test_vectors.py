"""Every real file of `tests/vectors/media`: uploaded, downloaded, made smaller.

Its README says where the files are from and under which licences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from homeserver.services.media.names import INLINE_TYPES, essence
from tests.support.client import Client
from tests.support.media import MediaFile, download, media_files, picture, thumbnail, upload

# The database has no part in what is looked at here.
pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True)

FILES = media_files()
TOLERANCE = 26
NAMES = [file.name for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=NAMES)
async def test_what_goes_in_comes_out(alice: Client, file: MediaFile) -> None:
    media = await upload(alice, file.data, file.declared_mime, file.upload_name)
    answer = await download(alice, media)
    assert answer.status == 200
    assert answer.raw == file.data
    declared = file.declared_mime if "/" in file.declared_mime else "application/octet-stream"
    assert answer.headers["Content-Type"] == declared
    shown = answer.headers["Content-Disposition"]
    assert shown.startswith("inline" if essence(declared) in INLINE_TYPES else "attachment")
    assert not any(bad in shown for bad in ("\r", "\n", "/", "\\", "\u202e"))
    if not file.expected["inline"] and declared == file.mime:
        assert shown.startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; script-src 'none';")


@pytest.mark.parametrize("file", FILES, ids=NAMES)
@pytest.mark.parametrize(("size", "method"), [((96, 96), "crop"), ((320, 240), "scale")])
async def test_thumbnail(alice: Client, file: MediaFile, size: tuple[int, int], method: str) -> None:
    media = await upload(alice, file.data, file.declared_mime)
    answer = await thumbnail(alice, media, *size, method)
    wanted = file.expected["thumbnail"]
    if wanted == "refuse" or answer.status != 200:
        answer.error((400, 413), "M_UNKNOWN", "M_TOO_LARGE")
        assert wanted in ("refuse", "either")
        return
    assert answer.headers["Content-Type"] in ("image/jpeg", "image/png", "image/webp", "image/gif")
    assert answer.headers["Content-Disposition"].startswith("inline")
    made = picture(answer.raw)
    assert getattr(made, "n_frames", 1) == 1, "nobody asked for an animation"
    assert not made.getexif()
    if wanted == "accept" and file.expected["width"]:
        _check_size(made.size, (file.expected["width"], file.expected["height"]), size, method)
    if file.expected.get("alpha") and wanted == "accept":
        assert "A" in made.convert("RGBA").getbands()
        assert made.mode in ("RGBA", "LA", "P"), made.mode
    if "grid_3x3" in file.expected and method == "scale":
        _check_colours(made, file.expected["grid_3x3"])


@pytest.mark.parametrize("file", [f for f in FILES if f.expected.get("animated")], ids=lambda f: f.name)
async def test_animation(alice: Client, file: MediaFile) -> None:
    media = await upload(alice, file.data, file.declared_mime)
    answer = await thumbnail(alice, media, 320, 240, animated="true")
    if file.expected["thumbnail"] == "refuse":
        answer.error((400, 413))
        return
    frames = getattr(picture(answer.raw), "n_frames", 1)
    is_short = file.expected["frames"] <= 200
    assert frames == (file.expected["frames"] if is_short else 1)
    if frames > 1:
        assert answer.headers["Content-Type"] == "image/webp"
    still = await thumbnail(alice, media, 320, 240, animated="false")
    assert getattr(picture(still.raw), "n_frames", 1) == 1


def _check_size(made: tuple[int, int], original: tuple[int, int], box: tuple[int, int], method: str) -> None:
    if method == "crop":
        assert made == (min(box[0], original[0]), min(box[1], original[1]))
        return
    ratio = min(1, box[0] / original[0], box[1] / original[1])
    expected = [max(1, side * ratio) for side in original]
    assert all(abs(side - wanted) <= 1 for side, wanted in zip(made, expected, strict=True)), (made, expected)


def _check_colours(made: Image.Image, grid: Sequence[Sequence[int]]) -> None:
    """The mean colours of nine parts tell a turned, mirrored, inverted or discoloured picture from a right one."""
    image = made.convert("RGBA")
    is_tiny = image.width < 3 or image.height < 3
    shrunk = image.resize((3, 3), Image.Resampling.NEAREST if is_tiny else Image.Resampling.BOX)
    means: list[Any] = [shrunk.getpixel((x, y)) for y in range(3) for x in range(3)]
    flat = [cell for row in grid for cell in row] if isinstance(grid[0][0], list) else list(grid)
    for place, (mean, wanted) in enumerate(zip(means, flat, strict=True)):
        assert abs(mean[3] - wanted[3]) <= TOLERANCE, (place, mean, wanted)
        if wanted[3] > 64:  # of what is nearly transparent, nobody sees the colour
            assert all(abs(a - b) <= TOLERANCE for a, b in zip(mean[:3], wanted[:3], strict=True)), (
                place,
                mean,
                wanted,
            )
