"""Room versions as data: each version names only what changes against its predecessor.

The rules themselves live in `auth/`, `resolve/`, `redact.py` and `event.py` and ask these flags.
spec: rooms#complete-list-of-room-versions
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from homeserver.core.errors import ErrCode, MatrixError


class EventIdForm(Enum):
    """How an event gets its id."""

    GIVEN = "given"  # v1, v2: chosen by the server, `$opaque:domain`, part of the PDU
    HASH = "hash"  # v3: unpadded base64 of the reference hash
    URLSAFE_HASH = "urlsafe_hash"  # v4 and later


class StateResolution(Enum):
    """Which algorithm resolves conflicting state."""

    V1 = "v1"
    V2 = "v2"
    V2_1 = "v2.1"


@dataclass(frozen=True, slots=True)
class AuthRules:
    """What the authorisation rules of a room version know."""

    redaction_checked: bool = False  # v1, v2: `m.room.redaction` has its own auth rule
    aliases_rule: bool = False  # v1 to v5: `m.room.aliases` has its own auth rule
    notification_levels_checked: bool = False  # v6
    knock: bool = False  # v7
    restricted: bool = False  # v8
    knock_restricted: bool = False  # v10
    integer_power_levels_only: bool = False  # v10
    creator_from_sender: bool = False  # v11: `content.creator` is gone
    room_id_is_create_hash: bool = False  # v12: create event has no room_id and is never an auth event
    privileged_creators: bool = False  # v12: creators have infinite power


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """Which keys survive a redaction, beyond those every version keeps."""

    legacy_top_level_kept: bool = True  # v1 to v10: `origin`, `membership`, `prev_state`
    aliases_kept: bool = True  # v1 to v5: `aliases` of m.room.aliases
    join_rules_allow_kept: bool = False  # v8
    member_authoriser_kept: bool = False  # v9
    create_content_kept: bool = False  # v11: all of it
    redacts_kept: bool = False  # v11: `redacts` of m.room.redaction content
    invite_level_kept: bool = False  # v11
    third_party_signed_kept: bool = False  # v11: `third_party_invite.signed` of m.room.member
    redacts_in_content: bool = False  # v11: where the redaction names its target


@dataclass(frozen=True, slots=True)
class RoomVersion:
    """One room version; compare by identity or by `id`."""

    id: str
    event_id: EventIdForm
    resolution: StateResolution
    auth: AuthRules
    redaction: RedactionRules
    strict_canonical_json: bool = False  # v6: no floats, integers within ±(2^53-1)
    enforce_key_validity: bool = False  # v5


V1 = RoomVersion(
    id="1",
    event_id=EventIdForm.GIVEN,
    resolution=StateResolution.V1,
    auth=AuthRules(redaction_checked=True, aliases_rule=True),
    redaction=RedactionRules(),
)
V2 = replace(V1, id="2", resolution=StateResolution.V2)
V3 = replace(V2, id="3", event_id=EventIdForm.HASH, auth=replace(V2.auth, redaction_checked=False))
V4 = replace(V3, id="4", event_id=EventIdForm.URLSAFE_HASH)
V5 = replace(V4, id="5", enforce_key_validity=True)
V6 = replace(
    V5,
    id="6",
    auth=replace(V5.auth, aliases_rule=False, notification_levels_checked=True),
    redaction=replace(V5.redaction, aliases_kept=False),
    strict_canonical_json=True,
)
V7 = replace(V6, id="7", auth=replace(V6.auth, knock=True))
V8 = replace(
    V7, id="8", auth=replace(V7.auth, restricted=True), redaction=replace(V7.redaction, join_rules_allow_kept=True)
)
V9 = replace(V8, id="9", redaction=replace(V8.redaction, member_authoriser_kept=True))
V10 = replace(V9, id="10", auth=replace(V9.auth, knock_restricted=True, integer_power_levels_only=True))
V11 = replace(
    V10,
    id="11",
    auth=replace(V10.auth, creator_from_sender=True),
    redaction=replace(
        V10.redaction,
        legacy_top_level_kept=False,
        create_content_kept=True,
        redacts_kept=True,
        invite_level_kept=True,
        third_party_signed_kept=True,
        redacts_in_content=True,
    ),
)
V12 = replace(
    V11,
    id="12",
    resolution=StateResolution.V2_1,
    auth=replace(V11.auth, room_id_is_create_hash=True, privileged_creators=True),
)

ROOM_VERSIONS: dict[str, RoomVersion] = {v.id: v for v in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)}
DEFAULT_ROOM_VERSION = V12


def room_version(identifier: str) -> RoomVersion:
    """The room version named `identifier`.

    Raises MatrixError(UNSUPPORTED_ROOM_VERSION) if this server does not know it.
    """
    version = ROOM_VERSIONS.get(identifier) if isinstance(identifier, str) else None
    if version is None:
        raise MatrixError(ErrCode.UNSUPPORTED_ROOM_VERSION, f"Room version {identifier!r} is not supported")
    return version
