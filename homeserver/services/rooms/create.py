"""Creates rooms: the events in the order of the specification, committed all or none.

Nothing of a room that could not be finished remains: events, aliases and directory entry are one append.
spec: client-server-api#post_matrixclientv3createroom
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.ids import domain_of, parse_room_alias, parse_user_id
from homeserver.core.versions import DEFAULT_ROOM_VERSION, RoomVersion, room_version
from homeserver.ports.events import NewRoom
from homeserver.ports.store import StoreUnavailable, UniqueViolation
from homeserver.services.rooms.claims import check_initial_state
from homeserver.services.rooms.drafts import Draft
from homeserver.services.rooms.invites import InvitePermission
from homeserver.services.rooms.profiles import MemberProfiles
from homeserver.services.rooms.replacement import CREATORS_ONLY, TOMBSTONE, raise_tombstone
from homeserver.services.rooms.writer import RoomWriter

# spec: client-server-api#post_matrixclientv3createroom (presets)
EncryptByDefault = Literal["off", "private", "all"]
"""Which new rooms are encrypted from the beginning: none, those of the private presets, or all but spaces."""

_ENCRYPTION = ("m.room.encryption", "")
_PRESETS = {
    "private_chat": {"join_rule": "invite", "guest_access": "can_join"},
    "trusted_private_chat": {"join_rule": "invite", "guest_access": "can_join"},
    "public_chat": {"join_rule": "public", "guest_access": "forbidden"},
}
_MAX_INVITES = 100
_MAX_INITIAL_STATE = 200


@dataclass(frozen=True, slots=True)
class InitialState:
    """One entry of `initial_state`."""

    type: str
    content: dict[str, Any]
    state_key: str = ""


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """The body of createRoom."""

    preset: str | None = None
    visibility: str = "private"
    room_version: str | None = None
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Sequence[InitialState] = ()
    power_level_content_override: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    topic: str | None = None
    room_alias_name: str | None = None
    invite: Sequence[str] = ()
    invite_3pid: Sequence[Any] = ()
    is_direct: bool = False


class RoomCreation:
    """Makes rooms for users of this server."""

    def __init__(
        self,
        writer: RoomWriter,
        profiles: MemberProfiles,
        invites: InvitePermission,
        server_name: str,
        default_version: RoomVersion = DEFAULT_ROOM_VERSION,
        encrypt: EncryptByDefault = "off",
        *,
        max_aliases: int | None = None,
    ) -> None:
        """`max_aliases` is how many aliases one user may make, those of new rooms included."""
        self._max_aliases = max_aliases
        self._encrypt = encrypt
        self._writer = writer
        self._profiles = profiles
        self._invites = invites
        self._server_name = server_name
        self._default_version = default_version

    async def create_room(self, creator: str, request: RoomRequest) -> str:
        """Create a room; returns its id.

        Raises MatrixError: UNSUPPORTED_ROOM_VERSION, INVALID_PARAM, BAD_JSON, TOO_LARGE, INVALID_ROOM_STATE if the
        authorisation rules refuse one of the events, ALIAS_IN_USE, RESOURCE_LIMIT_EXCEEDED, INVITE_BLOCKED.
        """
        version = self._default_version if request.room_version is None else room_version(request.room_version)
        preset = request.preset or ("public_chat" if request.visibility == "public" else "private_chat")
        if preset not in _PRESETS or request.visibility not in ("public", "private"):
            raise MatrixError(ErrCode.INVALID_PARAM, "Unknown preset or visibility")
        self._check_invites(request)
        alias = None
        if request.room_alias_name is not None:
            if ":" in request.room_alias_name or not request.room_alias_name:
                raise MatrixError(ErrCode.INVALID_PARAM, "room_alias_name must be a local part")
            alias = parse_room_alias(f"#{request.room_alias_name}:{self._server_name}")
        await self._invites.check(user_id for user_id in dict.fromkeys(request.invite) if user_id != creator)
        drafts = await self._drafts(creator, request, version, preset, alias)
        aliases = () if alias is None else (alias,)
        room = NewRoom("", version, creator, request.visibility == "public", aliases, self._max_aliases)
        try:
            return await self._writer.create(version, drafts, room)
        except UniqueViolation:
            if alias is None:
                raise StoreUnavailable("The room's id is taken") from None
            raise MatrixError(ErrCode.ALIAS_IN_USE, f"The alias {alias} is taken") from None
        except NotAllowed as error:
            raise MatrixError(ErrCode.INVALID_ROOM_STATE, f"The room's state is invalid: {error.message}") from None

    def _check_invites(self, request: RoomRequest) -> None:
        if request.invite_3pid:
            raise MatrixError(
                ErrCode.INVALID_PARAM, "This server has no identity server to invite by address: use user ids"
            )
        if len(request.invite) > _MAX_INVITES or len(request.initial_state) > _MAX_INITIAL_STATE:
            raise MatrixError(ErrCode.INVALID_PARAM, "Too many invites or initial_state events in one request")
        for user_id in request.invite:
            parse_user_id(user_id)
        for item in request.initial_state:
            check_initial_state(item.type)

    async def _drafts(
        self, creator: str, request: RoomRequest, version: RoomVersion, preset: str, alias: str | None
    ) -> list[Draft]:
        """The room's events in the specified order."""
        profile = await self._profiles.member_profile(creator)
        invitees = [user_id for user_id in dict.fromkeys(request.invite) if user_id != creator]
        trusted = invitees if preset == "trusted_private_chat" else []

        def state(event_type: str, content: dict[str, Any], state_key: str = "") -> Draft:
            return Draft(creator, event_type, content, state_key)

        drafts = [
            state("m.room.create", _create_content(creator, request, version, trusted)),  # 1
            state("m.room.member", {**profile, "membership": "join"}, creator),  # 2
            state("m.room.power_levels", _power_levels(creator, request, version, preset, trusted)),  # 3
        ]
        if alias is not None:
            drafts.append(state("m.room.canonical_alias", {"alias": alias}))  # 4
        given = {(item.type, item.state_key) for item in request.initial_state}
        drafts += [
            state(event_type, content)
            for event_type, content in _preset_state(preset)
            if (event_type, "") not in given  # 5
        ]
        if self._is_encrypted(preset, request) and _ENCRYPTION not in given:
            drafts.append(state(_ENCRYPTION[0], {"algorithm": "m.megolm.v1.aes-sha2"}))
        explicit = {
            ("m.room.name", "") if request.name is not None else None,
            ("m.room.topic", "") if request.topic is not None else None,
        }
        drafts += [
            state(item.type, item.content, item.state_key)
            for item in request.initial_state
            if (item.type, item.state_key) not in explicit  # 6
        ]
        if request.name is not None:
            drafts.append(state("m.room.name", {"name": request.name}))  # 7
        if request.topic is not None:
            drafts.append(state("m.room.topic", topic_content(request.topic)))
        for user_id in invitees:  # 8
            drafts.append(state("m.room.member", await self._invite_content(user_id, request.is_direct), user_id))
        return drafts

    def _is_encrypted(self, preset: str, request: RoomRequest) -> bool:
        """Whether the operator wants rooms made like this to be encrypted, whatever the client says."""
        if request.creation_content.get("type") == "m.space":
            return False
        return self._encrypt == "all" or (self._encrypt == "private" and preset != "public_chat")

    async def _invite_content(self, user_id: str, is_direct: bool) -> dict[str, Any]:
        if domain_of(user_id) != self._server_name:
            raise NotAllowed(f"{user_id} is not a user of this server and cannot be invited from here")
        content: dict[str, Any] = {**await self._profiles.member_profile(user_id), "membership": "invite"}
        if is_direct:
            content["is_direct"] = True
        return content


def _create_content(creator: str, request: RoomRequest, version: RoomVersion, trusted: Sequence[str]) -> dict[str, Any]:
    content = {key: value for key, value in request.creation_content.items() if key != "creator"}
    content["room_version"] = version.id
    if not version.auth.creator_from_sender:
        content["creator"] = creator
    if version.auth.privileged_creators and trusted:
        named = content.get("additional_creators", [])
        if not isinstance(named, list):
            raise MatrixError(ErrCode.BAD_JSON, "additional_creators must be a list of user ids")
        # Compared as they are: a name that is no string is refused with the event.
        content["additional_creators"] = [*named, *(user_id for user_id in trusted if user_id not in named)]
    return content


def topic_content(topic: str) -> dict[str, Any]:
    """Content of m.room.topic, plain and as extensible text.  spec: client-server-api#mroomtopic"""
    return {"topic": topic, "m.topic": {"m.text": [{"body": topic, "mimetype": "text/plain"}]}}


def _power_levels(
    creator: str, request: RoomRequest, version: RoomVersion, preset: str, trusted: Sequence[str]
) -> dict[str, Any]:
    """Default power levels with the override on top.  spec: client-server-api#mroompower_levels"""
    users: dict[str, int] = {}
    if not version.auth.privileged_creators:
        users = dict.fromkeys([creator, *trusted], 100)
    levels = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            TOMBSTONE: CREATORS_ONLY if version.auth.privileged_creators else 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if preset == "public_chat" else 0,
        "historical": 100,
        **request.power_level_content_override,
    }
    if version.auth.privileged_creators:
        raise_tombstone(levels)
    return levels


def _preset_state(preset: str) -> list[tuple[str, dict[str, Any]]]:
    rules = _PRESETS[preset]
    return [
        ("m.room.join_rules", {"join_rule": rules["join_rule"]}),
        ("m.room.history_visibility", {"history_visibility": "shared"}),
        ("m.room.guest_access", {"guest_access": rules["guest_access"]}),
    ]
