"""The redaction algorithm of each room version: what is left of an event when its content is taken away.

Events are signed and, from v3 on, named over this form, so it must match other servers to the byte.
spec: client-server-api#redactions, rooms/v1#redactions, rooms/v6#redactions, rooms/v8#redactions,
rooms/v9#redactions, rooms/v11#redactions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core.versions import ROOM_VERSIONS, RedactionRules, RoomVersion

_TOP_LEVEL = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)
_LEGACY_TOP_LEVEL = frozenset({"origin", "membership", "prev_state"})

_POWER_LEVELS = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What survives in one room version."""

    top_level: frozenset[str]
    content: Mapping[str, frozenset[str]]  # event type → keys; a type that is not listed keeps nothing


def _kept(rules: RedactionRules) -> _Kept:
    content = {
        "m.room.member": {"membership"},
        "m.room.create": {"creator"},
        "m.room.join_rules": {"join_rule"},
        "m.room.power_levels": set(_POWER_LEVELS),
        "m.room.history_visibility": {"history_visibility"},
    }
    if rules.aliases_kept:
        content["m.room.aliases"] = {"aliases"}
    if rules.join_rules_allow_kept:
        content["m.room.join_rules"].add("allow")
    if rules.member_authoriser_kept:
        content["m.room.member"].add("join_authorised_via_users_server")
    if rules.invite_level_kept:
        content["m.room.power_levels"].add("invite")
    if rules.redacts_kept:
        content["m.room.redaction"] = {"redacts"}
    return _Kept(
        top_level=_TOP_LEVEL | _LEGACY_TOP_LEVEL if rules.legacy_top_level_kept else _TOP_LEVEL,
        content={event_type: frozenset(keys) for event_type, keys in content.items()},
    )


_KEPT = {version.id: _kept(version.redaction) for version in ROOM_VERSIONS.values()}


def redact(pdu: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """The redacted form of `pdu` as a new object; kept values are shared with `pdu`, not copied.

    Idempotent. Content that is not an object becomes an empty one.
    """
    top_level = _KEPT[version.id].top_level
    kept = {key: value for key, value in pdu.items() if key in top_level}
    content = pdu.get("content")
    kept["content"] = _redact_content(pdu.get("type"), content, version) if isinstance(content, dict) else {}
    return kept


def _redact_content(event_type: Any, content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    if event_type == "m.room.create" and version.redaction.create_content_kept:
        return content
    kept_keys = _KEPT[version.id].content.get(event_type) if isinstance(event_type, str) else None
    if kept_keys is None:
        return {}
    kept = {key: value for key, value in content.items() if key in kept_keys}
    if event_type == "m.room.member" and version.redaction.third_party_signed_kept:
        invite = content.get("third_party_invite")
        if isinstance(invite, dict):
            kept["third_party_invite"] = {"signed": invite["signed"]} if "signed" in invite else {}
    return kept
