"""The endpoints of accounts and of what belongs to one user.  spec: client-server-api#account-management"""

from __future__ import annotations

from client_api import (
    account,
    account_data,
    addresses,
    devices,
    fallback,
    filters,
    mail,
    profile,
    registration,
    sessions,
)
from client_api.bounds import FREE_BODY
from client_api.deps import ClientServices
from homeserver.services.accounts.address_checks import PATH
from homeserver.web.route import Auth, Route

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"
NONE, GUEST_OK = Auth.NONE, Auth.GUEST_OK
_FIELD = f"{V3}/profile/{{userId}}/{{keyName}}"
_FIELD_UNSTABLE = ("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}",)
_DATA = f"{V3}/user/{{userId}}/account_data/{{type}}"
_ROOM_DATA = f"{V3}/user/{{userId}}/rooms/{{roomId}}/account_data/{{type}}"
_VALIDITY = f"{V1}/register/m.login.registration_token/validity"
_FALLBACK = f"{V3}/auth/{{authType}}/fallback/web"
_PAGE_BODY = 4_096
_SHARED_SECRET = "/_synapse/admin/v1/register"

ROUTES_ACCOUNTS: list[Route[ClientServices]] = [
    Route("POST", f"{V3}/register", registration.register, auth=NONE, limit="registration", body_limit=FREE_BODY),
    Route(
        "GET",
        f"{V3}/register/available",
        registration.check_username_availability,
        auth=NONE,
        limit="username_availability",
    ),
    Route("GET", _VALIDITY, registration.registration_token_validity, auth=NONE, limit="registration_token_validity"),
    Route("GET", _FALLBACK, fallback.get_fallback_page, auth=NONE),
    Route(
        "POST",
        _FALLBACK,
        fallback.complete_fallback_stage,
        auth=NONE,
        limit="registration_token_validity",
        body_limit=FREE_BODY,
    ),
    Route("GET", _SHARED_SECRET, registration.get_registration_nonce, auth=NONE, limit="username_availability"),
    Route("POST", _SHARED_SECRET, registration.register_with_shared_secret, auth=NONE, limit="registration"),
    Route("GET", f"{V3}/login", sessions.get_login_flows, auth=NONE),
    Route("POST", f"{V3}/login", sessions.login, auth=NONE, limit="login_address", body_limit=FREE_BODY),
    Route("POST", f"{V1}/login/get_token", sessions.generate_login_token, limit="login_token", body_limit=FREE_BODY),
    Route("POST", f"{V3}/refresh", sessions.refresh, auth=NONE, limit="refresh"),
    Route("POST", f"{V3}/logout", sessions.logout, auth=NONE),
    Route("POST", f"{V3}/logout/all", sessions.logout_all, auth=NONE),
    Route("GET", f"{V3}/account/whoami", sessions.get_token_owner, auth=GUEST_OK),
    Route(
        "POST",
        f"{V3}/account/password",
        account.change_password,
        auth=Auth.OPTIONAL,
        limit="password",
        body_limit=FREE_BODY,
    ),
    Route("POST", f"{V3}/account/deactivate", account.deactivate_account, body_limit=FREE_BODY),
    Route("GET", f"{V3}/account/3pid", addresses.get_account_3pids),
    Route("POST", f"{V3}/account/3pid/add", addresses.add_3pid, body_limit=FREE_BODY),
    Route("POST", f"{V3}/account/3pid/delete", addresses.delete_3pid_from_account),
    Route(
        "POST",
        f"{V3}/account/3pid/email/requestToken",
        addresses.request_token_to_3pid_email,
        auth=Auth.OPTIONAL,
        limit="address_checks",
    ),
    Route(
        "POST",
        f"{V3}/account/password/email/requestToken",
        addresses.request_token_to_reset_password_email,
        auth=NONE,
        limit="address_checks",
    ),
    Route(
        "POST",
        f"{V3}/register/email/requestToken",
        addresses.request_token_to_register_email,
        auth=NONE,
        limit="address_checks",
    ),
    Route("GET", PATH, mail.get_address_page, auth=NONE),
    Route("POST", PATH, mail.post_address_page, auth=NONE, body_limit=_PAGE_BODY),
    Route("GET", f"{V3}/admin/whois/{{userId}}", account.get_who_is),
    Route("GET", f"{V1}/admin/lock/{{userId}}", account.get_admin_lock_user),
    Route("PUT", f"{V1}/admin/lock/{{userId}}", account.set_admin_lock_user),
    Route("GET", f"{V1}/admin/suspend/{{userId}}", account.get_admin_suspend_user),
    Route("PUT", f"{V1}/admin/suspend/{{userId}}", account.set_admin_suspend_user),
    Route("GET", f"{V3}/devices", devices.get_devices, auth=GUEST_OK),
    Route("GET", f"{V3}/devices/{{deviceId}}", devices.get_device, auth=GUEST_OK),
    Route("PUT", f"{V3}/devices/{{deviceId}}", devices.update_device, auth=GUEST_OK),
    Route("DELETE", f"{V3}/devices/{{deviceId}}", devices.delete_device, body_limit=FREE_BODY),
    Route("POST", f"{V3}/delete_devices", devices.delete_devices, body_limit=FREE_BODY),
    Route("GET", f"{V3}/profile/{{userId}}", profile.get_user_profile, auth=NONE),
    Route("GET", _FIELD, profile.get_profile_field, auth=NONE, also=_FIELD_UNSTABLE),
    Route(
        "PUT",
        _FIELD,
        profile.set_profile_field,
        auth=GUEST_OK,
        also=_FIELD_UNSTABLE,
        limit="profile",
        body_limit=FREE_BODY,
    ),
    Route("DELETE", _FIELD, profile.delete_profile_field, auth=GUEST_OK, also=_FIELD_UNSTABLE, limit="profile"),
    Route("GET", _DATA, account_data.get_account_data, auth=GUEST_OK),
    Route("PUT", _DATA, account_data.set_account_data, auth=GUEST_OK),
    Route("GET", _ROOM_DATA, account_data.get_account_data_per_room, auth=GUEST_OK),
    Route("PUT", _ROOM_DATA, account_data.set_account_data_per_room, auth=GUEST_OK),
    Route("POST", f"{V3}/user/{{userId}}/filter", filters.define_filter, auth=GUEST_OK),
    Route("GET", f"{V3}/user/{{userId}}/filter/{{filterId}}", filters.get_filter, auth=GUEST_OK),
]
