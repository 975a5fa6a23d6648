"""Metadata of files that are made of boxes (ISO base media: HEIC, AVIF, MP4, MOV), blanked where it lies.

Nothing is moved, since such files are full of offsets into themselves: what says where, when, with what and by whom
is overwritten with zeros, and a box of such things becomes one that readers skip. How a picture is turned stays: HEIF
has a property for it, and a video the matrix of its track.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"moof", b"traf"))
_BLANKED = frozenset((b"udta", b"meta", b"uuid", b"XMP_"))
"""In films. The last holds XMP where programs of one house write it."""
_TIMED = frozenset((b"mvhd", b"tkhd", b"mdhd"))
_PICTURES = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"))
_NO_EXIF = bytes(4) + b"II*\0\x08\0\0\0" + bytes(6)  # decoders refuse a picture with zeros here
_MOST_BOXES = 20_000
_DEEPEST = 8

_Box = tuple[bytes, int, int, int]  # type, where it begins, where its content begins, where it ends


def is_boxed(data: bytes) -> bool:
    """Whether the file begins as these do."""
    return data[4:8] == b"ftyp"


def blanked(data: bytes) -> bytes:
    """The file with its metadata blanked, of the same length. Raises ValueError, struct.error: it cannot be read."""
    out = bytearray(data)
    brands = next(_boxes(data, 0, len(data)))
    start, end = brands[2], brands[3]
    is_picture = any(data[at : at + 4] in _PICTURES for at in range(start, end, 4))
    _blank(data, out, 0, len(data), 0, is_picture=is_picture)
    return bytes(out)


def _blank(data: bytes, out: bytearray, start: int, end: int, depth: int, *, is_picture: bool) -> None:
    if depth > _DEEPEST:
        raise ValueError("too deep")
    for kind, begin, content, stop in _boxes(data, start, end):
        if kind == b"meta" and is_picture and depth == 0:
            for first, last, empty in _items(data, content, stop):
                out[first:last] = empty.ljust(last - first, b"\0")[: last - first]
        elif kind in _BLANKED:
            out[begin + 4 : begin + 8] = b"free"
            out[content:stop] = bytes(stop - content)
        elif kind in _CONTAINERS:
            _blank(data, out, content, stop, depth + 1, is_picture=is_picture)
        elif kind in _TIMED:  # when it was made and changed, in 32 or 64 bits behind version and flags
            length = 16 if data[content] == 1 else 8
            out[content + 4 : min(content + 4 + length, stop)] = bytes(min(length, max(0, stop - content - 4)))


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        elif size == 0:
            size = end - start
        stop = start + size
        if stop < content or stop > end:
            raise ValueError("a box ends outside of what it lies in")
        yield kind, start, content, stop
        start = stop
    raise ValueError("too many boxes")


def _items(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Where the Exif and XMP of a picture lie, and how they begin when they say nothing."""
    found = {kind: (content, stop) for kind, _, content, stop in _boxes(data, start + 4, end)}
    if b"iinf" not in found or b"iloc" not in found:
        return
    wanted = _wanted(data, *found[b"iinf"])
    idat = found.get(b"idat", (0, 0))
    for item, method, first, length in _extents(data, *found[b"iloc"]):
        if item not in wanted or method > 1:
            continue
        base, bound = idat if method == 1 else (0, len(data))
        begin = base + first
        last = begin + length if length else bound
        if last > bound:
            raise ValueError("an item ends outside of the file")
        yield begin, last, wanted[item]
        wanted[item] = b""  # of its further parts


def _wanted(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """The ids of items that are metadata, and how such an item begins when it says nothing."""
    wide = data[start] > 0
    found = {}
    for kind, _, content, stop in _boxes(data, start + (8 if wide else 6), end):
        if kind != b"infe" or data[content] < 2:
            continue
        at = content + 4
        (item,) = struct.unpack_from(">I" if data[content] > 2 else ">H", data, at)
        at += (4 if data[content] > 2 else 2) + 2
        type_, rest = data[at : at + 4], data[at + 4 : stop]
        if type_ in (b"Exif", b"uri ") or (type_ == b"mime" and b"rdf+xml" in rest):
            found[item] = _NO_EXIF if type_ == b"Exif" else b""
    return found


def _extents(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Item, how it is stored, and where each part of it lies."""
    version, sizes, more = data[start], data[start + 4], data[start + 5]
    widths = (sizes >> 4, sizes & 15, more >> 4, more & 15 if version in (1, 2) else 0)
    offset_width, length_width, base_width, index_width = widths
    if not set(widths) <= {0, 4, 8}:
        raise ValueError("no such width")
    at = start + 6

    def number(width: int) -> int:
        nonlocal at
        if at + width > end:
            raise ValueError("the list of places ends early")
        at += width
        return int.from_bytes(data[at - width : at], "big")

    left = _MOST_BOXES
    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)  # which file it is in: this one
        base = number(base_width)
        for _ in range(number(2)):
            left -= 1
            if left < 0:
                raise ValueError("too many parts")
            number(index_width)
            first = number(offset_width)
            yield item, method, base + first, number(length_width)
