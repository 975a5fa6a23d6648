"""Tables. One module per subject; `metadata` knows them all (the migrations create them)."""

from homeserver.storage.schema import receipts, rooms
from homeserver.storage.schema.base import metadata

__all__ = ["metadata", "receipts", "rooms"]
