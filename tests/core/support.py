"""What several tests of the core share: JSON strategies, the key of the specification's vectors, all versions."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from homeserver.core.build import Signer
from homeserver.core.canonical import MAX_INTEGER
from homeserver.core.signatures import SigningKey, decode_base64
from homeserver.core.versions import ROOM_VERSIONS

VERSIONS = list(ROOM_VERSIONS.values())

# spec: appendices#signing-key
KEY = SigningKey("ed25519:1", decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"))
SERVER = "domain"
SIGNER = Signer(SERVER, KEY)

text = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-MAX_INTEGER, MAX_INTEGER)
json_values = st.recursive(
    st.none() | st.booleans() | integers | text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
    max_leaves=25,
)


def nested(depth: int) -> Any:
    """Lists within lists, `depth` of them."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value
