"""Tables. One module per subject; `metadata` knows them all (the migrations create them)."""

from homeserver.storage.schema import accounts, receipts, relations, reports, rooms
from homeserver.storage.schema.base import metadata

__all__ = ["accounts", "metadata", "receipts", "relations", "reports", "rooms"]
