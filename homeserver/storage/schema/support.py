"""Support chats on other websites: sites, visitors, cases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from homeserver.storage.schema.base import metadata

support_sites = Table(
    "support_sites",
    metadata,
    Column("site_id", Text, primary_key=True),
    Column("config", LargeBinary, nullable=False),  # JSON
    Column("bot", Text, nullable=False),
    Column("space_id", Text, nullable=False),
    Column("desk_id", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_case", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("seen_ms", BigInteger),
    Column("seen_origin", Text),
)

support_visitors = Table(
    "support_visitors",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("site_id", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("subject", Text),
    Column("begun", LargeBinary),
    Column("room_id", Text),
    Column("notice", Text, nullable=False),
    Index("ix_support_visitors_subject", "site_id", "subject", unique=True),
    Index("ix_support_visitors_begun", "begun", unique=True),
    Index("ix_support_visitors_seen", "site_id", "seen_ms"),
)

support_cases = Table(
    "support_cases",
    metadata,
    Column("room_id", Text, primary_key=True),
    Column("site_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("visitor_id", Text, nullable=False, index=True),
    Column("opened_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("assignee", Text),
    Column("offered", Text),
    Column("offered_ms", BigInteger),
    Column("card_id", Text, index=True),
    Column("page", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("excerpt", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("answered_ms", BigInteger),
    Column("resolved_ms", BigInteger),
    Column("rating", Integer),
    Column("waiting", Boolean, nullable=False),
    Column("renewed", Integer, nullable=False),
    Column("said_ms", BigInteger),
    Column("mailed_ms", BigInteger),
    Column("blocked_ms", BigInteger),
    Column("blocked_by", Text),
    Index("ix_support_cases_said", "site_id", "said_ms"),
    Index("ix_support_cases_number", "site_id", "number", unique=True),
    Index("ix_support_cases_status", "site_id", "status"),
)

support_jtis = Table(
    "support_jtis",
    metadata,
    Column("site_id", Text, primary_key=True),
    Column("jti", Text, primary_key=True),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)

support_blocked_addresses = Table(
    "support_blocked_addresses",
    metadata,
    # From where nobody new may write for a time, and because of which cases.
    Column("site_id", Text, primary_key=True),
    Column("digest", Text, primary_key=True),  # of the address, under a key that is not in the database
    Column("number", Integer, primary_key=True),
    Column("until_ms", BigInteger, nullable=False, index=True),
)
