"""Tables. One module per subject; `metadata` knows them all (the migrations create them)."""

from homeserver.storage.schema import (
    accounts,
    addresses,
    administration,
    appservices,
    backups,
    duties,
    e2e,
    identity,
    media,
    pushers,
    receipts,
    relations,
    reports,
    rooms,
    search,
    support,
)
from homeserver.storage.schema.base import metadata

__all__ = [
    "accounts",
    "addresses",
    "administration",
    "appservices",
    "backups",
    "duties",
    "e2e",
    "identity",
    "media",
    "metadata",
    "pushers",
    "receipts",
    "relations",
    "reports",
    "rooms",
    "search",
    "support",
]
