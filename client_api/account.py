"""The account itself: password, deactivation, and what administrators do to accounts.

spec: client-server-api#account-management, client-server-api#server-administration
"""

from __future__ import annotations

from typing import Any

import msgspec

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import Device
from homeserver.ports.requester import Requester


class Lock(msgspec.Struct):
    """Whether an account is locked."""

    locked: bool


class Suspension(msgspec.Struct):
    """Whether an account is suspended."""

    suspended: bool


async def change_password(api: ClientServices, who: Requester | None, *, body: dict[str, Any]) -> None:
    """Change the password; without an access token, set a lost one anew."""
    if who is not None and who.is_guest:
        raise MatrixError(ErrCode.GUEST_ACCESS_FORBIDDEN, "Guests may not do this")
    new_password = body.get("new_password")
    if new_password is None:
        raise MatrixError(ErrCode.MISSING_PARAM, "new_password is missing")
    if not isinstance(new_password, str):
        raise MatrixError(ErrCode.BAD_JSON, "new_password must be a string")
    if who is None:
        await api.accounts.account.reset_password(new_password, body)
    else:
        await api.accounts.account.change_password(who, new_password, body)


async def deactivate_account(api: ClientServices, who: Requester, *, body: dict[str, Any]) -> dict[str, Any]:
    """Deactivate the account for good. No identity server knows of its addresses: there is nothing to unbind."""
    await api.accounts.account.deactivate_own(who, body)
    return {"id_server_unbind_result": "success"}


async def get_who_is(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """Devices and addresses of an account."""
    devices = {
        device.device_id: {"sessions": [{"connections": [_connection(device)]}] if device.seen_ip is not None else []}
        for device in api.accounts.devices.newest(await api.accounts.admin.whois(who, user_id))
    }
    return {"user_id": user_id, "devices": devices}


def _connection(device: Device) -> dict[str, Any]:
    agent = {} if device.seen_agent is None else {"user_agent": device.seen_agent}
    return {"ip": device.seen_ip, "last_seen": device.seen_ms, **agent}


async def get_admin_lock_user(api: ClientServices, who: Requester, *, user_id: str) -> Lock:
    """Whether an account is locked."""
    return Lock((await api.accounts.admin.moderated(who, user_id)).locked)


async def set_admin_lock_user(api: ClientServices, who: Requester, *, user_id: str, body: Lock) -> Lock:
    """Lock or unlock an account."""
    await api.accounts.admin.set_locked(who, user_id, body.locked)
    return body


async def get_admin_suspend_user(api: ClientServices, who: Requester, *, user_id: str) -> Suspension:
    """Whether an account is suspended."""
    return Suspension((await api.accounts.admin.moderated(who, user_id)).suspended)


async def set_admin_suspend_user(api: ClientServices, who: Requester, *, user_id: str, body: Suspension) -> Suspension:
    """Suspend an account, or lift the suspension."""
    await api.accounts.admin.set_suspended(who, user_id, body.suspended)
    return body
