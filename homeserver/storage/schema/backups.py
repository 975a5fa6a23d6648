"""Backups of room keys: what clients have encrypted for themselves.  spec: client-server-api#server-side-key-backups

Everything here ends with its version, and all versions with their user.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text, text

from homeserver.storage.schema.base import metadata

key_backup_counters = Table(
    "key_backup_counters",
    metadata,
    # Numbers are given once: a version up to `last` that is not there has been deleted.
    Column("user_id", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

key_backups = Table(
    "key_backups",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("auth_data", LargeBinary, nullable=False),  # JSON object
    Column("etag", BigInteger, nullable=False),  # counts the transactions that changed a key
    Column("count", BigInteger, nullable=False),  # of keys: kept, because counting 100,000 rows takes long
    Column("bytes", BigInteger, nullable=False),  # of their session data: kept, too
    Column("deleted", Boolean, nullable=False),  # nobody sees it; its keys are being deleted, some at a time
    sqlite_with_rowid=False,
)
Index(
    "ix_key_backups_deleted",
    key_backups.c.user_id,
    key_backups.c.version,
    sqlite_where=text("deleted"),
    postgresql_where=text("deleted"),
)

key_backup_keys = Table(
    "key_backup_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("room_id", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("first_message_index", BigInteger, nullable=False),
    Column("forwarded_count", BigInteger, nullable=False),
    Column("is_verified", Boolean, nullable=False),
    Column("session_data", Text, nullable=False),  # JSON object, as text: it comes many at a time in one parameter
    sqlite_with_rowid=False,
)
