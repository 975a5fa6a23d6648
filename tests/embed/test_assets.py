"""What is served of a build: names, encodings, caching, and nothing beside the manifest."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from embed.assets import Assets
from embed.pages import client_policy
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.response import Response

SCRIPT = "boot.ABCDEFGH.js"
TEXT = b"export const answer = 42;\n"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A small build with one script."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / SCRIPT).write_bytes(TEXT)
    (assets / f"{SCRIPT}.gz").write_bytes(gzip.compress(TEXT))
    (assets / f"{SCRIPT}.br").write_bytes(b"br")
    (assets / "unlisted.js").write_text("secret")
    (assets / "logo.svg").write_text("<svg/>")
    write_manifest(tmp_path, "1")
    return tmp_path


def write_manifest(folder: Path, build: str) -> None:
    """The manifest of the build."""
    script = {"type": "text/javascript", "size": len(TEXT), "encodings": ["br", "gz"]}
    logo = {"type": "image/svg+xml", "size": 6, "encodings": []}
    manifest = {
        "build": build,
        "entries": {"boot": SCRIPT},
        "preload": [],
        "assets": {SCRIPT: script, "logo.svg": logo},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


async def body(response: Response) -> bytes:
    """The whole body."""
    return response.body if isinstance(response.body, bytes) else b"".join([piece async for piece in response.body])


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("br, gzip", "br"),
        ("gzip;q=1.0, br;q=0.5", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.000, *;q=1", "gzip"),
        ("zstd", None),
        ("identity", None),
        ("", None),
        ("*", "br"),
        ("br;q=nonsense", "br"),
        (", ,;;,gzip;", "gzip"),
    ],
)
async def test_the_smallest_accepted_encoding_is_sent(build: Path, accepted: str, encoding: str | None) -> None:
    response = Assets(build).respond(SCRIPT, {"accept-encoding": accepted})
    headers = dict(response.headers)
    assert headers.get("Content-Encoding") == encoding
    assert headers["Vary"] == "Accept-Encoding"
    assert (
        await body(response)
        == {"br": b"br", "gzip": (build / "assets" / f"{SCRIPT}.gz").read_bytes(), None: TEXT}[encoding]
    )


async def test_hashed_names_are_kept_for_ever_and_others_are_not(build: Path) -> None:
    assets = Assets(build)
    assert dict(assets.respond(SCRIPT, {}).headers)["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "immutable" not in dict(assets.respond("logo.svg", {}).headers)["Cache-Control"]


async def test_a_known_file_is_not_sent_again(build: Path) -> None:
    assets = Assets(build)
    tag = dict(assets.respond(SCRIPT, {"accept-encoding": "br"}).headers)["ETag"]
    for header in (tag, f"W/{tag}", f'"other", {tag}'):
        again = assets.respond(SCRIPT, {"accept-encoding": "br", "if-none-match": header})
        assert (again.status, await body(again)) == (304, b"")
    # Another encoding is another representation.
    assert assets.respond(SCRIPT, {"if-none-match": tag}).status == 200


@pytest.mark.parametrize(
    "name", ["unlisted.js", "../manifest.json", "..", "", "boot.ABCDEFGH.js.br", "%2e%2e", "a\x00b"]
)
def test_what_the_manifest_does_not_list_is_not_there(build: Path, name: str) -> None:
    with pytest.raises(MatrixError) as error:
        Assets(build).respond(name, {})
    assert error.value.code is ErrCode.NOT_FOUND


def test_without_a_build_there_is_nothing(tmp_path: Path) -> None:
    assets = Assets(tmp_path / "none")
    assert assets.manifest is None
    with pytest.raises(MatrixError):
        assets.respond(SCRIPT, {})


def test_a_new_build_is_seen_without_a_restart(build: Path) -> None:
    assets = Assets(build)
    write_manifest(build, "2")
    assert assets.manifest is not None
    assert assets.manifest.build == "2"


@pytest.mark.parametrize("host", ["x; script-src *", "a b", "x\r\nSet-Cookie: a", "", "x/y", "a" * 400])
def test_a_hostile_host_does_not_get_into_the_policy(host: str) -> None:
    assert client_policy(host) == client_policy("")


def test_the_policy_names_the_sockets_of_the_host() -> None:
    assert "connect-src 'self' wss://chat.example.org;" in client_policy("chat.example.org")
    assert "wss://localhost:8008 ws://localhost:8008;" in client_policy("localhost:8008")
    for part in ("script-src 'self' 'wasm-unsafe-eval'", "require-trusted-types-for 'script'", "default-src 'none'"):
        assert part in client_policy("chat.example.org")
    assert "unsafe-inline" not in client_policy("chat.example.org")
