"""The endpoints of what belongs to one user and changes often: push rules, receipts, typing, tags, presence."""

from __future__ import annotations

from client_api import (
    mail,
    notifications,
    people,
    presence,
    push_rules,
    pushers,
    receipts,
    reports,
    search,
    tags,
    typing,
    voip,
)
from client_api.bounds import FREE_BODY, RULE_BODY
from client_api.deps import ClientServices
from homeserver.web.route import Auth, Route

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"
GUEST_OK = Auth.GUEST_OK
_GLOBAL = f"{V3}/pushrules/global"
_RULE = f"{_GLOBAL}/{{kind}}/{{ruleId}}"
_ANY = f"{V3}/pushrules/{{scope}}"
_ANY_RULE = f"{_ANY}/{{kind}}/{{ruleId}}"
_MALFORMED = [
    *(("GET", path) for path in (f"{V3}/pushrules", _ANY, f"{_ANY}/", f"{_ANY}/{{kind}}", f"{_ANY}/{{kind}}/")),
    *((method, path) for method in ("GET", "PUT", "DELETE") for path in (_ANY_RULE, f"{_ANY_RULE}/{{attribute}}")),
]
_ROOM = f"{V3}/rooms/{{roomId}}"
_TAGS = f"{V3}/user/{{userId}}/rooms/{{roomId}}/tags"
_FROM = {"from_": "from"}
_MUTUAL = ("/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",)
_MAIL = "/_matrix/client/unstable/chat.hromada/mail"
_MAIL_BODY = 4_096
_PRESENCE = f"{V3}/presence/{{userId}}/status"

PERSONAL_ROUTES: list[Route[ClientServices]] = [
    Route("GET", f"{V3}/pushrules/", push_rules.get_push_rules, auth=GUEST_OK),
    Route("GET", f"{_GLOBAL}/", push_rules.get_push_rules_global, auth=GUEST_OK),
    Route("GET", f"{_GLOBAL}/{{kind}}/", push_rules.get_push_rules_of_kind, auth=GUEST_OK),
    Route("GET", _RULE, push_rules.get_push_rule, auth=GUEST_OK),
    Route("PUT", _RULE, push_rules.set_push_rule, body_limit=RULE_BODY),
    Route("DELETE", _RULE, push_rules.delete_push_rule),
    Route("GET", f"{_RULE}/enabled", push_rules.is_push_rule_enabled, auth=GUEST_OK),
    Route("PUT", f"{_RULE}/enabled", push_rules.set_push_rule_enabled),
    Route("GET", f"{_RULE}/actions", push_rules.get_push_rule_actions, auth=GUEST_OK),
    Route("PUT", f"{_RULE}/actions", push_rules.set_push_rule_actions, body_limit=RULE_BODY),
    *(Route(method, path, push_rules.refuse_push_rules_path, auth=GUEST_OK) for method, path in _MALFORMED),
    Route(
        "POST", f"{_ROOM}/receipt/{{receiptType}}/{{eventId}}", receipts.post_receipt, auth=GUEST_OK, limit="receipts"
    ),
    Route("POST", f"{_ROOM}/read_markers", receipts.set_read_marker, auth=GUEST_OK, limit="receipts"),
    Route("GET", f"{V3}/notifications", notifications.get_notifications, query_names=_FROM),
    Route("GET", f"{V3}/pushers", pushers.get_pushers),
    Route("POST", f"{V3}/pushers/set", pushers.post_pusher, limit="pushers", body_limit=FREE_BODY),
    *(
        Route(method, f"{_MAIL}/{purpose}", handler, auth=Auth.NONE, body_limit=_MAIL_BODY, fixed={"purpose": purpose})
        for purpose in ("confirm", "unsubscribe")
        for method, handler in (("GET", mail.get_mail_page), ("POST", mail.post_mail_page))
    ),
    Route("PUT", f"{_ROOM}/typing/{{userId}}", typing.set_typing, auth=GUEST_OK, limit="typing"),
    Route("GET", _TAGS, tags.get_room_tags, auth=GUEST_OK),
    Route("PUT", f"{_TAGS}/{{tag}}", tags.set_room_tag, auth=GUEST_OK, body_limit=RULE_BODY),
    Route("DELETE", f"{_TAGS}/{{tag}}", tags.delete_room_tag, auth=GUEST_OK),
    Route("GET", _PRESENCE, presence.get_presence, auth=GUEST_OK),
    Route("PUT", _PRESENCE, presence.set_presence, auth=GUEST_OK, limit="presence"),
    Route("POST", f"{V3}/search", search.search, limit="search"),
    Route("POST", f"{V3}/user_directory/search", people.search_user_directory, limit="user_directory"),
    Route("GET", f"{V1}/mutual_rooms", people.get_mutual_rooms, query_names=_FROM, also=_MUTUAL),
    Route("POST", f"{_ROOM}/report", reports.report_room, limit="reports"),
    Route("POST", f"{_ROOM}/report/{{eventId}}", reports.report_event, limit="reports"),
    Route("POST", f"{V3}/users/{{userId}}/report", reports.report_user, limit="reports"),
    Route("GET", f"{V3}/voip/turnServer", voip.get_turn_server, auth=GUEST_OK),
]
