"""WebM and Matroska without tags, title and date: overwritten in their place by elements that mean nothing.

Films are full of positions in themselves, so nothing may move. How elements are written: RFC 8794 (EBML), which they
are: RFC 9559 (Matroska).
"""

from __future__ import annotations

from collections.abc import Iterator

_HEAD = b"\x1a\x45\xdf\xa3"
_VOID = 0xEC
_CRC = 0xBF  # of what it stands in, which is changed
_SEGMENT, _CLUSTER, _INFO, _TAGS = 0x18538067, 0x1F43B675, 0x1549A966, 0x1254C367
_TEXTS = frozenset((0x4461, 0x7BA9, 0x7384, 0x3C83AB, 0x3E83BB))  # date, title, names of this file and its neighbours
_PROGRAMS = frozenset((0x4D80, 0x5741))  # which must be there, if only as empty strings
_MOST_ELEMENTS = 300_000


def is_matroska(data: bytes) -> bool:
    """Whether it begins as such a file does."""
    return data.startswith(_HEAD)


def blanked(data: bytes) -> bytes:
    """The same with what it tells about itself made void; as long as before. Raises ValueError, IndexError."""
    lean = bytearray(data)
    for element, start, content, end in _elements(data, 0, len(data)):
        if element in (_TAGS, _CRC):
            _make_void(lean, start, end)
        elif element == _INFO:
            for inner, begin, at, stop in _elements(data, content, end):
                if inner in _TEXTS or inner == _CRC:
                    _make_void(lean, begin, stop)
                elif inner in _PROGRAMS:
                    lean[at:stop] = bytes(stop - at)
    return bytes(lean)


def _elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Id, start, content and end of elements one after the other; of segments, and what has no length, those inside."""
    for _ in range(_MOST_ELEMENTS):
        if at >= end:
            return
        start = at
        id_width = _width(data[at])
        if id_width > 4:
            raise ValueError("no such id")
        element = int.from_bytes(data[at : at + id_width], "big")
        at += id_width
        width = _width(data[at])
        bits = (1 << 7 * width) - 1
        size = int.from_bytes(data[at : at + width], "big") & bits
        at += width
        if size == bits and element not in (_SEGMENT, _CLUSTER):
            raise ValueError("an element without a length")
        if element == _SEGMENT or size == bits:
            continue
        if at + size > end:
            raise ValueError("an element ends after the file")
        yield element, start, at, at + size
        at += size
    if at < end:
        raise ValueError("too many elements")


def _width(first: int) -> int:
    if not first:
        raise ValueError("no such width")
    return 9 - first.bit_length()


def _make_void(lean: bytearray, start: int, end: int) -> None:
    length = end - start
    if length < 129:
        head = bytes((_VOID, 0x80 | length - 2))
    else:
        head = bytes((_VOID, 1)) + (length - 9).to_bytes(7, "big")
    lean[start:end] = head + bytes(length - len(head))
