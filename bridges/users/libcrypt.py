"""crypt(3) of the system's libcrypt: yescrypt, gost-yescrypt and scrypt, which no library from PyPI makes.

Python's own module for it ends with 3.12. Another thread may run meanwhile: the call lets go of the interpreter.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from functools import lru_cache
from typing import Any

_SIZE_OF_CRYPT_DATA = 32_768


class NoLibcrypt(ValueError):
    """There is no libcrypt with crypt_rn (libxcrypt 4) on this machine."""


@lru_cache(maxsize=1)
def _crypt_rn() -> Any:
    try:
        function = ctypes.CDLL(find_library("crypt") or "libcrypt.so.1").crypt_rn
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
    function.restype = ctypes.c_char_p
    return function


def is_there() -> bool:
    """Whether hashes of these kinds can be checked on this machine."""
    return _crypt_rn() is not None


def crypt(password: bytes, setting: str) -> str:
    """The hash for a setting (or another hash). Raises NoLibcrypt, ValueError for what it does not understand."""
    function = _crypt_rn()
    if function is None:
        raise NoLibcrypt("hashes of this kind need libcrypt (libxcrypt 4) on this machine")
    data = ctypes.create_string_buffer(_SIZE_OF_CRYPT_DATA)
    made = function(password, setting.encode("ascii"), data, _SIZE_OF_CRYPT_DATA)
    if made is None or made.startswith(b"*"):
        raise ValueError("libcrypt does not understand the hash")
    return bytes(made).decode("ascii")
