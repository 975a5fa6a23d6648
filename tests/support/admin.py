"""Administrators of the server under test, and what stands in the record of their acts."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from tests.support.client import PASSWORD, Client, Json
from tests.support.fixtures import fresh
from tests.support.server import SHARED_SECRET

V1 = "/_synapse/admin/v1"
V2 = "/_synapse/admin/v2"
OWN = "/_hromada/admin/v1"


async def administrator(anonymous: Client) -> Client:
    """A new administrator."""
    name = fresh("admin")
    nonce = (await anonymous.ok("GET", f"{V1}/register"))["nonce"]
    mac = hmac.new(SHARED_SECRET.encode(), "\0".join([nonce, name, PASSWORD, "admin"]).encode(), hashlib.sha1)
    body = {"nonce": nonce, "username": name, "password": PASSWORD, "admin": True, "mac": mac.hexdigest()}
    return anonymous.anonymous().adopt(await anonymous.ok("POST", f"{V1}/register", body))


async def acts(admin: Client, **search: Any) -> list[Json]:
    """What stands in the record, the newest first."""
    found: list[Json] = (await admin.ok("GET", f"{OWN}/audit", params=search))["acts"]
    return found
