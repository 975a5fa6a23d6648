"""How the software of sites stores passwords: each format is recognised by its look, and checked by its own rule.

All of it is for reading what others have stored; nothing here makes a hash that is kept. Costs stand in the hash, and
are bounded before any work is done. What is stored wrongly (a broken base64, a cost of a million) is BadHash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

import bcrypt
from argon2.exceptions import VerificationError
from argon2.low_level import Type, verify_secret
from passlib.hash import apr_md5_crypt, bcrypt_sha256, md5_crypt, sha256_crypt, sha512_crypt

from bridges.users.libcrypt import crypt
from bridges.users.phpass import DRUPAL_LENGTH, phpass

LONGEST_HASH = 1024
_MOST_BCRYPT = 16
_MOST_ROUNDS = 10_000_000
_MOST_ARGON2_KIB, _MOST_ARGON2_TIME, _MOST_ARGON2_LANES = 1_048_576, 64, 64
_MOST_SCRYPT_BYTES = 1 << 29
_BCRYPT_BYTES = 72


class BadHash(Exception):
    """What is stored is no hash of its format, or would cost too much."""


@dataclass(frozen=True, slots=True)
class Format:
    """One way to store a password."""

    name: str
    look: re.Pattern[str]
    verify: Callable[[re.Match[str], bytes], bool]
    is_weak: str = ""
    """The scheme that must be asked for by name besides (`md5`, `sha1`): guessing costs an attacker nothing here."""


def verify(format_: Format, stored: str, password: bytes) -> bool:
    """Whether `stored` is the hash of the password. Raises BadHash."""
    match = format_.look.fullmatch(stored)
    if match is None:
        raise BadHash(f"this is no hash of the format {format_.name}")
    try:
        return format_.verify(match, password)
    except (ValueError, OverflowError, MemoryError) as error:
        raise BadHash(f"{format_.name}: {error}") from None


def _bounded(text: str, most: int) -> int:
    """A cost out of a hash."""
    value = int(text[:12])
    if not 1 <= value <= most:
        raise ValueError("the cost is out of bounds")
    return value


def _same(one: bytes | str, other: bytes | str) -> bool:
    one, other = (part.encode() if isinstance(part, str) else part for part in (one, other))
    return hmac.compare_digest(one, other)


def _base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


# bcrypt, and what is made of it


def _bcrypt(password: bytes, stored: str) -> bool:
    _bounded(stored[4:6], _MOST_BCRYPT)
    # As PHP, crypt(3), Node and Ruby do: what follows a NUL or the 72nd byte does not count.
    return bcrypt.checkpw(password.partition(b"\0")[0][:_BCRYPT_BYTES], stored.encode("ascii"))


def _wordpress(match: re.Match[str], password: bytes) -> bool:
    digest = hmac.digest(b"wp-sha384", password, "sha384")
    return _bcrypt(base64.b64encode(digest), match[1])


def _django_bcrypt_sha256(match: re.Match[str], password: bytes) -> bool:
    return _bcrypt(hashlib.sha256(password).hexdigest().encode(), match[1])


def _mediawiki_bcrypt(match: re.Match[str], password: bytes) -> bool:
    return _bcrypt(password, f"$2y${int(match[1]):02d}${match[2]}{match[3]}")


def _phpbb_combined(match: re.Match[str], password: bytes) -> bool:
    inner = phpass(f"$H${match[1]}", password)[12:]  # without its setting
    return _bcrypt(inner.encode(), f"$2y${match[2]}${match[3]}{match[4]}")


def _passlib_bcrypt(match: re.Match[str], password: bytes) -> bool:
    _bounded(match[1], _MOST_BCRYPT)
    return bool(bcrypt_sha256.verify(password, match[0]))


# Argon2, scrypt, PBKDF2

_ARGON2_TYPES = {"id": Type.ID, "i": Type.I, "d": Type.D}


def _argon2(match: re.Match[str], password: bytes) -> bool:
    type_, version, parameters, rest = match["type"], match["version"] or "", match["parameters"], match["rest"]
    values = dict(part.split("=") for part in parameters.split(","))
    if sorted(values) != ["m", "p", "t"]:
        raise ValueError("its parameters are not m, t and p")
    _bounded(values["m"], _MOST_ARGON2_KIB)
    _bounded(values["t"], _MOST_ARGON2_TIME)
    _bounded(values["p"], _MOST_ARGON2_LANES)
    # Node writes the parameters in an order that no other library reads.
    ordered = f"m={values['m']},t={values['t']},p={values['p']}"
    try:
        return verify_secret(
            f"$argon2{type_}${version}{ordered}${rest}".encode("ascii"), password, _ARGON2_TYPES[type_]
        )
    except VerificationError:
        return False


def _scrypt(password: bytes, salt: bytes, cost: tuple[int, int, int], wanted: bytes) -> bool:
    n, r, p = cost
    memory = 128 * r * (n + p + 2)
    if memory > _MOST_SCRYPT_BYTES or p > 64:
        raise ValueError("the cost is out of bounds")
    made = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory + 1024, dklen=len(wanted))
    return _same(made, wanted)


def _scrypt_texts(match: re.Match[str], password: bytes) -> bool:
    """Django's and Werkzeug's: the salt is text, the hash base64 or hexadecimal."""
    cost = tuple(_bounded(match[name], 1 << 24) for name in "nrp")
    wanted = _base64(match["b64"]) if "b64" in match.re.groupindex else bytes.fromhex(match["hex"])
    return _scrypt(password, match["salt"].encode(), (cost[0], cost[1], cost[2]), wanted)


def _spring_scrypt(match: re.Match[str], password: bytes) -> bool:
    cost = int(match[1], 16)
    return _scrypt(password, _base64(match[2]), (1 << (cost >> 16), cost >> 8 & 255, cost & 255), _base64(match[3]))


def _pbkdf2(name: str, password: bytes, salt: bytes, rounds: int, wanted: bytes) -> bool:
    if not 1 <= rounds <= _MOST_ROUNDS or not wanted:
        raise ValueError("the cost is out of bounds")
    return _same(hashlib.pbkdf2_hmac(name, password, salt, rounds, len(wanted)), wanted)


def _pbkdf2_django(match: re.Match[str], password: bytes) -> bool:
    return _pbkdf2(match[1], password, match[3].encode(), _bounded(match[2], _MOST_ROUNDS), _base64(match[4]))


def _pbkdf2_werkzeug(match: re.Match[str], password: bytes) -> bool:
    return _pbkdf2(match[1], password, match[3].encode(), _bounded(match[2], _MOST_ROUNDS), bytes.fromhex(match[4]))


def _pbkdf2_passlib(match: re.Match[str], password: bytes) -> bool:
    salt, wanted = (_base64(match[group].replace(".", "+")) for group in (3, 4))
    return _pbkdf2(match[1] or "sha1", password, salt, _bounded(match[2], _MOST_ROUNDS), wanted)


def _pbkdf2_mediawiki(match: re.Match[str], password: bytes) -> bool:
    return _pbkdf2(match[1], password, _base64(match[3]), _bounded(match[2], _MOST_ROUNDS), _base64(match[4]))


def _pbkdf2_legacy(match: re.Match[str], password: bytes) -> bool:
    inner = _salted_md5(match[3], password).encode()
    return _pbkdf2(match[1], inner, _base64(match[4]), _bounded(match[2], _MOST_ROUNDS), _base64(match[5]))


def _pbkdf2_spring(match: re.Match[str], password: bytes) -> bool:
    data = bytes.fromhex(match[2])
    return (
        _pbkdf2("sha256", password, data[:16], 310_000, data[16:])
        if match[1]
        else _pbkdf2("sha1", password, data[:8], 185_000, data[8:])
    )


# crypt(3) and its relatives


def _sha_crypt(match: re.Match[str], password: bytes) -> bool:
    if match["rounds"]:
        _bounded(match["rounds"], 1_000_000)
    scheme = sha256_crypt if match["kind"] == "5" else sha512_crypt
    return bool(scheme.verify(password.partition(b"\0")[0], match["crypt"]))


def _md5_crypt(match: re.Match[str], password: bytes) -> bool:
    scheme = md5_crypt if match["kind"] == "1" else apr_md5_crypt
    return bool(scheme.verify(password.partition(b"\0")[0], match["crypt"]))


def _libcrypt(match: re.Match[str], password: bytes) -> bool:
    return _same(crypt(password, match["crypt"]), match["crypt"])


# Digests with a salt and without


def _phpass(match: re.Match[str], password: bytes) -> bool:
    return _same(phpass(match[0], password), match[0])


def _drupal(match: re.Match[str], password: bytes) -> bool:
    if match[1]:  # of the days of Drupal 6, hashed once more by its successor
        password = hashlib.md5(password, usedforsecurity=False).hexdigest().encode()
    return _same(phpass(match[2], password), match[2][:DRUPAL_LENGTH])


_LDAP = {"SHA": "sha1", "MD5": "md5", "SHA256": "sha256", "SHA512": "sha512"}


def _ldap_salted(match: re.Match[str], password: bytes) -> bool:
    name = _LDAP[match[1].upper()]
    data = _base64(match[2])
    size = hashlib.new(name, usedforsecurity=False).digest_size
    if len(data) < size:
        raise ValueError("it is too short")
    return _same(hashlib.new(name, password + data[size:], usedforsecurity=False).digest(), data[:size])


def _salted_md5(salt: str, password: bytes) -> str:
    inner = hashlib.md5(password, usedforsecurity=False).hexdigest()
    return hashlib.md5(f"{salt}-{inner}".encode(), usedforsecurity=False).hexdigest()


def _digest(name: str) -> Callable[[re.Match[str], bytes], bool]:
    def check(match: re.Match[str], password: bytes) -> bool:
        salt = (match["salt"] if "salt" in match.re.groupindex else "").encode()
        return _same(hashlib.new(name, salt + password, usedforsecurity=False).hexdigest(), match["hex"].lower())

    return check


_B = r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"
_64 = r"[A-Za-z0-9+/]+={0,2}"
_AB64 = r"[A-Za-z0-9./]+"
_ARGON2 = (
    r"\$argon2(?P<type>id|i|d)\$(?P<version>v=\d{1,3}\$)?(?P<parameters>[mtp]=\d{1,10},[mtp]=\d{1,10},[mtp]=\d{1,10})"
    r"\$(?P<rest>[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+)"
)
_CRYPT = r"(?:\{CRYPT\}|\{crypt\})?"


def _format(name: str, look: str, check: Callable[[re.Match[str], bytes], bool], weak: str = "") -> Format:
    return Format(name, re.compile(look, re.ASCII), check, weak)


FORMATS = {
    format_.name: format_
    for format_ in (
        _format("bcrypt", rf"(?:\{{bcrypt\}}|bcrypt\$)?{_CRYPT}({_B})", lambda found, word: _bcrypt(word, found[1])),
        _format("wp-bcrypt", rf"\$wp({_B})", _wordpress),
        _format("django-bcrypt-sha256", rf"bcrypt_sha256\$({_B})", _django_bcrypt_sha256),
        _format("mediawiki-bcrypt", r":bcrypt:(\d{1,2})\$([./A-Za-z0-9]{22})\$([./A-Za-z0-9]{31})", _mediawiki_bcrypt),
        _format(
            "phpbb-combined",
            r"\$H\\2y\$([./A-Za-z0-9]{9})\$(\d\d)\\([./A-Za-z0-9]{22})\$([./A-Za-z0-9]{31})",
            _phpbb_combined,
        ),
        _format(
            "passlib-bcrypt", r"\$bcrypt-sha256\$v=2,t=2[aby],r=(\d{1,2})\$[./A-Za-z0-9]{22}\$.{31}", _passlib_bcrypt
        ),
        _format("argon2", rf"(?:argon2|:argon2:|\{{argon2(?:@SpringSecurity_v5_[28])?\}})?{_ARGON2}", _argon2),
        _format(
            "django-scrypt",
            rf"scrypt\$(?P<n>\d+)\$(?P<salt>[^$]+)\$(?P<r>\d+)\$(?P<p>\d+)\$(?P<b64>{_64})",
            _scrypt_texts,
        ),
        _format(
            "werkzeug-scrypt",
            r"scrypt:(?P<n>\d+):(?P<r>\d+):(?P<p>\d+)\$(?P<salt>[^$]+)\$(?P<hex>[0-9a-f]+)",
            _scrypt_texts,
        ),
        _format(
            "spring-scrypt",
            rf"\{{scrypt(?:@SpringSecurity_v5_8)?\}}\$([0-9a-f]{{5,8}})\$({_64})\$({_64})",
            _spring_scrypt,
        ),
        _format("django-pbkdf2", rf"pbkdf2_(sha1|sha256|sha512)\$(\d+)\$([^$]+)\$({_64})", _pbkdf2_django),
        _format("werkzeug-pbkdf2", r"pbkdf2:(sha1|sha256|sha512):(\d+)\$([^$]+)\$([0-9a-f]+)", _pbkdf2_werkzeug),
        _format("passlib-pbkdf2", rf"\$pbkdf2(?:-(sha256|sha512))?\$(\d+)\$({_AB64})\$({_AB64})", _pbkdf2_passlib),
        _format("mediawiki-pbkdf2", rf":pbkdf2:(sha\d+):(\d+):\d+:({_64}):({_64})", _pbkdf2_mediawiki),
        _format(
            "mediawiki-legacy", rf":pbkdf2-legacyB:!(sha\d+):(\d+):\d+!([0-9a-f]+)!({_64})!({_64})", _pbkdf2_legacy
        ),
        _format("spring-pbkdf2", r"\{pbkdf2(@SpringSecurity_v5_8)?\}([0-9a-f]{80,96})", _pbkdf2_spring),
        _format(
            "sha-crypt",
            rf"{_CRYPT}(?P<crypt>\$(?P<kind>[56])\$(?:rounds=(?P<rounds>\d+)\$)?[^$]*\$[./A-Za-z0-9]+)",
            _sha_crypt,
        ),
        _format("md5-crypt", rf"{_CRYPT}(?P<crypt>\$(?P<kind>1|apr1)\$[^$]{{0,8}}\$[./A-Za-z0-9]{{22}})", _md5_crypt),
        _format("yescrypt", rf"{_CRYPT}(?P<crypt>\$(?:g?y|7)\$[./A-Za-z0-9$]+)", _libcrypt),
        _format("phpass", r"\$[PH]\$[./A-Za-z0-9]{31}", _phpass),
        _format("drupal-sha512", r"(U?)(\$S\$[./A-Za-z0-9]{52})", _drupal),
        _format("ldap-salted", rf"\{{S(SHA|SHA256|SHA512)\}}({_64})", _ldap_salted),
        _format("ldap-smd5", rf"\{{S(MD5)\}}({_64})", _ldap_salted, "md5"),
        _format("ldap-md5", rf"\{{(MD5)\}}({_64})", _ldap_salted, "md5"),
        _format("ldap-sha", rf"\{{(SHA)\}}({_64})", _ldap_salted, "sha1"),
        _format(
            "mediawiki-B",
            r":B:([0-9a-f]+):([0-9a-f]{32})",
            lambda found, word: _same(_salted_md5(found[1], word), found[2]),
            "md5",
        ),
        _format("mediawiki-A", r":A:(?P<hex>[0-9a-f]{32})", _digest("md5"), "md5"),
        _format("django-md5", r"md5\$(?P<salt>[^$]*)\$(?P<hex>[0-9a-f]{32})", _digest("md5"), "md5"),
        _format("md5", r"(?P<hex>[0-9a-fA-F]{32})", _digest("md5"), "md5"),
        _format("django-sha1", r"sha1\$(?P<salt>[^$]*)\$(?P<hex>[0-9a-f]{40})", _digest("sha1"), "sha1"),
        _format("sha1", r"(?P<hex>[0-9a-fA-F]{40})", _digest("sha1"), "sha1"),
    )
}
