"""Pictures without what cameras and programs write into them: where they were taken, when, with what, by whom.

Nothing is decoded, so nothing gets worse: JPEG, PNG, WebP and GIF are rewritten part by part. What a picture
needs to look as it does stays: its colour profile, and how it is to be turned. HEIC, AVIF and films: `boxes`,
`matroska`.
"""

from __future__ import annotations

import re
import struct
import zlib

from homeserver.services.media import matroska
from homeserver.services.media.boxes import blanked, is_boxed

MOST_BYTES = 64 * 1024 * 1024
"""Larger files are left as they are."""

_ORIENTATION = 0x0112
_JPEG_END = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_LEFT_OUT = frozenset((b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"))
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04
_GIF_APPLICATIONS = frozenset((b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"))  # how often it runs, and its colours


def without_metadata(data: bytes) -> bytes | None:
    """The same picture without its metadata; None if it has none, is of another kind, or cannot be read."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            lean = _jpeg(data)
        elif data.startswith(_PNG):
            lean = _png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            lean = _webp(data)
        elif data[:6] in (b"GIF87a", b"GIF89a"):
            lean = _gif(data)
        elif is_boxed(data):
            lean = blanked(data)
        elif matroska.is_matroska(data):
            lean = matroska.blanked(data)
        else:
            return None
    except (struct.error, IndexError, ValueError):
        return None  # no decoder reads it either
    return lean if lean != data else None


def _jpeg(data: bytes) -> bytes:
    kept, at, turned = [data[:2]], 2, 1
    while True:
        marker = data[at + 1]
        if data[at] != 0xFF:
            raise ValueError("no marker")
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == 0xD9:
            kept.append(b"\xff\xd9")
            break  # what comes behind is no part of the picture
        (length,) = struct.unpack_from(">H", data, at + 2)
        segment = data[at : at + 2 + length]
        if len(segment) < 4 or length < 2:
            raise ValueError("no segment")
        body = segment[4:]
        at += len(segment)
        if marker == 0xE1:
            turned = _orientation_in_app1(body, turned)
        elif _stays(marker, body):
            kept.append(segment)
        if marker == 0xDA:  # pixels, up to the next marker that is one
            end = _JPEG_END.search(data, at)
            if end is None:
                kept.append(data[at:])
                break
            kept.append(data[at : end.end() - 2])
            at = end.end() - 2
    if turned != 1:
        exif = b"Exif\0\0" + _exif(turned)
        kept.insert(1, b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
    return b"".join(kept)


def _orientation_in_app1(body: bytes, known: int) -> int:
    if body.startswith(b"Exif\0\0"):
        return _orientation(body[6:])
    return _orientation_in_xmp(body) if known == 1 else known


def _stays(marker: int, body: bytes) -> bool:
    if marker == 0xFE:  # a comment
        return False
    if 0xE0 <= marker <= 0xEF:
        return marker in (0xE0, 0xEE) or (marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"))
    return True


def _png(data: bytes) -> bytes:
    kept, at, turned = [_PNG], len(_PNG), 1
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        at += 12 + length
        if kind == b"eXIf":
            turned = _orientation(chunk[8:-4])
        elif kind == b"iTXt" and turned == 1:
            turned = _orientation_in_xmp(chunk)
        if kind not in _PNG_LEFT_OUT:
            kept.append(chunk)
        if kind == b"IEND":
            break
    if turned != 1 and len(kept) > 2:
        body = b"eXIf" + _exif(turned)
        kept.insert(2, struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
    return b"".join(kept)


def _webp(data: bytes) -> bytes:
    kept, at, turned = [], 12, 1
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        chunk = data[at : at + 8 + length + (length & 1)]
        at += 8 + length + (length & 1)
        if kind == b"EXIF":
            turned = _orientation(chunk[8:].removeprefix(b"Exif\0\0"))
        elif kind == b"XMP ":
            turned = _orientation_in_xmp(chunk) if turned == 1 else turned
        else:
            kept.append(chunk)
    if kept and kept[0][:4] == b"VP8X":
        flags = kept[0][8] & ~(_WEBP_EXIF | _WEBP_XMP)
        if turned != 1:
            exif = _exif(turned)
            kept.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
            flags |= _WEBP_EXIF
        kept[0] = kept[0][:8] + bytes((flags,)) + kept[0][9:]
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _gif(data: bytes) -> bytes:
    """Without comments, and what programs put into it, XMP among that."""
    at = 13 + _gif_colours(data[10])
    kept = [data[:at]]
    while data[at] != 0x3B:
        begin, kind = at, data[at]
        if kind == 0x21:
            label, head = data[at + 1], data[at + 3 : at + 14]
            at += 2
            stays = label != 0xFE and (label != 0xFF or head in _GIF_APPLICATIONS)
        elif kind == 0x2C:
            at += 11 + _gif_colours(data[at + 9])
            stays = True
        else:
            raise ValueError("no block")
        while data[at]:
            at += 1 + data[at]
        at += 1
        if stays:
            kept.append(data[begin:at])
    return b"".join((*kept, b"\x3b"))


def _gif_colours(flags: int) -> int:
    """The length of a table of colours."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _orientation(exif: bytes) -> int:
    """How the picture is to be turned, by the first directory of its Exif; 1 if it does not say."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for number in range(min(count, 500)):
            tag, kind, amount, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * number)
            if (tag, kind, amount) == (_ORIENTATION, 3, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _orientation_in_xmp(xmp: bytes) -> int:
    """The same, by what XMP says; some programs follow that."""
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else 1


def _exif(turned: int) -> bytes:
    """An Exif that says nothing but how to turn the picture; of an even length."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _ORIENTATION, 3, 1, turned, 0, 0)
