"""Keys of devices and users, and messages to devices.  spec: client-server-api#end-to-end-encryption

Everything here ends with its device or its user; a message to a device ends when the device has acknowledged it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text

from homeserver.storage.schema.base import BigId, metadata

device_keys = Table(
    "device_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("json", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# A device's one-time keys of an algorithm, of which the oldest is claimed first: what is claimed is a number, so that a
# claim changes one small row in place and no key, and what is left is counted without being looked at.
key_queues = Table(
    "key_queues",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("algorithm", Text, primary_key=True),
    Column("queue", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),  # ordinal of the newest key
    Column("claimed", BigInteger, nullable=False),  # those up to this one are
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "70"},
)

one_time_keys = Table(
    "one_time_keys",
    metadata,
    Column("queue", BigInteger, primary_key=True, autoincrement=False),  # of key_queues
    # Ordinals, from 1, in the order of being claimed, of the first and the last key in the row: one for each would make
    # an upload of fifty keys cost the database five times as much.
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("keys", LargeBinary, nullable=False),  # a line for each: its JSON, a tab, its id as JSON
    sqlite_with_rowid=False,
)

one_time_key_ids = Table(
    "one_time_key_ids",
    metadata,
    Column("queue", BigInteger, primary_key=True, autoincrement=False),
    # JSON: the ids of the newest keys, claimed ones too, which must not come back. An index of them all would cost an
    # upload as much as the keys themselves.
    Column("ids", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

fallback_keys = Table(
    "fallback_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("algorithm", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("used", Boolean, nullable=False),
    Column("json", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

cross_signing_keys = Table(
    "cross_signing_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("usage", Text, primary_key=True),  # master, self_signing, user_signing
    Column("json", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

key_signatures = Table(
    "key_signatures",
    metadata,
    # Signatures that came after the key itself: of devices by self-signing keys, of master keys by devices and users.
    Column("target_user", Text, primary_key=True),
    Column("target_key", Text, primary_key=True),  # a device id, or the public key of a master key
    Column("signer_user", Text, primary_key=True),
    Column("signer_key", Text, primary_key=True),  # ed25519:…
    Column("signature", Text, nullable=False),
    sqlite_with_rowid=False,
)

dehydrated_devices = Table(
    "dehydrated_devices",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

device_lists = Table(
    "device_lists",
    metadata,
    Column("user_id", Text, primary_key=True),
    # For one reader only, whose own signature is what changed; empty: for everybody who shares a room.
    Column("reader", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, index=True),  # of the last change
    sqlite_with_rowid=False,
)

to_device = Table(
    "to_device",
    metadata,
    # PostgreSQL only: a message that waits, by its device (`devices.nid`), its place in the log and in its request.
    Column("device", BigInteger, primary_key=True, autoincrement=False),
    Column("pack", BigInteger, primary_key=True, autoincrement=False),
    Column("json", LargeBinary, nullable=False),
    Index("ix_to_device_pack", "pack").ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,
)

to_device_blocks = Table(
    "to_device_blocks",
    metadata,
    # SQLite only: that messages of a pack wait for devices of a block (`devices.nid` divided by the size of a block).
    # Numbers, and one row for several devices, since a request for a thousand changes places all over the table.
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("pack", BigInteger, primary_key=True, autoincrement=False),
    Column("waiting", BigInteger, nullable=False),  # a bit for each device of the block, by the remainder; never none
    sqlite_with_rowid=False,
)

to_device_packs = Table(
    "to_device_packs",
    metadata,
    # SQLite only: messages of one request, until none of them waits any more. A row for a few costs less than a row for
    # each, and these are written to one end of the table, the id being the position in the log and 20 bits to tell a
    # request's packs apart.
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("devices", Text, nullable=False),  # JSON: for whom they are, in order
    # A line that all begin with, and one with the content of each. Both are JSON, in which no line ends.
    Column("json", LargeBinary, nullable=False),
)

request_txns = Table(
    "request_txns",
    metadata,
    # Requests with a transaction id that made no event: done once, whatever is repeated.
    Column("key", LargeBinary, primary_key=True),
    Column("position", BigInteger, nullable=False, index=True),
)
