"""Events as they lie in the database: canonical JSON, packed with a dictionary where that makes it shorter.

The first byte says which: `{` is plain JSON. Else its low half is the number of the dictionary that the rest was packed
with (`dictionaries.py`), and its high half how the frame begins: whether it says how long the text is. So all of them
can be read in any row, and a new dictionary needs no migration.
"""

from __future__ import annotations

import threading

import zstandard

from homeserver.core.canonical import trimmed
from homeserver.core.content import MAX_EVENT_BYTES
from homeserver.storage.dictionaries import DICTIONARIES

_NEWEST = max(DICTIONARIES)
_PLAIN = ord("{")
# How each frame begins, so it is not stored: the format's mark and its descriptor, which is a length of one or two
# bytes and no checksum (RFC 8878, 3.1.1.1). So nothing that is stored can announce more than 64 KiB and have that much
# memory set aside.
_MARK = b"\x28\xb5\x2f\xfd"
_DESCRIPTORS = (0x20, 0x40, 0x60)
# Frames without a length were written before those with one: their window, of 64 KiB, is left out as well.
_UNSIZED = _MARK + b"\x00\x30"
# Nearly all events take no more than this many times their packed size, and this many bytes.
_USUAL_RATIO = 8
_USUAL_REST = 1024


class PackingError(ValueError):
    """A stored event cannot be read: it is damaged, or a newer release has written it."""


class _Contexts(threading.local):
    """What zstd needs to work, made once for each thread: about 0.3 MB, which two threads must not share."""

    def __init__(self) -> None:
        """Called by each thread at its first use."""
        # A strategy and tables for texts of a few hundred bytes: larger tables take longer to clear than to fill.
        parameters = zstandard.ZstdCompressionParameters(
            strategy=zstandard.STRATEGY_DFAST,
            window_log=13,
            hash_log=12,
            chain_log=12,
            min_match=4,
            write_content_size=True,
            write_checksum=False,
            write_dict_id=False,
        )
        dictionaries = {number: zstandard.ZstdCompressionDict(data) for number, data in DICTIONARIES.items()}
        dictionaries[_NEWEST].precompute_compress(compression_params=parameters)
        self.compress = zstandard.ZstdCompressor(
            dict_data=dictionaries[_NEWEST], compression_params=parameters
        ).compress
        self.decompress = {
            number: zstandard.ZstdDecompressor(dict_data=dictionary).decompress
            for number, dictionary in dictionaries.items()
        }
        self.sized = {
            descriptor | number: (_MARK + bytes((descriptor,)), decompress)
            for number, decompress in self.decompress.items()
            for descriptor in _DESCRIPTORS
        }
        """By the first byte: what the frame begins with, and what unpacks it."""


_contexts = _Contexts()


def pack(json: bytes) -> bytes:
    """The form in which an event's canonical `json` is stored: `json` itself unless packing makes it shorter."""
    if len(json) > MAX_EVENT_BYTES:
        return json
    frame = _contexts.compress(json)
    descriptor = frame[len(_MARK)]
    if descriptor not in _DESCRIPTORS:  # another release of zstd might write it in another way
        return json
    packed = bytes((descriptor | _NEWEST,)) + frame[len(_MARK) + 1 :]
    return packed if len(packed) < len(json) else json


def unpack(stored: bytes) -> bytes:
    """The canonical JSON that `pack` was given.

    Raises PackingError for what `pack` cannot have made.
    """
    number = stored[0] if stored else None
    if number == _PLAIN:
        return stored
    sized = _contexts.sized.get(number) if number is not None else None
    if sized is not None:
        head, decompress = sized
        try:
            json = decompress(head + stored[1:])
        except zstandard.ZstdError as error:
            raise PackingError(f"A stored event is damaged: {error}") from error
        if len(json) > MAX_EVENT_BYTES:
            raise PackingError("A stored event is damaged: it is larger than events are")
        return json
    return _unpack_unsized(stored, number)


def _unpack_unsized(stored: bytes, number: int | None) -> bytes:
    decompress = _contexts.decompress.get(number) if number is not None else None
    if decompress is None:
        raise PackingError(f"A stored event begins with byte {number}, which stands for no dictionary of this release")
    frame = _UNSIZED + stored[1:]
    # What comes back is the beginning of a piece of memory of the size named. Room for the largest event would each
    # time leave a hole of nearly that size, which the next one does not fit in.
    room = len(stored) * _USUAL_RATIO + _USUAL_REST
    try:
        return trimmed(decompress(frame, max_output_size=min(room, MAX_EVENT_BYTES)))
    except zstandard.ZstdError:
        pass  # it takes more room, or is damaged
    try:
        return trimmed(decompress(frame, max_output_size=MAX_EVENT_BYTES))
    except zstandard.ZstdError as error:
        raise PackingError(f"A stored event is damaged: {error}") from error
