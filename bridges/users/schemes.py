"""The schemes that a configuration names: which formats a site's software stores, and what it makes of what is typed.

A scheme is the software rather than the hash, for the same hash means different things: Symfony's bcrypt hashes long
passwords first, phpBB escapes what is typed, WordPress adds backslashes before quotes.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bridges.users.formats import FORMATS, LONGEST_HASH, BadHash, Format, verify

_PHP_BLANKS = " \t\n\r\0\x0b"


class UnknownHash(BadHash):
    """What is stored has the look of none of the schemes that were asked for."""


def _plain(_format: Format, password: str) -> list[str]:
    return [password]


def _wordpress(_format: Format, password: str) -> list[str]:
    """Its forms add backslashes; what did not come by a form has none."""
    trimmed = password.strip(_PHP_BLANKS)
    slashed = "".join(f"\\{letter}" if letter in "'\"\\" else letter for letter in trimmed).replace("\0", "\\0")
    return [slashed] if slashed == trimmed else [slashed, trimmed]


def _phpbb(_format: Format, password: str) -> list[str]:
    """As its request class gives what is typed."""
    text = unicodedata.normalize("NFC", password.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\n"))
    for sign, name in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, name)
    return [text]


def _symfony(format_: Format, password: str) -> list[str]:
    data = password.encode()
    if format_.name == "bcrypt" and (len(data) > 72 or b"\0" in data):
        return [base64.b64encode(hashlib.sha512(data).digest()).decode()]
    return [password] if password else []


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a site's software does with passwords."""

    formats: tuple[str, ...]
    spellings: Callable[[Format, str], list[str]] = _plain
    """What may have been hashed for what is typed."""


_PHP = ("bcrypt", "argon2")
_CRYPT = ("sha-crypt", "md5-crypt", "yescrypt", "bcrypt")
SCHEMES = {
    "argon2": Scheme(("argon2",)),
    "bcrypt": Scheme(("bcrypt",)),
    "phpass": Scheme(("phpass",)),
    "php": Scheme(_PHP),
    "wordpress": Scheme(("wp-bcrypt", "phpass", *_PHP, "md5"), _wordpress),
    "phpbb": Scheme((*_PHP, "phpass", "phpbb-combined", "md5"), _phpbb),
    "drupal": Scheme(("drupal-sha512", *_PHP, "phpass", "md5")),
    "joomla": Scheme((*_PHP, "phpass")),
    "laravel": Scheme(_PHP),
    "symfony": Scheme(_PHP, _symfony),
    "mediawiki": Scheme(
        ("mediawiki-pbkdf2", "mediawiki-bcrypt", "argon2", "mediawiki-legacy", "mediawiki-A", "mediawiki-B")
    ),
    "django": Scheme(
        ("django-pbkdf2", "argon2", "django-bcrypt-sha256", "bcrypt", "django-scrypt", "django-md5", "django-sha1")
    ),
    "werkzeug": Scheme(("werkzeug-scrypt", "werkzeug-pbkdf2")),
    "passlib": Scheme(("passlib-pbkdf2", "passlib-bcrypt", "argon2", "bcrypt", *_CRYPT, "phpass")),
    "spring": Scheme(("bcrypt", "spring-pbkdf2", "spring-scrypt", "argon2")),
    "devise": Scheme(("bcrypt",)),
    "crypt": Scheme(_CRYPT),
    "htpasswd": Scheme((*_CRYPT, "ldap-sha")),
    "ldap": Scheme(("ldap-salted", "ldap-smd5", "ldap-sha", "ldap-md5", *_CRYPT)),
    # Asked for by name only, beside the scheme whose old hashes they are: they protect nobody whose table is stolen.
    "md5": Scheme(("md5",)),
    "sha1": Scheme(("sha1",)),
}


def check(schemes: Collection[str], stored: str, password: str) -> bool:
    """Whether somebody who typed `password` may be whoever has the hash `stored`, by one of these schemes.

    Takes as long as the hash says: call it in a thread. Raises UnknownHash, BadHash; KeyError for unknown schemes.
    """
    if len(stored) > LONGEST_HASH:
        raise BadHash("it is too long for a hash")
    known = False
    for name in schemes:
        scheme = SCHEMES[name]
        for format_ in (FORMATS[format_name] for format_name in scheme.formats):
            if format_.look.fullmatch(stored) is None or (format_.is_weak and format_.is_weak not in schemes):
                continue
            known = True
            if any(_verify(format_, stored, spelling) for spelling in scheme.spellings(format_, password)):
                return True
            break  # the same hash looks like no other format of this scheme
    if not known:
        raise UnknownHash("the stored password has the look of none of the schemes")
    return False


def _verify(format_: Format, stored: str, password: str) -> bool:
    return verify(format_, stored, password.encode("utf-8", "surrogatepass"))
