"""Accounts for administrators, at the paths that existing tools ask (docs/operating/admin-api.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from client_api.account import get_who_is
from client_api.administration import DEFAULT_PAGE, next_token, paging
from client_api.bounds import DEVICES, USERS, Id, Line, Text
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.folding import folded
from homeserver.ports.accounts import Device, UserFlags
from homeserver.ports.addresses import UserAddress
from homeserver.ports.administration import AccountRow, Holdings, UserSearch
from homeserver.ports.requester import Requester
from homeserver.services.administration.users import AccountChange, text_of
from homeserver.web.response import Json

Order = Literal[
    "name",
    "displayname",
    "avatar_url",
    "is_guest",
    "admin",
    "deactivated",
    "locked",
    "creation_ts",
    "last_seen_ts",
    "user_type",
    "shadow_banned",
]
_WITHOUT_ORDER = ("user_type", "shadow_banned")
_SECOND_MS = 1000

Nothing = Annotated[list[Any], Meta(max_length=0)]


class AddressBody(msgspec.Struct):
    """An address that an account keeps."""

    medium: Id
    address: Line


Addresses = Annotated[list[AddressBody], Meta(max_length=USERS)]


class AccountBody(msgspec.Struct):
    """An account as it is to be. What this server has no notion of may only be said to be empty."""

    password: Text | None = None
    displayname: Text | None = None
    avatar_url: Text | None = None
    admin: bool | None = None
    deactivated: bool | None = None
    locked: bool | None = None
    suspended: bool | None = None
    logout_devices: bool = True
    threepids: Addresses | None = None
    external_ids: Nothing | None = None
    user_type: Id | None = None


class DeactivateBody(msgspec.Struct):
    """How to close an account."""

    erase: bool = False


class ResetPasswordBody(msgspec.Struct):
    """A new password."""

    new_password: Text
    logout_devices: bool = True


class AdminBody(msgspec.Struct):
    """Whether somebody is an administrator."""

    admin: bool


class SuspendBody(msgspec.Struct):
    """Whether an account is suspended."""

    suspend: bool


class DeviceBody(msgspec.Struct):
    """A device's new name."""

    display_name: Line | None = None


class DeleteDevicesBody(msgspec.Struct):
    """Devices to log out."""

    devices: Annotated[list[Id], Meta(max_length=DEVICES)]


async def list_accounts(  # noqa: PLR0913 - one parameter for each of the query's
    api: ClientServices,
    who: Requester,
    *,
    from_: int = 0,
    limit: int = DEFAULT_PAGE,
    user_id: str = "",
    name: str = "",
    guests: bool = True,
    deactivated: bool = False,
    locked: bool = False,
    admins: bool | None = None,
    visitors: bool = False,
    suspended: bool = False,
    order_by: Order = "name",
    dir_: Literal["f", "b"] = "f",
) -> dict[str, Any]:
    """A page of accounts."""
    if len(name) > 256 or len(user_id) > 256:
        raise MatrixError(ErrCode.INVALID_PARAM, "Nobody's name is so long")
    offset, limit = paging(from_, limit, api.administration.max_page)
    order = "name" if order_by in _WITHOUT_ORDER else order_by
    search = UserSearch(
        folded(name),
        user_id.lower(),
        guests,
        deactivated,
        locked,
        admins,
        visitors,
        suspended,
        order,
        descending=dir_ == "b",
    )
    users = api.administration.users
    rows, total = await users.page(search, offset, limit)
    held = await users.holdings([row.user.user_id for row in rows])
    listed = [_listed(row, held.get(row.user.user_id, Holdings())) for row in rows]
    return {"users": listed, "total": total, **next_token(offset, len(rows), total)}


async def get_account(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """One account."""
    users = api.administration.users
    return _shown(await users.find(user_id), await users.addresses(user_id))


async def put_account(api: ClientServices, who: Requester, *, user_id: str, body: AccountBody) -> Json:
    """Make or change an account: 201 if it was made."""
    if body.user_type is not None:
        raise MatrixError(ErrCode.INVALID_PARAM, "This server has no types of users")
    change = AccountChange(
        body.password,
        body.displayname,
        body.avatar_url,
        body.admin,
        body.deactivated,
        body.locked,
        body.suspended,
        body.logout_devices,
        None if body.threepids is None else [one.address for one in body.threepids],
    )
    users = api.administration.users
    row, is_new = await users.put(who, user_id, change)
    return Json.of(_shown(row, await users.addresses(row.user.user_id)), 201 if is_new else 200)


async def deactivate_user(
    api: ClientServices, who: Requester, *, user_id: str, body: DeactivateBody | None = None
) -> dict[str, Any]:
    """Close an account for good."""
    await api.administration.users.deactivate(who, user_id, erase=body is not None and body.erase)
    return {"id_server_unbind_result": "success"}


async def reset_password(
    api: ClientServices, who: Requester, *, user_id: str, body: ResetPasswordBody
) -> dict[str, Any]:
    """Give an account a new password."""
    users = api.administration.users
    await users.reset_password(who, user_id, body.new_password, logout_devices=body.logout_devices)
    return {}


async def get_user_admin(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """Whether somebody is an administrator."""
    return {"admin": (await api.administration.users.find(user_id)).user.is_admin}


async def set_user_admin(api: ClientServices, who: Requester, *, user_id: str, body: AdminBody) -> dict[str, Any]:
    """Make somebody an administrator, or no longer."""
    await api.administration.users.set_flags(who, user_id, UserFlags(is_admin=body.admin))
    return {}


async def suspend_user(api: ClientServices, who: Requester, *, user_id: str, body: SuspendBody) -> dict[str, Any]:
    """Suspend an account, or lift that."""
    await api.administration.users.set_flags(who, user_id, UserFlags(suspended=body.suspend))
    return {f"user_{user_id}_suspended": body.suspend}


async def get_joined_rooms_of(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """The rooms that somebody is joined to."""
    await api.administration.users.find(user_id)
    rooms = await api.rooms.memberships.joined_rooms(user_id)
    return {"joined_rooms": rooms, "total": len(rooms)}


async def whois(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """Devices and addresses of an account."""
    await api.administration.users.find(user_id)
    return await get_who_is(api, who, user_id=user_id)


async def is_username_available(api: ClientServices, who: Requester, *, username: str) -> dict[str, Any]:
    """Whether an account of this name could be made."""
    await api.administration.users.check_available(username)
    return {"available": True}


# --- devices ---


async def get_devices_of(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """All devices of an account."""
    await api.administration.users.find(user_id)
    devices = await api.accounts.devices.all(user_id)
    return {"devices": [_device(device) for device in devices], "total": len(devices)}


async def get_device_of(api: ClientServices, who: Requester, *, user_id: str, device_id: str) -> dict[str, Any]:
    """One device."""
    await api.administration.users.find(user_id)
    return _device(await api.accounts.devices.get(user_id, device_id))


async def update_device_of(
    api: ClientServices, who: Requester, *, user_id: str, device_id: str, body: DeviceBody
) -> dict[str, Any]:
    """Give a device another name."""
    await api.administration.users.rename_device(who, user_id, device_id, body.display_name)
    return {}


async def delete_device_of(api: ClientServices, who: Requester, *, user_id: str, device_id: str) -> dict[str, Any]:
    """Log a device out and delete it."""
    await api.administration.users.end_devices(who, user_id, [device_id])
    return {}


async def delete_devices_of(
    api: ClientServices, who: Requester, *, user_id: str, body: DeleteDevicesBody
) -> dict[str, Any]:
    """Log devices out and delete them."""
    await api.administration.users.end_devices(who, user_id, body.devices)
    return {}


def _device(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": device.seen_ip,
        "last_seen_ts": device.seen_ms,
        "last_seen_user_agent": device.seen_agent,
        "user_id": device.user_id,
    }


def _common(row: AccountRow) -> dict[str, Any]:
    user = row.user
    return {
        "name": user.user_id,
        "displayname": text_of(row.displayname),
        "avatar_url": text_of(row.avatar_url),
        "is_guest": user.is_guest,
        "admin": user.is_admin,
        "deactivated": user.deactivated,
        "erased": user.erased,
        "locked": user.locked,
        "suspended": user.suspended,
        "shadow_banned": False,
        "user_type": None,
        "last_seen_ts": row.seen_ms,
        "chat.hromada.site_id": user.site_id,
    }


def _listed(row: AccountRow, held: Holdings) -> dict[str, Any]:
    # COMPAT(admin tools): milliseconds in lists, seconds in an account by itself.
    return {
        **_common(row),
        "creation_ts": row.user.created_ms,
        "chat.hromada.devices": held.devices,
        "chat.hromada.media_length": held.media_bytes,
    }


def _shown(row: AccountRow, addresses: Sequence[UserAddress]) -> dict[str, Any]:
    return {
        **_common(row),
        "creation_ts": row.user.created_ms // _SECOND_MS,
        "appservice_id": row.user.appservice_id,
        "threepids": [
            {"medium": one.medium, "address": one.address, "added_at": one.added_ms, "validated_at": one.validated_ms}
            for one in addresses
        ],
        "external_ids": [],
        "consent_server_notice_sent": None,
        "consent_version": None,
        "consent_ts": None,
    }
