"""Pictures lose what cameras write into them, and nothing else."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
from pathlib import Path

import aiohttp
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from homeserver.services.media.metadata import without_metadata
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.media import MediaFile, download, media_files, upload

_ITEMS = b"\0\0\0\x30meta\0\0\0\0\0\0\0\x24iloc\2\0\0\0\x44\x40\xff\xff\xff\xff" + bytes(16)
_BOXED = b"\0\0\0\x10ftypavif\0\0\0\0" + _ITEMS * 8
PLACE = b"50 deg 27 min N"
FORMATS = ("JPEG", "PNG", "WEBP")


def photo(format_: str, turned: int = 6, **more: object) -> bytes:
    """A picture with a place, an orientation, and texts."""
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = turned, "Camera of Alice"
    exif[0x8825] = {1: "N", 29: PLACE.decode()}
    out = io.BytesIO()
    image.save(out, format_, exif=exif, xmp=b"<x:xmpmeta>Alice</x:xmpmeta>", icc_profile=b"a profile" * 20, **more)
    return out.getvalue()


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("turned", [1, 6, 8])
def test_places_and_texts_go(format_: str, turned: int) -> None:
    data = photo(format_, turned)
    assert PLACE in data
    lean = without_metadata(data)
    assert lean is not None
    assert PLACE not in lean
    assert b"Alice" not in lean
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(lean))
    assert dict(after.getexif()) == ({} if turned == 1 else {0x0112: turned})
    assert after.info["icc_profile"] == b"a profile" * 20
    assert ImageOps.exif_transpose(after).tobytes() == ImageOps.exif_transpose(before).tobytes()
    assert without_metadata(lean) is None, "nothing is left to take out"


def test_what_hangs_on_a_jpeg_goes() -> None:
    data = photo("JPEG", 1, progressive=True) + b"\xff\xd8 a second picture " + PLACE
    lean = without_metadata(data)
    assert lean is not None
    assert lean.endswith(b"\xff\xd9")
    assert PLACE not in lean


def pictures() -> list[MediaFile]:
    return [file for file in media_files() if file.mime in ("image/jpeg", "image/png", "image/webp", "image/gif")]


@pytest.mark.parametrize("file", pictures(), ids=lambda file: file.name)
def test_real_pictures_look_the_same(file: MediaFile) -> None:
    lean = without_metadata(file.data)
    if lean is None or file.expected["thumbnail"] == "refuse":
        return
    after = Image.open(io.BytesIO(lean))
    try:
        before = Image.open(io.BytesIO(file.data))
    except ValueError:  # a text that unpacks to too much: it is gone now
        after.load()
        return
    assert after.size == before.size
    if before.format != "MPO":  # whose further pictures go
        assert getattr(after, "n_frames", 1) == getattr(before, "n_frames", 1)
    assert after.getexif().get(0x0112, 1) == before.getexif().get(0x0112, 1)
    try:
        wanted = before.tobytes()
    except (OSError, SyntaxError):
        return
    assert after.tobytes() == wanted


def animation() -> bytes:
    """A GIF of two pictures that runs three times, with a comment and XMP."""
    out = io.BytesIO()
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first.save(out, "GIF", save_all=True, append_images=[second], loop=3, duration=50, comment=PLACE)
    xmp = b"\x21\xff\x0bXMP DataXMP<x:xmpmeta>Alice</x:xmpmeta>\x01" + bytes(range(255, -1, -1)) + b"\0"
    return out.getvalue()[:-1] + xmp + b"\x3b behind it"


def test_comments_and_xmp_of_a_gif_go() -> None:
    data = animation()
    lean = without_metadata(data)
    assert lean is not None
    assert PLACE not in lean
    assert b"Alice" not in lean
    assert lean.endswith(b"\x3b")
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(lean))
    assert (after.n_frames, after.info["loop"], after.info["duration"]) == (2, 3, 50)  # type: ignore[attr-defined]  # of GIF only
    for number in (0, 1):
        before.seek(number)
        after.seek(number)
        assert after.convert("RGB").tobytes() == before.convert("RGB").tobytes()
    assert without_metadata(lean) is None
    for cut in range(len(lean)):
        without_metadata(data[:cut])


@given(st.sampled_from(FORMATS), st.integers(0, 2_000), st.binary(max_size=8))
def test_anything_is_taken(format_: str, at: int, noise: bytes) -> None:
    data = photo(format_)
    without_metadata(data[:at] + noise + data[at + len(noise) :])
    without_metadata(data[:at])
    without_metadata(data[:4] + noise)


def test_lengths_that_lie_take_no_time() -> None:
    assert without_metadata(b"\xff\xd8\xff\xe1" + struct.pack(">H", 0)) is None
    assert without_metadata(b"\xff\xd8" + b"\xff" * 1_000_000) is None
    many = b"\xff\xd8" + b"\xff\xe0\x00\x04ab" * 100_000
    assert without_metadata(many) is None


def avif(turned: int = 6) -> bytes:
    if not features.check("avif"):
        assert not os.environ.get("CI"), "CI has a Pillow with AVIF"
        pytest.skip("this Pillow writes no AVIF")
    return photo("AVIF", turned)


def test_avif_keeps_its_picture_and_its_length() -> None:
    data = avif()
    assert PLACE in data
    lean = without_metadata(data)
    assert lean is not None
    assert len(lean) == len(data)
    assert PLACE not in lean
    assert b"Alice" not in lean
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(lean))
    assert after.convert("RGB").tobytes() == before.convert("RGB").tobytes()
    assert after.size == before.size
    assert after.info["icc_profile"] == b"a profile" * 20
    assert without_metadata(lean) is None


@pytest.mark.parametrize("name", ["heic-phone.heic", "avif-animated-alpha.avif"])
def test_real_boxed_pictures_look_the_same(name: str) -> None:
    if not features.check("avif"):
        assert not os.environ.get("CI"), "CI has a Pillow with AVIF"
        pytest.skip("this Pillow reads no AVIF")
    pillow_heif.register_heif_opener()
    data = next(file.data for file in media_files() if file.name == name)
    lean = without_metadata(data)
    assert lean is None or len(lean) == len(data)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(lean or data))
    assert after.convert("RGBA").tobytes() == before.convert("RGBA").tobytes()
    assert not (set(after.getexif()) - {0x0112})
    assert b"Exif\0\0MM" not in (lean or data)


def ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        assert not os.environ.get("CI"), "CI has ffmpeg"
        pytest.skip("no ffmpeg")
    return program


def frames(file: Path) -> bytes:
    """What is seen and heard, and when."""
    command = [ffmpeg(), "-v", "error", "-i", str(file), "-f", "framemd5", "-"]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "mpeg4"), ("mov", "mpeg4"), ("mkv", "mpeg4"), ("webm", "libvpx")]
)
def test_films_lose_place_time_and_title(tmp_path: Path, suffix: str, codec: str) -> None:
    program = ffmpeg()
    file = tmp_path / f"film.{suffix}"
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", "-c:v", codec]
    tags = ["title=Alice", "location=+50.4501+030.5234/", "creation_time=2024-05-06T07:08:09Z"]
    told = [part for tag in tags for part in ("-metadata", tag)]
    subprocess.run([program, "-v", "error", *source, *told, str(file)], check=True, timeout=60)
    data = file.read_bytes()
    assert b"Alice" in data
    lean = without_metadata(data)
    assert lean is not None
    assert len(lean) == len(data)
    assert b"Alice" not in lean
    assert b"+50.4501" not in lean
    assert without_metadata(lean) is None
    other = tmp_path / f"lean.{suffix}"
    other.write_bytes(lean)
    assert frames(file) == frames(other)
    seen = subprocess.run([program, "-i", str(other)], check=False, capture_output=True, timeout=60).stderr
    assert b"2024-05-06" not in seen


@pytest.mark.parametrize("name", ["video-vp8.webm", "voice-mediarecorder-no-duration.webm"])
def test_real_webm_plays_the_same(tmp_path: Path, name: str) -> None:
    """The second was recorded by a browser: nothing in it says how long it is."""
    file, other = tmp_path / name, tmp_path / f"lean-{name}"
    file.write_bytes(next(one.data for one in media_files() if one.name == name))
    lean = without_metadata(file.read_bytes())
    assert lean is not None  # the program that wrote it, at least
    assert len(lean) == file.stat().st_size
    other.write_bytes(lean)
    assert frames(file) == frames(other)
    assert b"Lavf" not in lean
    assert b"Chrome" not in lean


_HEADED = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff"
_INFO = b"\x15\x49\xa9\x66\x8a\x44\x61\x82ab\x4d\x80\x82cd"


def test_elements_are_made_void_in_their_place() -> None:
    tags = b"\x12\x54\xc3\x67"
    for size, length in ((b"\x83", 3), (b"\x40\x7f", 127), (b"\x41\x00", 256)):
        lean = without_metadata(_HEADED + _INFO + tags + size + b"A" * length + b"\xec\x81z")
        whole = len(tags) + len(size) + length
        void = b"\xec" + (bytes((0x80 | whole - 2,)) if whole < 129 else b"\x01" + (whole - 9).to_bytes(7, "big"))
        expected = _INFO.replace(b"\x44\x61\x82ab", b"\xec\x83\0\0\0").replace(b"cd", b"\0\0")
        assert lean == _HEADED + expected + void.ljust(whole, b"\0") + b"\xec\x81z"


@given(at=st.integers(0, 60), noise=st.binary(min_size=1, max_size=12))
def test_elements_that_lie_take_no_time(at: int, noise: bytes) -> None:
    data = bytearray((_HEADED + _INFO) * 3)
    data[at : at + len(noise)] = noise
    lean = without_metadata(bytes(data))
    assert lean is None or len(lean) == len(data)


@given(at=st.integers(0, 400), noise=st.binary(min_size=1, max_size=12))
def test_boxes_that_lie_take_no_time(at: int, noise: bytes) -> None:
    data = bytearray(_BOXED)
    data[at : at + len(noise)] = noise
    lean = without_metadata(bytes(data))
    assert lean is None or len(lean) == len(data)


async def test_uploads_are_stripped_by_setting(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(environment={"HROMADA_MEDIA_STRIP_METADATA": "true"})
    user = await Client(http, server.url).register("photographer")
    for format_ in FORMATS:
        data = photo(format_)
        answer = await download(user, await upload(user, data, f"image/{format_.lower()}"))
        assert answer.raw == without_metadata(data)
        assert int(answer.headers["Content-Length"]) == len(answer.raw)
    for other in (b"\xff\xd8\xff no picture", b"text " + PLACE):
        assert (await download(user, await upload(user, other))).raw == other
    left = list((server.data_dir / "media" / "incoming").rglob("*"))
    assert [path.name for path in left if path.is_file()] == ["lock"]
