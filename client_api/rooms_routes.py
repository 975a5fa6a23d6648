"""The endpoints of rooms.  spec: client-server-api#rooms"""

from __future__ import annotations

from client_api import directory, legacy, membership, messages, peeking, room_state, rooms
from client_api.bounds import FREE_BODY
from client_api.deps import ClientServices
from homeserver.web.route import Auth, Route

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"
NONE, GUEST_OK, OPTIONAL = Auth.NONE, Auth.GUEST_OK, Auth.OPTIONAL
_ROOM = f"{V3}/rooms/{{roomId}}"
_STATE = f"{_ROOM}/state/{{eventType}}"
_RELATIONS = f"{V1}/rooms/{{roomId}}/relations/{{eventId}}"
_ALIAS = f"{V3}/directory/room/{{roomAlias}}"
_LISTED = f"{V3}/directory/list/room/{{roomId}}"
_FROM = {"from_": "from"}
_NO_KEY = {"state_key": ""}
# COMPAT(Element Web): asks the unstable path where the stable version is not advertised.
_SUMMARIES = ("/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",)

_WRITES: list[Route[ClientServices]] = [
    Route("POST", f"{V3}/createRoom", rooms.create_room, limit="create_room"),
    Route("POST", f"{_ROOM}/upgrade", rooms.upgrade_room, limit="create_room"),
    Route(
        "PUT",
        f"{_ROOM}/send/{{eventType}}/{{txnId}}",
        rooms.send_message,
        auth=GUEST_OK,
        limit="message",
        body_limit=FREE_BODY,
    ),
    Route(
        "PUT",
        f"{_STATE}/{{stateKey}}",
        rooms.set_room_state_with_key,
        auth=GUEST_OK,
        limit="message",
        body_limit=FREE_BODY,
    ),
    Route(
        "PUT",
        _STATE,
        rooms.set_room_state_with_key,
        auth=GUEST_OK,
        limit="message",
        body_limit=FREE_BODY,
        slash=True,
        fixed=_NO_KEY,
    ),
    Route(
        "PUT",
        f"{_ROOM}/redact/{{eventId}}/{{txnId}}",
        rooms.redact_event,
        auth=GUEST_OK,
        limit="message",
        body_limit=FREE_BODY,
    ),
]

# COMPAT(old clients, Sytest): these were served before there were transaction ids.
_WITHOUT_TRANSACTION: list[Route[ClientServices]] = [
    Route(
        "POST",
        f"{_ROOM}/send/{{eventType}}",
        legacy.send_without_transaction,
        auth=GUEST_OK,
        limit="message",
        body_limit=FREE_BODY,
    ),
    Route(
        "POST",
        f"{_ROOM}/redact/{{eventId}}",
        legacy.redact_without_transaction,
        auth=GUEST_OK,
        limit="message",
        body_limit=FREE_BODY,
    ),
]

_MEMBERSHIP: list[Route[ClientServices]] = [
    Route("POST", f"{V3}/join/{{roomIdOrAlias}}", membership.join_room, auth=GUEST_OK, limit="joins"),
    Route("POST", f"{_ROOM}/join", membership.join_room_by_id, auth=GUEST_OK, limit="joins"),
    Route("POST", f"{V3}/knock/{{roomIdOrAlias}}", membership.knock_room, limit="joins"),
    Route("POST", f"{_ROOM}/invite", membership.invite_user, limit="invites_issuer"),
    Route("POST", f"{_ROOM}/leave", membership.leave_room, auth=GUEST_OK),
    Route("POST", f"{_ROOM}/kick", membership.kick),
    Route("POST", f"{_ROOM}/ban", membership.ban),
    Route("POST", f"{_ROOM}/unban", membership.unban),
    Route("POST", f"{_ROOM}/forget", membership.forget_room, auth=GUEST_OK, body_limit=FREE_BODY),
    Route("GET", f"{V3}/joined_rooms", membership.get_joined_rooms, auth=GUEST_OK),
]

_READS: list[Route[ClientServices]] = [
    Route("GET", f"{_ROOM}/event/{{eventId}}", messages.get_one_room_event, auth=GUEST_OK),
    Route("GET", f"{_ROOM}/state", room_state.get_room_state, auth=GUEST_OK),
    Route("GET", f"{_STATE}/{{stateKey}}", room_state.get_room_state_with_key, auth=GUEST_OK),
    Route("GET", _STATE, room_state.get_room_state_with_key, auth=GUEST_OK, slash=True, fixed=_NO_KEY),
    Route("GET", f"{_ROOM}/members", room_state.get_members_by_room, auth=GUEST_OK),
    Route("GET", f"{_ROOM}/initialSync", peeking.room_initial_sync, auth=GUEST_OK),
    Route("GET", f"{V3}/initialSync", legacy.initial_sync, auth=GUEST_OK),
    Route("GET", f"{V3}/events/{{eventId}}", legacy.get_one_event, auth=GUEST_OK),
    Route("GET", f"{V3}/events", peeking.peek_events, auth=GUEST_OK, held=True, query_names=_FROM),
    Route("GET", f"{_ROOM}/joined_members", room_state.get_joined_members_by_room, auth=GUEST_OK),
    Route("GET", f"{_ROOM}/messages", messages.get_room_events, auth=GUEST_OK, query_names=_FROM),
    Route("GET", f"{_ROOM}/context/{{eventId}}", messages.get_event_context, auth=GUEST_OK),
    Route("GET", f"{V1}/rooms/{{roomId}}/timestamp_to_event", messages.get_event_by_timestamp, auth=GUEST_OK),
    Route("GET", _RELATIONS, messages.get_relating_events, auth=GUEST_OK, query_names=_FROM),
    Route(
        "GET",
        f"{_RELATIONS}/{{relType}}",
        messages.get_relating_events_with_rel_type,
        auth=GUEST_OK,
        query_names=_FROM,
    ),
    Route(
        "GET",
        f"{_RELATIONS}/{{relType}}/{{eventType}}",
        messages.get_relating_events_with_rel_type_and_event_type,
        auth=GUEST_OK,
        query_names=_FROM,
    ),
    Route("GET", f"{V1}/rooms/{{roomId}}/threads", messages.get_thread_roots, auth=GUEST_OK, query_names=_FROM),
]

_DIRECTORY: list[Route[ClientServices]] = [
    Route("GET", _ALIAS, directory.get_room_id_by_alias, auth=NONE),
    Route("PUT", _ALIAS, directory.set_room_alias),
    Route("DELETE", _ALIAS, directory.delete_room_alias),
    Route("GET", f"{_ROOM}/aliases", directory.get_local_aliases, auth=GUEST_OK),
    Route("GET", _LISTED, directory.get_room_visibility_on_directory, auth=NONE),
    Route("PUT", _LISTED, directory.set_room_visibility_on_directory),
    Route("GET", f"{V3}/publicRooms", directory.get_public_rooms, auth=NONE, limit="public_rooms"),
    Route("POST", f"{V3}/publicRooms", directory.query_public_rooms, auth=GUEST_OK, limit="public_rooms"),
    Route("GET", f"{V1}/rooms/{{roomId}}/hierarchy", directory.get_space_hierarchy, query_names=_FROM),
    Route("GET", f"{V1}/room_summary/{{roomIdOrAlias}}", directory.get_room_summary, auth=OPTIONAL, also=_SUMMARIES),
]

ROUTES_ROOMS: list[Route[ClientServices]] = [*_WRITES, *_WITHOUT_TRANSACTION, *_MEMBERSHIP, *_READS, *_DIRECTORY]
