"""The key file, and tokens as they are on the wire."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from homeserver.services.accounts.tokens import (
    AccessToken,
    AccessTokens,
    BadKeyFile,
    BadToken,
    dump_keys,
    load_keys,
    new_key,
)
from tests.support.accounts import TestEntropy

ENTROPY = TestEntropy()
TOKEN = AccessToken("@alice:hs", "PHONE", "sid", 3, 1_700_000_900_000)


def test_keys_survive_their_file() -> None:
    keys = [new_key(ENTROPY), new_key(ENTROPY)]
    loaded = load_keys(dump_keys(keys))
    assert [key.kid for key in loaded] == [key.kid for key in keys]
    text = AccessTokens(keys, "hs", ENTROPY).sign(TOKEN, 1_700_000_000_000)
    assert AccessTokens(loaded, "hs", ENTROPY).verify(text) == TOKEN


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"5", b'[{"kid":"a"}]', b'[{"kid":"a","key":"AAAA"}]', b"\xff"])
def test_damaged_key_files(data: bytes) -> None:
    with pytest.raises(BadKeyFile):
        load_keys(data)


def test_two_keys_of_one_name_are_refused() -> None:
    key = new_key(ENTROPY)
    with pytest.raises(BadKeyFile):
        load_keys(dump_keys([key, key]))


def test_claims() -> None:
    tokens = AccessTokens([new_key(ENTROPY)], "hs", ENTROPY)
    claims = jwt.decode(tokens.sign(TOKEN, 1_700_000_000_000), options={"verify_signature": False})
    assert claims.pop("jti")
    assert claims == {
        "iss": "hs", "aud": "hs", "sub": "@alice:hs", "did": "PHONE", "sid": "sid",
        "iat": 1_700_000_000, "exp": 1_700_000_900, "gen": 3,
    }  # fmt: skip
    lasting = AccessToken("@alice:hs", "PHONE", "sid", 0, None)
    text = tokens.sign(lasting, 1_700_000_000_000)
    assert "exp" not in jwt.decode(text, options={"verify_signature": False})
    assert tokens.verify(text) == lasting


def test_other_tokens_of_the_same_key_are_not_access_tokens() -> None:
    key = new_key(ENTROPY)
    tokens = AccessTokens([key], "hs", ENTROPY)
    claims = jwt.decode(tokens.sign(TOKEN, 0), options={"verify_signature": False})
    cases: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"iss": "other"}, {}),
        ({"aud": "other"}, {}),
        ({"sid": None}, {}),
        ({}, {"typ": "JWT"}),
        ({}, {"kid": "other"}),
    ]
    for change, header in cases:
        changed = {name: value for name, value in {**claims, **change}.items() if value is not None}
        text = jwt.encode(changed, key.key, algorithm="EdDSA", headers={"kid": key.kid, "typ": "at+jwt", **header})
        with pytest.raises(BadToken):
            tokens.verify(text)
