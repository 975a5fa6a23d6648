"""Registration files: what an application service is, may own and wants to be told.

Reads text, not files (see `boot`), and names every fault of a file at once.
spec: application-service-api#registration
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r"[\x21-\x7e]{1,512}\Z")
_LONGEST_PATTERN = 1_000
_KINDS = ("users", "aliases", "rooms")


class BadRegistration(Exception):
    """A registration that cannot be used; `faults` says why, one line each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Namespace:
    """Identifiers that an application service is interested in, or alone may make."""

    exclusive: bool
    regex: re.Pattern[str]

    def holds(self, identifier: str) -> bool:
        """Whether the identifier is in it.

        COMPAT(bridges): as in other servers, the expression has to match at the beginning only; registrations in use
        leave out the server's name.
        """
        return self.regex.match(identifier) is not None


@dataclass(frozen=True, slots=True)
class Registration:
    """One application service. Implements `ports.appservices.AppService`."""

    id: str
    url: str | None
    """Where it is told of things; None: it is not."""
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender: str
    """User id of its own account."""
    users: tuple[Namespace, ...] = ()
    aliases: tuple[Namespace, ...] = ()
    rooms: tuple[Namespace, ...] = ()
    rate_limited: bool = True
    receive_ephemeral: bool = False
    """Whether it is told of receipts, typing, presence and messages to its devices."""
    encrypts: bool = False
    """Whether it is told of device lists and of the keys its devices have left.  Source: MSC3202"""
    protocols: tuple[str, ...] = ()

    def covers(self, user_id: str) -> bool:
        """Whether the user id is its own, or in one of its user namespaces."""
        return user_id == self.sender or any(space.holds(user_id) for space in self.users)

    def covers_exclusively(self, user_id: str) -> bool:
        """Whether nobody else may make this user."""
        return user_id == self.sender or any(space.exclusive and space.holds(user_id) for space in self.users)

    def owns(self, alias: str) -> bool:
        """Whether the alias is in one of its alias namespaces."""
        return any(space.holds(alias) for space in self.aliases)

    def owns_exclusively(self, alias: str) -> bool:
        """Whether nobody else may make this alias."""
        return any(space.exclusive and space.holds(alias) for space in self.aliases)

    def watches(self, room_id: str) -> bool:
        """Whether the room is in one of its room namespaces."""
        return any(space.holds(room_id) for space in self.rooms)


def parse_registration(text: str, server_name: str) -> Registration:
    """The registration that the YAML `text` describes. Raises BadRegistration."""
    import yaml  # noqa: PLC0415 - most servers have no such file, and start without it

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadRegistration([f"is not YAML: {str(error).splitlines()[0]}"]) from None
    if not isinstance(document, dict):
        raise BadRegistration(["must be a YAML mapping"])
    reader = _Reader(document)
    localpart = reader.text("sender_localpart")
    url = document.get("url")
    if "url" not in document or not (url is None or (isinstance(url, str) and re.match(r"https?://[^/]", url))):
        reader.faults.append("url must be an http or https URL, or null")
        url = None
    namespaces = document.get("namespaces", {})
    if not isinstance(namespaces, dict):
        reader.faults.append("namespaces must be a mapping")
        namespaces = {}
    users, aliases, rooms = (reader.namespaces(namespaces, kind) for kind in _KINDS)
    protocols = document.get("protocols") or []
    if not isinstance(protocols, list) or not all(isinstance(name, str) for name in protocols):
        reader.faults.append("protocols must be a list of strings")
        protocols = []
    found = Registration(
        id=reader.text("id"),
        url=url.rstrip("/") if url else None,
        as_token=reader.token("as_token"),
        hs_token=reader.token("hs_token"),
        sender=f"@{localpart}:{server_name}",
        users=users,
        aliases=aliases,
        rooms=rooms,
        rate_limited=reader.flag(True, "rate_limited"),
        receive_ephemeral=reader.flag(False, "receive_ephemeral", "de.sorunome.msc2409.push_ephemeral"),
        encrypts=reader.flag(False, "org.matrix.msc3202", "io.element.msc4190"),
        protocols=tuple(protocols),
    )
    if reader.faults:
        raise BadRegistration(reader.faults)
    return found


class _Reader:
    """Takes values out of a registration and collects what is wrong with them."""

    def __init__(self, document: dict[Any, Any]) -> None:
        self._document = document
        self.faults: list[str] = []

    def text(self, name: str) -> str:
        value = self._document.get(name)
        if isinstance(value, str) and value and len(value) <= 255:
            return value
        self.faults.append(f"{name} must be a text of 1 to 255 characters")
        return ""

    def token(self, name: str) -> str:
        value = self._document.get(name)
        if isinstance(value, str) and _TOKEN.match(value):
            return value
        self.faults.append(f"{name} must be a secret of printable ASCII characters without blanks")
        return ""

    def flag(self, default: bool, *names: str) -> bool:
        for name in names:
            value = self._document.get(name)
            if isinstance(value, bool):
                return value
            if value is not None:
                self.faults.append(f"{name} must be true or false")
        return default

    def namespaces(self, all_: dict[Any, Any], kind: str) -> tuple[Namespace, ...]:
        found: list[Namespace] = []
        entries = all_.get(kind)
        if entries is None:
            return ()
        if not isinstance(entries, list):
            self.faults.append(f"namespaces.{kind} must be a list")
            return ()
        for number, entry in enumerate(entries):
            where = f"namespaces.{kind}[{number}]"
            regex = entry.get("regex") if isinstance(entry, dict) else None
            if not isinstance(regex, str) or not regex or len(regex) > _LONGEST_PATTERN:
                self.faults.append(f"{where}.regex must be a regular expression")
                continue
            exclusive = entry.get("exclusive", False)
            if not isinstance(exclusive, bool):
                self.faults.append(f"{where}.exclusive must be true or false")
                continue
            try:
                found.append(Namespace(exclusive, re.compile(regex)))
            except (re.error, OverflowError) as error:
                self.faults.append(f"{where}.regex: {error}")
        return tuple(found)


def check_together(registrations: list[Registration]) -> None:
    """Raises BadRegistration if two share an id, a token or a sender."""
    faults = []
    for name in ("id", "as_token", "sender"):
        seen: dict[str, str] = {}
        for registration in registrations:
            value = getattr(registration, name)
            if value in seen:
                faults.append(f"{registration.id} has the same {name} as {seen[value]}")
            seen[value] = registration.id
    if faults:
        raise BadRegistration(faults)
