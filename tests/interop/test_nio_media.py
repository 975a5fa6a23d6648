"""matrix-nio sends files, reads them and asks for thumbnails."""

from __future__ import annotations

import io

import nio  # type: ignore[import-untyped]

from tests.interop.test_nio import good, pair
from tests.support.media import media_file, picture

__all__ = ["pair"]


async def test_files(pair: tuple[nio.AsyncClient, nio.AsyncClient]) -> None:
    alice, bob = pair
    photo = media_file("jpeg-portrait-exif6.jpg").data
    sent, _ = await alice.upload(io.BytesIO(photo), "image/jpeg", "photo.jpg", filesize=len(photo))
    uri = good(sent).content_uri
    assert good(await alice.content_repository_config()).upload_size == 52_428_800
    read = good(await bob.download(uri))
    assert (read.body, read.content_type, read.filename) == (photo, "image/jpeg", "photo.jpg")
    origin, media_id = uri.removeprefix("mxc://").split("/")
    small = good(await bob.thumbnail(origin, media_id, 320, 240))
    assert picture(small.body).size == (160, 240)


async def test_encrypted_file(pair: tuple[nio.AsyncClient, nio.AsyncClient]) -> None:
    alice, bob = pair
    secret = b"what nobody but bob may read " * 10_000
    sent, keys = await alice.upload(io.BytesIO(secret), "application/pdf", "s.pdf", encrypt=True, filesize=len(secret))
    read = good(await bob.download(good(sent).content_uri))
    assert read.body != secret
    assert b"nobody but bob" not in read.body
    plain = nio.crypto.attachments.decrypt_attachment(read.body, keys["key"]["k"], keys["hashes"]["sha256"], keys["iv"])
    assert plain == secret
