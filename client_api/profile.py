"""Profiles.  spec: client-server-api#profiles"""

from __future__ import annotations

from typing import Any

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester


async def get_user_profile(api: ClientServices, *, user_id: str) -> dict[str, Any]:
    """A whole profile."""
    return await api.accounts.profiles.get(user_id)


async def get_profile_field(api: ClientServices, *, user_id: str, key_name: str) -> dict[str, Any]:
    """One field of a profile."""
    return {key_name: await api.accounts.profiles.get_field(user_id, key_name)}


async def set_profile_field(
    api: ClientServices, who: Requester, *, user_id: str, key_name: str, body: dict[str, Any]
) -> None:
    """Set a field of one's profile."""
    if key_name not in body:
        raise MatrixError(ErrCode.MISSING_PARAM, f"{key_name} is missing")
    await api.accounts.profiles.put_field(who, user_id, key_name, body[key_name])


async def delete_profile_field(api: ClientServices, who: Requester, *, user_id: str, key_name: str) -> None:
    """Remove a field of one's profile."""
    await api.accounts.profiles.delete_field(who, user_id, key_name)
