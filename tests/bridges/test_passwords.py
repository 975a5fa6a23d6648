"""Passwords as sites store them: hashes that the original software made, and what it said of each password."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridges.users import libcrypt
from bridges.users.formats import FORMATS, BadHash, verify
from bridges.users.schemes import SCHEMES, UnknownHash, check

VECTORS = Path(__file__).parents[1] / "vectors" / "bridges" / "passwords.json"
SOFTWARE = {"wordpress-login": ["wordpress"], "phpbb-login": ["phpbb"], "symfony": ["symfony"]}
"""Vectors of whole logins, which depend on what the software makes of what is typed; others are of bare hashes."""
PLUMP = "$2y$10$Ukw54.MjAPgG8gitKKu3guhbKr3hvDKNaYsiK50xspQ7kHhJouG7e"


def _vectors(everything: bool) -> Iterator[dict[str, Any]]:
    """All, or of each scheme the last good and the last bad one: the first have the highest costs."""
    cases = json.loads(VECTORS.read_text())
    if everything:
        return iter(cases)
    return iter({(case["scheme"], case["made_by"], case["valid"]): case for case in cases}.values())


def _judge(case: dict[str, Any]) -> bool:
    name, stored, password = case["scheme"], case["hash"], case["password"]
    schemes = next((schemes for prefix, schemes in SOFTWARE.items() if name.startswith(prefix)), None)
    if schemes is not None:
        return check(schemes, stored, password)
    formats = [format_ for format_ in FORMATS.values() if format_.look.fullmatch(stored)]
    if name == "django-unusable":
        assert not formats
        return False
    assert len(formats) == 1, f"{name}: {stored} looks like {formats}"
    return verify(formats[0], stored, password.encode())


def test_vectors(pytestconfig: pytest.Config) -> None:
    cases = list(_vectors(pytestconfig.getoption("--all-passwords")))
    assert len({case["scheme"] for case in cases}) == 74
    wrong = []
    for case in cases:
        if case["scheme"] == "wordpress-login" and case["note"] == "backslashes before the quotes":
            continue  # we try what is typed too, for passwords that no form has set: this one is right without a form
        if case["hash"].startswith(("$y$", "$gy$", "$7$")) and not libcrypt.is_there():
            continue
        if _judge(case) is not case["valid"]:
            wrong.append((case["scheme"], case["note"], case["valid"]))
    assert wrong == []


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_schemes_name_formats_that_there_are(scheme: str) -> None:
    assert SCHEMES[scheme].formats
    assert set(SCHEMES[scheme].formats) <= set(FORMATS)


def test_only_schemes_that_were_asked_for() -> None:
    md5 = "9cc2ae8a1ba7a93da39b46fc1019c481"
    for schemes in (["wordpress"], ["bcrypt", "argon2"], ["sha1"]):
        with pytest.raises(UnknownHash):
            check(schemes, md5, "correct horse battery staple")
    assert check(["wordpress", "md5"], md5, "correct horse battery staple")
    assert not check(["wordpress", "md5"], md5, "Correct horse battery staple")
    with pytest.raises(UnknownHash):
        check(["argon2"], PLUMP, "x")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "!",
        "*0",
        "$2y$31$Ukw54.MjAPgG8gitKKu3guhbKr3hvDKNaYsiK50xspQ7kHhJouG7e",
        "$2y$00$Ukw54.MjAPgG8gitKKu3guhbKr3hvDKNaYsiK50xspQ7kHhJouG7e",
        "$argon2id$v=19$m=99999999,t=4,p=1$bnZrNFgxUkpqYWZjNGFWcw$NgI4Ql4qMLgZ6Y4pwXCy8WnjFU2jncGCRANGWr2e3b4",
        "$argon2id$v=19$m=65536,t=4294967295,p=1$bnZrNFgxUkpqYWZjNGFWcw$NgI4Ql4qMLgZ6Y4pwXCy8WnjFU2jncGCRANGWr2e3b4",
        "$argon2id$v=19$m=8,m=8,p=1$bnZrNFgxUkpqYWZjNGFWcw$NgI4Ql4qMLgZ6Y4pwXCy8WnjFU2jncGCRANGWr2e3b4",
        "pbkdf2_sha256$999999999999999$salt$nyC0524323KO9etSMmm2UGtAsLNPUvM6Yk7UmNeBr3s=",
        "pbkdf2_sha256$0$salt$nyC0524323KO9etSMmm2UGtAsLNPUvM6Yk7UmNeBr3s=",
        "pbkdf2_sha256$1000$salt$a=",
        "scrypt$1073741824$salt$8$5$5QziN2sjbSb9r/q5Butf6Q==",
        "scrypt:32768:8:99999999$salt$4c71",
        "scrypt:3:8:1$salt$4c71",
        "{scrypt@SpringSecurity_v5_8}$ffffffff$kDPqwgBNcP5oC3Wchl/AMg==$tqMlg/JE/xzQhrJUTND+uw==",
        "$6$rounds=999999999$se.FqWRo$T6rNqRbF7rlIriUumNiDeIMpBWllcQUN0U7XfSh0DpcK3.nb2WD7pQ8Y1JUl/",
        "$S$zpU8LM2oly1LpNisuui1cZDWhUsISyZpoeyJAMdBMjQRUnEfPmLT",
        "$P$/8awZnOMMJoL2t4bZZjNFDouGAHpEd1",
        "{SSHA}AAAA",
        "{SSHA}A",
        "$2y$10$" + "é" * 53,
        "$y$" + "z" * 60,
        "x" * 100_000,
        PLUMP + "\n",
    ],
)
def test_what_is_stored_wrongly_is_refused_at_once(stored: str) -> None:
    began = time.process_time()
    with pytest.raises(BadHash):
        check([name for name in SCHEMES if name not in ("md5", "sha1")], stored, "password")
    assert time.process_time() - began < 0.5


def test_odd_passwords_are_wrong_and_no_error() -> None:
    for password in ("", "\0", "a\0b", "\ud800", "x" * 100_000, "\U0001f600" * 100):
        assert not check(["bcrypt"], PLUMP, password)
        assert not check(["ldap"], "{SSHA}CuL92cxlbqDlACgGMmUKJAE07ewRghDi", password)
        assert not check(["wordpress"], "$P$B8awZnOMMJoL2t4bZZjNFDouGAHpEd1", password)
