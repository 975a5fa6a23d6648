"""What clients ask before anything else: versions, well-known documents, capabilities.

Says only what is true: a feature flag appears here with the commit that serves the feature.
spec: client-server-api#server-discovery, client-server-api#capabilities-negotiation
"""

from __future__ import annotations

from typing import Any

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.requester import Requester

# A version is listed if what it brought for clients is served; docs/compatibility.md says what of older ones is not.
# COMPAT(matrix-js-sdk): wants at least one of v1.1 … v1.13 literally, so every version is listed, not the newest only.
VERSIONS = tuple(f"v1.{minor}" for minor in range(1, 20))


async def get_versions(api: ClientServices, who: Requester | None) -> dict[str, Any]:
    """The specification versions and unstable features of this server."""
    features = dict.fromkeys(api.info.unstable_features, True)
    # COMPAT(Element): it does not offer to leave encryption out where the server adds it anyway.
    if api.info.encrypt_by_default in {"all", "private"}:
        features |= {"io.element.e2ee_forced.private": True, "io.element.e2ee_forced.trusted_private": True}
    if api.info.encrypt_by_default == "all":
        features["io.element.e2ee_forced.public"] = True
    return {"versions": VERSIONS, "unstable_features": features}


async def get_wellknown(api: ClientServices) -> dict[str, Any]:
    """Where the clients of this domain find their server."""
    return {"m.homeserver": {"base_url": api.info.base_url}, **api.info.extra_well_known}


async def get_wellknown_support(api: ClientServices) -> dict[str, Any]:
    """Whom to ask about this server."""
    support: dict[str, Any] = {}
    if api.info.support_contacts:
        support["contacts"] = api.info.support_contacts
    if api.info.support_page is not None:
        support["support_page"] = api.info.support_page
    if not support:
        raise MatrixError(ErrCode.NOT_FOUND, "No support contact is configured")
    return support


async def get_capabilities(api: ClientServices, who: Requester) -> dict[str, Any]:
    """What this user may do here."""
    info = api.info
    can_change_password = info.can_change_password and await api.accounts.account.can_change_password(who.user_id)
    fields: dict[str, Any] = {"enabled": info.can_set_displayname or info.can_set_avatar_url}
    disallowed = [
        name
        for name, allowed in (("displayname", info.can_set_displayname), ("avatar_url", info.can_set_avatar_url))
        if not allowed
    ]
    if disallowed:
        fields["disallowed"] = disallowed
    # spec: client-server-api#get_matrixclientv3capabilities
    moderation = {"m.account_moderation": {"suspend": True, "lock": True}} if who.is_admin else {}
    return {
        "capabilities": {
            **moderation,
            "m.change_password": {"enabled": can_change_password},
            "m.room_versions": {
                "default": info.default_room_version,
                "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
            },
            "m.set_displayname": {"enabled": info.can_set_displayname},
            "m.set_avatar_url": {"enabled": info.can_set_avatar_url},
            "m.3pid_changes": {"enabled": info.can_change_3pids},
            "m.profile_fields": fields,
            "m.get_login_token": {"enabled": info.can_get_login_token},
        }
    }
