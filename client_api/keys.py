"""Keys of devices and users, and messages to devices.  spec: client-server-api#end-to-end-encryption"""

from __future__ import annotations

from typing import Any

import msgspec

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.accounts.names import require_text


class UploadBody(msgspec.Struct):
    """Keys of the device that asks."""

    device_keys: dict[str, Any] | None = None
    # COMPAT(clients): some send null for what they do not have (element-hq/synapse#19023).
    one_time_keys: dict[str, Any] | None = None
    fallback_keys: dict[str, Any] | None = None
    # COMPAT(matrix-nio, older SDKs): the name before Matrix 1.2.
    unstable_fallback_keys: dict[str, Any] | None = msgspec.field(default=None, name="org.matrix.msc2732.fallback_keys")


class QueryBody(msgspec.Struct):
    """Whose keys."""

    device_keys: dict[str, list[str]]
    timeout: int | None = None


class ClaimBody(msgspec.Struct):
    """From which devices, and of which algorithm."""

    one_time_keys: dict[str, dict[str, str]]
    timeout: int | None = None


class SendBody(msgspec.Struct):
    """Messages by user and device."""

    # Not told apart further here: of a thousand messages it would make as many copies.
    messages: dict[str, Any]


async def upload_keys(api: ClientServices, who: Requester, *, body: UploadBody) -> dict[str, Any]:
    """Publish keys of the device."""
    fallback = body.fallback_keys or body.unstable_fallback_keys or {}
    counts = await api.e2e.keys.upload(_device(who), body.device_keys, body.one_time_keys or {}, fallback)
    return {"one_time_key_counts": counts}


async def query_keys(api: ClientServices, who: Requester, *, body: QueryBody) -> dict[str, Any]:
    """The keys of users."""
    return await api.e2e.keys.query(who.user_id, body.device_keys)


async def claim_keys(api: ClientServices, who: Requester, *, body: ClaimBody) -> dict[str, Any]:
    """Take one-time keys of devices."""
    return await api.e2e.keys.claim(body.one_time_keys)


async def get_keys_changes(api: ClientServices, who: Requester, *, from_: str, to: str) -> dict[str, Any]:
    """Whose keys have changed between two syncs."""
    changes = await api.e2e.changes.between(who.user_id, from_, to)
    return {"changed": changes.changed, "left": changes.left}


async def upload_cross_signing_keys(api: ClientServices, who: Requester, *, body: dict[str, Any]) -> None:
    """Publish the user's cross-signing keys."""
    await api.e2e.cross_signing.upload(who, body)


async def upload_cross_signing_signatures(
    api: ClientServices, who: Requester, *, body: dict[str, Any]
) -> dict[str, Any]:
    """Publish signatures on keys."""
    return {"failures": await api.e2e.cross_signing.sign(who.user_id, body)}


async def send_to_device(
    api: ClientServices, who: Requester, *, event_type: str, txn_id: str, body: SendBody
) -> dict[str, Any]:
    """Send messages to devices."""
    require_text(event_type, "eventType")
    require_text(txn_id, "txnId")
    await api.e2e.to_device.send((who.user_id, who.device_id or ""), event_type, txn_id, body.messages)
    return {}


def _device(who: Requester) -> tuple[str, str]:
    if who.device_id is None:
        raise MatrixError(ErrCode.INVALID_PARAM, "Only a device has keys: name one with device_id")
    return who.user_id, who.device_id
