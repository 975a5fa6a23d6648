"""Users, devices, sessions, interactive authentication, profiles, account data and filters.

Secrets are stored as digests only: refresh and login tokens as SHA-256, passwords as Argon2id. Everything that
clients can make without an account (interactive sessions) expires; everything else is bounded per user.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from homeserver.storage.schema.base import metadata

users = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),  # local users only
    Column("search", Text, nullable=False),  # user id and display name, folded, for the user directory
    Column("password_hash", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("appservice_id", Text),
    Column("is_admin", Boolean, nullable=False),
    Column("is_guest", Boolean, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("suspended", Boolean, nullable=False),
    Column("deactivated", Boolean, nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("site_id", Text),  # of visitors of support chats
)

devices = Table(
    "devices",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("nid", BigInteger, nullable=False),  # never given twice
    Column("display_name", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger),
    Column("seen_ip", Text),
    Column("seen_agent", Text),
    Index("ix_devices_nid", "nid", unique=True),
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("refreshable", Boolean, nullable=False),
    # The newest generation of tokens the client has shown to possess; older ones are dead.
    Column("confirmed", BigInteger, nullable=False),
    Column("issued", BigInteger, nullable=False),  # the newest generation given out
    Index("ix_sessions_device", "user_id", "device_id", unique=True),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("ix_refresh_tokens_session", "session_id", "generation"),
    Index("ix_refresh_tokens_expires_ms", "expires_ms"),
)

login_tokens = Table(
    "login_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", Text, nullable=False, index=True),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)

interactive_sessions = Table(
    "interactive_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of the session id
    Column("operation", Text, nullable=False),
    Column("user_id", Text),
    Column("body_mac", LargeBinary),  # keyed by the session id, which is not stored
    Column("completed", LargeBinary, nullable=False),  # JSON {stage: result}
    Column("used", Boolean, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    Column("body", LargeBinary),  # sealed with a key made of the session id
)

registration_tokens = Table(
    "registration_tokens",
    metadata,
    Column("token", Text, primary_key=True),
    Column("uses_allowed", Integer),
    Column("pending", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("expires_ms", BigInteger),
)

profile_fields = Table(
    "profile_fields",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),  # JSON
)

account_data = Table(
    "account_data",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("room_id", Text, primary_key=True),  # '' for global account data
    Column("type", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),  # JSON
    Index("ix_account_data_position", "user_id", "position"),
)

filters = Table(
    "filters",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("filter_id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("definition", LargeBinary, nullable=False),  # JSON
    Index("ix_filters_digest", "user_id", "digest", unique=True),
)
