"""The admin API, at the paths that existing tools ask. For administrators only (docs/operating/admin-api.md)."""

from __future__ import annotations

from client_api import admin, admin_media, admin_moderation, admin_rooms, admin_sites, admin_users
from client_api.deps import ClientServices
from homeserver.web.route import Auth, Route

V1 = "/_synapse/admin/v1"
V2 = "/_synapse/admin/v2"
OWN = "/_hromada/admin/v1"
ADMIN = Auth.ADMIN
_FROM = {"from_": "from"}
_ORDER = {"from_": "from", "dir_": "dir"}
_KINDS = {"visitors": "chat.hromada.visitors", "suspended": "chat.hromada.suspended"}
_USER = f"{V2}/users/{{userId}}"
_USER_V1 = f"{V1}/users/{{userId}}"
_ROOM = f"{V1}/rooms/{{roomId}}"
_TOKENS = f"{V1}/registration_tokens"
_REPORTS = (f"{V1}/event_reports", f"{OWN}/reports")
_SITE = f"{OWN}/sites/{{siteId}}"
_DEVICE = f"{_USER}/devices/{{deviceId}}"

ADMIN_ROUTES: list[Route[ClientServices]] = [
    Route("GET", f"{V1}/server_version", admin.get_server_version, auth=ADMIN),
    Route("GET", f"{OWN}/audit", admin.get_audit, auth=ADMIN, query_names=_FROM),
    Route("GET", f"{V2}/users", admin_users.list_accounts, auth=ADMIN, query_names={**_ORDER, **_KINDS}),
    Route("GET", _USER, admin_users.get_account, auth=ADMIN),
    Route("PUT", _USER, admin_users.put_account, auth=ADMIN),
    Route("POST", f"{V1}/deactivate/{{userId}}", admin_users.deactivate_user, auth=ADMIN),
    Route("POST", f"{V1}/reset_password/{{userId}}", admin_users.reset_password, auth=ADMIN),
    Route("GET", f"{_USER_V1}/admin", admin_users.get_user_admin, auth=ADMIN),
    Route("PUT", f"{_USER_V1}/admin", admin_users.set_user_admin, auth=ADMIN),
    Route("POST", f"{V1}/suspend/{{userId}}", admin_users.suspend_user, auth=ADMIN),
    Route("PUT", f"{V1}/suspend/{{userId}}", admin_users.suspend_user, auth=ADMIN),
    Route("GET", f"{_USER_V1}/joined_rooms", admin_users.get_joined_rooms_of, auth=ADMIN),
    Route("GET", f"{V1}/whois/{{userId}}", admin_users.whois, auth=ADMIN),
    Route("GET", f"{V1}/username_available", admin_users.is_username_available, auth=ADMIN),
    Route("GET", f"{_USER}/devices", admin_users.get_devices_of, auth=ADMIN),
    Route("POST", f"{_USER}/delete_devices", admin_users.delete_devices_of, auth=ADMIN),
    Route("GET", _DEVICE, admin_users.get_device_of, auth=ADMIN),
    Route("PUT", _DEVICE, admin_users.update_device_of, auth=ADMIN),
    Route("DELETE", _DEVICE, admin_users.delete_device_of, auth=ADMIN),
    Route("GET", f"{V1}/rooms", admin_rooms.list_rooms, auth=ADMIN, query_names=_ORDER),
    Route("GET", _ROOM, admin_rooms.get_room, auth=ADMIN),
    Route("GET", f"{_ROOM}/members", admin_rooms.get_room_members, auth=ADMIN),
    Route("GET", f"{_ROOM}/state", admin_rooms.get_room_state_of, auth=ADMIN),
    Route("GET", f"{_ROOM}/block", admin_rooms.get_room_block, auth=ADMIN),
    Route("PUT", f"{_ROOM}/block", admin_rooms.set_room_block, auth=ADMIN),
    Route("DELETE", f"{V2}/rooms/{{roomId}}", admin_rooms.delete_room, auth=ADMIN),
    Route("GET", f"{V2}/rooms/{{roomId}}/delete_status", admin_rooms.get_delete_statuses, auth=ADMIN),
    Route("GET", f"{V2}/rooms/delete_status/{{deleteId}}", admin_rooms.get_delete_status, auth=ADMIN),
    Route("GET", f"{V1}/statistics/users/media", admin_media.get_uploaders, auth=ADMIN, query_names=_ORDER),
    Route("GET", f"{_USER_V1}/media", admin_media.get_media_of, auth=ADMIN, query_names=_ORDER),
    Route("DELETE", f"{_USER_V1}/media", admin_media.delete_media_of, auth=ADMIN, query_names=_ORDER),
    Route("DELETE", f"{V1}/media/{{serverName}}/{{mediaId}}", admin_media.delete_media, auth=ADMIN),
    Route("POST", f"{V1}/user/{{userId}}/media/quarantine", admin_media.quarantine_media_of, auth=ADMIN),
    *(
        Route(
            "POST",
            f"{V1}/media/{word}/{{serverName}}/{{mediaId}}",
            admin_media.set_quarantine,
            auth=ADMIN,
            fixed={"quarantined": word == "quarantine"},
        )
        for word in ("quarantine", "unquarantine")
    ),
    *(
        Route(
            "POST",
            f"{V1}/media/{word}/{{mediaId}}",
            admin_media.set_protection,
            auth=ADMIN,
            fixed={"protected": word == "protect"},
        )
        for word in ("protect", "unprotect")
    ),
    Route("GET", f"{OWN}/sites", admin_sites.list_sites, auth=ADMIN),
    Route("POST", f"{OWN}/sites", admin_sites.add_site, auth=ADMIN),
    Route("GET", _SITE, admin_sites.get_site, auth=ADMIN),
    Route("PUT", _SITE, admin_sites.edit_site, auth=ADMIN),
    Route("DELETE", _SITE, admin_sites.remove_site, auth=ADMIN),
    Route("POST", f"{_SITE}/preview", admin_sites.preview_site, auth=ADMIN),
    Route("POST", f"{_SITE}/rotate_key", admin_sites.rotate_site_key, auth=ADMIN),
    Route("POST", f"{_SITE}/agents", admin_sites.add_site_agent, auth=ADMIN),
    Route("DELETE", f"{_SITE}/agents/{{userId}}", admin_sites.remove_site_agent, auth=ADMIN),
    Route("GET", f"{_SITE}/blocked", admin_sites.list_blocked, auth=ADMIN, query_names=_FROM),
    Route("DELETE", f"{_SITE}/blocked/{{number}}", admin_sites.unblock_visitor, auth=ADMIN),
    Route("GET", _TOKENS, admin_moderation.get_registration_tokens, auth=ADMIN),
    Route("POST", f"{_TOKENS}/new", admin_moderation.new_registration_token, auth=ADMIN),
    Route("GET", f"{_TOKENS}/{{token}}", admin_moderation.get_registration_token, auth=ADMIN),
    Route("PUT", f"{_TOKENS}/{{token}}", admin_moderation.set_registration_token, auth=ADMIN),
    Route("DELETE", f"{_TOKENS}/{{token}}", admin_moderation.delete_registration_token, auth=ADMIN),
    *(
        Route(
            "GET",
            path,
            admin_moderation.list_reports,
            auth=ADMIN,
            query_names=_ORDER,
            fixed={"events_only": path.endswith("/event_reports")},
        )
        for path in _REPORTS
    ),
    *(Route("GET", f"{path}/{{reportId}}", admin_moderation.get_report, auth=ADMIN) for path in _REPORTS),
    *(Route("DELETE", f"{path}/{{reportId}}", admin_moderation.delete_report, auth=ADMIN) for path in _REPORTS),
]
