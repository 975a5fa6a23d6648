"""Is it an event at all: the format of a PDU in each room version, the size limits, and what clients may send.

Says nothing about permission (`auth`) and never repairs: an event is well-formed or refused.
spec: server-server-api#checks-performed-on-receipt-of-a-pdu 1, client-server-api#size-limits
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homeserver.core import canonical, ids
from homeserver.core.errors import BadEvent, ErrCode, MatrixError
from homeserver.core.signatures import encode_for
from homeserver.core.versions import EventIdForm, RoomVersion

MAX_EVENT_BYTES = 65_536
MAX_PREV_EVENTS = 20
MAX_AUTH_EVENTS = 10

MEMBERSHIPS = frozenset({"ban", "invite", "join", "knock", "leave"})

_LEVELS = ("ban", "events_default", "invite", "kick", "redact", "state_default", "users_default")
_LEVEL_MAPS = ("events", "notifications", "users")


def check_pdu(pdu: Any, version: RoomVersion, encoded: bytes | None = None) -> None:
    """Check that `pdu` is a valid event of `version`, as step 1 of receipt demands.

    `encoded` is its canonical JSON without `unsigned`, if the caller has it at hand.
    Raises BadEvent: BAD_JSON for a wrong shape, TOO_LARGE for a limit.
    spec: rooms/v1#event-format, rooms/v3#event-format, rooms/v6#event-format, rooms/v12#event-format
    """
    if not isinstance(pdu, dict):
        raise BadEvent("An event must be an object")
    # spec: rooms/v6#canonical-json
    canonical.check_numbers(pdu, allow_floats=not version.strict_canonical_json)
    _check_name(pdu.get("type"), "type")
    if "state_key" in pdu:
        _check_name(pdu["state_key"], "state_key")
    _check_identifiers(pdu, version)
    _check_content_and_proofs(pdu)
    for key, lowest in (("depth", 0), ("origin_server_ts", -canonical.MAX_INTEGER)):
        if type(pdu.get(key)) is not int or pdu[key] < lowest:  # bool is no integer here
            raise BadEvent(f"{key} must be an integer of at least {lowest}")
    _check_references(pdu, "prev_events", MAX_PREV_EVENTS, version)
    _check_references(pdu, "auth_events", MAX_AUTH_EVENTS, version)
    if encoded is None:
        encoded = encode_for({key: value for key, value in pdu.items() if key != "unsigned"}, version)
    check_size(encoded)


def check_size(encoded: bytes) -> None:
    """Refuse an event whose canonical JSON, signatures included, is over 65,536 bytes.

    Raises BadEvent(TOO_LARGE).  spec: client-server-api#size-limits
    """
    if len(encoded) > MAX_EVENT_BYTES:
        raise BadEvent(f"The event is larger than {MAX_EVENT_BYTES} bytes", ErrCode.TOO_LARGE)


def check_client_content(event_type: Any, state_key: Any, content: Any, version: RoomVersion) -> None:
    """Check what a client wants to send, before anything is built from it.

    Canonical JSON is demanded in every room version, and the contents that the server itself acts on must have
    their shape. NUL is allowed inside content, not in names.
    Raises MatrixError: BAD_JSON, INVALID_PARAM for names and aliases, TOO_LARGE.
    """
    _check_name(event_type, "type", ErrCode.INVALID_PARAM)
    if state_key is not None:
        _check_name(state_key, "state_key", ErrCode.INVALID_PARAM)
    if not isinstance(content, dict):
        raise BadEvent("content must be an object")
    canonical.check_numbers(content)
    check_size(canonical.encode(content))  # the finished event is larger still and is checked again
    if event_type == "m.room.member":
        _check_member(state_key, content)
    elif state_key == "":
        check_shape = _SHAPES.get(event_type)
        if check_shape is not None:
            check_shape(content, version)


def _check_identifiers(pdu: dict[str, Any], version: RoomVersion) -> None:
    _check_identifier(pdu.get("sender"), "sender", ids.parse_user_id)
    if version.event_id is EventIdForm.GIVEN:
        _check_identifier(pdu.get("event_id"), "event_id", ids.parse_event_id)
        if ":" not in pdu["event_id"]:
            raise BadEvent("event_id must have a domain")
    # In v12 the create event names the room by its own hash; that it carries no `room_id` is an authorisation rule.
    names_itself = version.auth.room_id_is_create_hash and pdu["type"] == "m.room.create"
    if "room_id" in pdu or not names_itself:
        _check_identifier(pdu.get("room_id"), "room_id", ids.parse_room_id)
    if "redacts" in pdu and not version.redaction.redacts_in_content and not isinstance(pdu["redacts"], str):
        raise BadEvent("redacts must be a string")


def _check_content_and_proofs(pdu: dict[str, Any]) -> None:
    if not isinstance(pdu.get("content"), dict):
        raise BadEvent("content must be an object")
    hashes = pdu.get("hashes")
    if not isinstance(hashes, dict) or not isinstance(hashes.get("sha256"), str):
        raise BadEvent("hashes must be an object with a string sha256")
    signatures = pdu.get("signatures")
    if not isinstance(signatures, dict):
        raise BadEvent("signatures must be an object")
    for by_key in signatures.values():
        if not isinstance(by_key, dict) or not all(isinstance(signature, str) for signature in by_key.values()):
            raise BadEvent("signatures must map servers to keys to strings")


def _check_references(pdu: dict[str, Any], key: str, limit: int, version: RoomVersion) -> None:
    references = pdu.get(key)
    if not isinstance(references, list):
        raise BadEvent(f"{key} must be a list")
    if len(references) > limit:
        raise BadEvent(f"{key} must name at most {limit} events")
    for reference in references:
        if version.event_id is EventIdForm.GIVEN:
            if not _is_hashed_reference(reference):
                raise BadEvent(f"{key} must hold pairs of an event id and its hashes")
            reference = reference[0]  # noqa: PLW2901 - the id is what both forms have in common
        _check_identifier(reference, key, ids.parse_event_id)


def _is_hashed_reference(reference: Any) -> bool:
    return (
        isinstance(reference, list)
        and len(reference) == 2
        and isinstance(reference[1], dict)
        and all(isinstance(value, str) for value in reference[1].values())
    )


def _check_name(name: Any, what: str, code: ErrCode = ErrCode.BAD_JSON) -> None:
    """Check a `type` or `state_key`: a string of at most 255 bytes.

    NOTSPEC: NUL is refused. No database index holds it, and no event anyone means to send has it.
    """
    if not isinstance(name, str):
        raise BadEvent(f"{what} must be a string")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise BadEvent(f"{what} must not hold surrogates", code) from None
    if size > ids.MAX_BYTES:
        raise BadEvent(f"{what} is longer than {ids.MAX_BYTES} bytes", ErrCode.TOO_LARGE)
    if "\x00" in name:
        raise BadEvent(f"{what} must not hold U+0000", code)


def _check_identifier(value: Any, what: str, parse: Callable[[str], str]) -> None:
    _check_name(value, what)  # first, so that too long is TOO_LARGE rather than malformed
    try:
        parse(value)
    except MatrixError as error:
        raise BadEvent(f"{what}: {error.message}") from error


def _check_member(state_key: Any, content: dict[str, Any]) -> None:  # spec: client-server-api#mroommember
    if state_key is None:
        raise BadEvent("m.room.member must be a state event")
    ids.parse_user_id(state_key)
    membership = content.get("membership")
    if not isinstance(membership, str) or membership not in MEMBERSHIPS:
        raise BadEvent(f"membership must be one of {', '.join(sorted(MEMBERSHIPS))}")
    for key in ("avatar_url", "displayname"):
        if not isinstance(content.get(key), str | None):
            raise BadEvent(f"{key} must be a string or null")
    for key in ("join_authorised_via_users_server", "reason"):
        if key in content and not isinstance(content[key], str):
            raise BadEvent(f"{key} must be a string")


def _check_create(content: dict[str, Any], version: RoomVersion) -> None:  # spec: client-server-api#mroomcreate
    for key, kind in (("creator", str), ("m.federate", bool), ("room_version", str), ("type", str)):
        if key in content and not isinstance(content[key], kind):
            raise BadEvent(f"{key} must be a {kind.__name__}")
    predecessor = content.get("predecessor", {"room_id": ""})
    if not isinstance(predecessor, dict) or not isinstance(predecessor.get("room_id"), str):
        raise BadEvent("predecessor must be an object with a room_id")
    if version.auth.privileged_creators and "additional_creators" in content:
        creators = content["additional_creators"]
        if not isinstance(creators, list):
            raise BadEvent("additional_creators must be a list of user ids")
        for creator in creators:
            ids.parse_user_id(creator)


def _check_power_levels(content: dict[str, Any], _: RoomVersion) -> None:  # spec: client-server-api#mroompower_levels
    """Levels are integers here in every version: strings and floats are what old events of others may hold."""
    for key in _LEVELS:
        if key in content and type(content[key]) is not int:
            raise BadEvent(f"{key} must be an integer")
    for key in _LEVEL_MAPS:
        levels = content.get(key, {})
        if not isinstance(levels, dict) or not all(type(level) is int for level in levels.values()):
            raise BadEvent(f"{key} must map names to integers")
    for user_id in content.get("users", {}):
        ids.parse_user_id(user_id)


def _check_canonical_alias(content: dict[str, Any], _: RoomVersion) -> None:
    # spec: client-server-api#mroomcanonical_alias
    alias = content.get("alias")
    alt_aliases = content.get("alt_aliases", [])
    if not isinstance(alias, str | None) or not isinstance(alt_aliases, list):
        raise BadEvent("alias must be a string and alt_aliases a list")
    for given in [alias, *alt_aliases] if alias else alt_aliases:
        ids.parse_room_alias(given)


_SHAPES: dict[str, Callable[[dict[str, Any], RoomVersion], None]] = {
    "m.room.canonical_alias": _check_canonical_alias,
    "m.room.create": _check_create,
    "m.room.power_levels": _check_power_levels,
}
