"""The initial schema, written by `homeserver.storage.migrations.draft`; the schema modules explain it."""
# long: one function for each table, written by a program

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001.9995"
down_revision = None
branch_labels = None
depends_on = None


# long: one call for each table
def upgrade() -> None:  # noqa: PLR0915 - one call for each table
    """Create every table."""
    _account_data()
    _acts()
    _address_checks()
    _appservice_deliveries()
    _appservice_rooms()
    _auth_graph()
    _blobs()
    _blocked_rooms()
    _counters()
    _cross_signing_keys()
    _current_state()
    _dehydrated_devices()
    _device_keys()
    _device_lists()
    _devices()
    _duties()
    _erasures()
    _event_mentions()
    _event_relations()
    _event_txns()
    _event_views()
    _events()
    _fallback_keys()
    _filters()
    _gaps()
    _identities()
    _interactive_sessions()
    _key_backup_counters()
    _key_backup_keys()
    _key_backups()
    _key_queues()
    _key_signatures()
    _late_events()
    _log_entries()
    _login_tokens()
    _media()
    _memberships()
    _one_time_key_ids()
    _one_time_keys()
    _profile_fields()
    _push_cursor()
    _pushers()
    _receipts()
    _redactions_waiting()
    _refresh_tokens()
    _registration_tokens()
    _reports()
    _request_txns()
    _room_aliases()
    _room_sizes()
    _rooms()
    _sessions()
    _snapshot_deltas()
    _snapshots()
    _state_changes()
    _support_blocked_addresses()
    _support_cases()
    _support_jtis()
    _support_sites()
    _support_visitors()
    _to_device()
    _to_device_blocks()
    _to_device_packs()
    _url_previews()
    _user_addresses()
    _users()
    _event_search()


def _account_data() -> None:
    op.create_table(
        "account_data",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_id", "type", name="pk_account_data"),
    )
    op.create_index("ix_account_data_position", "account_data", ["user_id", "position"], unique=False)


def _acts() -> None:
    op.create_table(
        "acts",
        sa.Column("act_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("admin", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("act_id", name="pk_acts"),
    )
    op.create_index("ix_acts_target", "acts", ["target", "act_id"], unique=False)
    op.create_index("ix_acts_ts", "acts", ["ts"], unique=False)


def _address_checks() -> None:
    op.create_table(
        "address_checks",
        sa.Column("sid", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("send_attempt", sa.BigInteger(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("validated_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sid", name="pk_address_checks"),
        sa.UniqueConstraint("key", name="uq_address_checks_key"),
    )
    op.create_index("ix_address_checks_expires_ms", "address_checks", ["expires_ms"], unique=False)
    op.create_index("ix_address_checks_user_id", "address_checks", ["user_id"], unique=False)


def _appservice_deliveries() -> None:
    op.create_table(
        "appservice_deliveries",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("txn_id", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("service", name="pk_appservice_deliveries"),
    )


def _appservice_rooms() -> None:
    op.create_table(
        "appservice_rooms",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("service", "network", "room_nid", name="pk_appservice_rooms"),
        sqlite_with_rowid=False,
    )


def _auth_graph() -> None:
    op.create_table(
        "auth_graph",
        sa.Column("nid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("is_power", sa.Boolean(), nullable=False),
        sa.Column("parents", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("nid", name="pk_auth_graph"),
    )
    op.create_index("ix_auth_graph_room_nid", "auth_graph", ["room_nid"], unique=False)


def _blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("condemned_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_blobs_condemned",
        "blobs",
        ["condemned_ms"],
        unique=False,
        sqlite_where=sa.text("condemned_ms IS NOT NULL"),
        postgresql_where=sa.text("condemned_ms IS NOT NULL"),
    )
    op.create_index("ix_blobs_store", "blobs", ["store", "digest"], unique=False)


def _blocked_rooms() -> None:
    op.create_table(
        "blocked_rooms",
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("blocked_by", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", name="pk_blocked_rooms"),
    )


def _counters() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
        postgresql_with={"fillfactor": "10"},
        sqlite_with_rowid=False,
    )
    values = "('device', 0), ('key', 0), ('log', 0), ('outlier', 0), ('room', 0), ('snapshot', 0)"
    op.execute(f"INSERT INTO counters (name, value) VALUES {values}")


def _cross_signing_keys() -> None:
    op.create_table(
        "cross_signing_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("json", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "usage", name="pk_cross_signing_keys"),
        sqlite_with_rowid=False,
    )


def _current_state() -> None:
    op.create_table(
        "current_state",
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("membership", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("room_nid", "type", "state_key", name="pk_current_state"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_current_state_membership",
        "current_state",
        ["room_nid", "membership", "event_nid"],
        unique=False,
        sqlite_where=sa.text("membership IS NOT NULL"),
        postgresql_where=sa.text("membership IS NOT NULL"),
    )


def _dehydrated_devices() -> None:
    op.create_table(
        "dehydrated_devices",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_dehydrated_devices"),
    )


def _device_keys() -> None:
    op.create_table(
        "device_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("json", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name="pk_device_keys"),
        sqlite_with_rowid=False,
    )


def _device_lists() -> None:
    op.create_table(
        "device_lists",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "reader", name="pk_device_lists"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_device_lists_position", "device_lists", ["position"], unique=False)


def _devices() -> None:
    op.create_table(
        "devices",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("nid", sa.BigInteger(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("seen_ip", sa.Text(), nullable=True),
        sa.Column("seen_agent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "device_id", name="pk_devices"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_devices_nid", "devices", ["nid"], unique=True)


def _duties() -> None:
    op.create_table(
        "duties",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_duties"),
    )


def _erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("ord", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "user_id", name="pk_erasures"),
        sqlite_with_rowid=False,
    )


def _event_mentions() -> None:
    op.create_table(
        "event_mentions",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("ord", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_nid", "ord", name="pk_event_mentions"),
        sqlite_with_rowid=False,
    )


def _event_relations() -> None:
    op.create_table(
        "event_relations",
        sa.Column(
            "event_nid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("target_event_id", sa.Text(), nullable=False),
        sa.Column("rel_type", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("recency", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("event_nid", name="pk_event_relations"),
    )
    op.create_index("ix_event_relations_room", "event_relations", ["room_nid", "rel_type", "event_nid"], unique=False)
    op.create_index(
        "ix_event_relations_target", "event_relations", ["target_event_id", "rel_type", "event_nid"], unique=False
    )


def _event_txns() -> None:
    op.create_table(
        "event_txns",
        sa.Column(
            "event_nid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("txn_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_nid", name="pk_event_txns"),
        sa.UniqueConstraint("key", name="uq_event_txns_key"),
    )


def _event_views() -> None:
    op.create_table(
        "event_views",
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("ord", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "ord", "user_id", name="pk_event_views"),
        sqlite_with_rowid=False,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("nid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("ord", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=True),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("snapshot_nid", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.SmallInteger(), nullable=False),
        sa.Column("push", sa.SmallInteger(), nullable=False),
        sa.Column("json", sa.LargeBinary(), nullable=False),
        sa.Column("unsigned", sa.LargeBinary(), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("redacted_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("nid", name="pk_events"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
    )
    op.create_index(
        "ix_events_state",
        "events",
        ["room_nid", "type", "state_key", "nid"],
        unique=False,
        sqlite_where=sa.text("state_key IS NOT NULL"),
        postgresql_where=sa.text("state_key IS NOT NULL"),
    )
    op.create_index("ix_events_timeline", "events", ["room_nid", "ord"], unique=True)


def _fallback_keys() -> None:
    op.create_table(
        "fallback_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.Column("json", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", "algorithm", name="pk_fallback_keys"),
        sqlite_with_rowid=False,
    )


def _filters() -> None:
    op.create_table(
        "filters",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("filter_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("definition", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "filter_id", name="pk_filters"),
    )
    op.create_index("ix_filters_digest", "filters", ["user_id", "digest"], unique=True)


def _gaps() -> None:
    op.create_table(
        "gaps",
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("below_ord", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "event_id", name="pk_gaps"),
        sqlite_with_rowid=False,
    )


def _identities() -> None:
    op.create_table(
        "identities",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "key", name="pk_identities"),
        sa.UniqueConstraint("user_id", name="uq_identities_user_id"),
    )


def _interactive_sessions() -> None:
    op.create_table(
        "interactive_sessions",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("body_mac", sa.LargeBinary(), nullable=True),
        sa.Column("completed", sa.LargeBinary(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_interactive_sessions"),
    )
    op.create_index("ix_interactive_sessions_expires_ms", "interactive_sessions", ["expires_ms"], unique=False)


def _key_backup_counters() -> None:
    op.create_table(
        "key_backup_counters",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_key_backup_counters"),
        sqlite_with_rowid=False,
    )


def _key_backup_keys() -> None:
    op.create_table(
        "key_backup_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("first_message_index", sa.BigInteger(), nullable=False),
        sa.Column("forwarded_count", sa.BigInteger(), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("session_data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "version", "room_id", "session_id", name="pk_key_backup_keys"),
        sqlite_with_rowid=False,
    )


def _key_backups() -> None:
    op.create_table(
        "key_backups",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("auth_data", sa.LargeBinary(), nullable=False),
        sa.Column("etag", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "version", name="pk_key_backups"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_key_backups_deleted",
        "key_backups",
        ["user_id", "version"],
        unique=False,
        sqlite_where=sa.text("deleted"),
        postgresql_where=sa.text("deleted"),
    )


def _key_queues() -> None:
    op.create_table(
        "key_queues",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("queue", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("claimed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", "algorithm", name="pk_key_queues"),
        postgresql_with={"fillfactor": "70"},
        sqlite_with_rowid=False,
    )


def _key_signatures() -> None:
    op.create_table(
        "key_signatures",
        sa.Column("target_user", sa.Text(), nullable=False),
        sa.Column("target_key", sa.Text(), nullable=False),
        sa.Column("signer_user", sa.Text(), nullable=False),
        sa.Column("signer_key", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target_user", "target_key", "signer_user", "signer_key", name="pk_key_signatures"),
        sqlite_with_rowid=False,
    )


def _late_events() -> None:
    op.create_table(
        "late_events",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_late_events"),
        sa.UniqueConstraint("event_nid", name="uq_late_events_event_nid"),
    )


def _log_entries() -> None:
    op.create_table(
        "log_entries",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_log_entries"),
    )


def _login_tokens() -> None:
    op.create_table(
        "login_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_login_tokens"),
    )
    op.create_index("ix_login_tokens_expires_ms", "login_tokens", ["expires_ms"], unique=False)
    op.create_index("ix_login_tokens_user_id", "login_tokens", ["user_id"], unique=False)


def _media() -> None:
    op.create_table(
        "media",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("media_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("upload_name", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("accessed_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("quarantined_by", sa.Text(), nullable=True),
        sa.Column("protected", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "media_id", name="pk_media"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_media_accessed", "media", ["kind", "accessed_ms"], unique=False)
    op.create_index("ix_media_digest", "media", ["digest"], unique=False)
    op.create_index(
        "ix_media_expires",
        "media",
        ["expires_ms"],
        unique=False,
        sqlite_where=sa.text("expires_ms IS NOT NULL"),
        postgresql_where=sa.text("expires_ms IS NOT NULL"),
    )
    op.create_index("ix_media_user", "media", ["user_id", "size"], unique=False)


def _memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("membership", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("forgotten", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_nid", name="pk_memberships"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_memberships_room", "memberships", ["room_nid", "membership"], unique=False)


def _one_time_key_ids() -> None:
    op.create_table(
        "one_time_key_ids",
        sa.Column("queue", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("queue", name="pk_one_time_key_ids"),
        sqlite_with_rowid=False,
    )


def _one_time_keys() -> None:
    op.create_table(
        "one_time_keys",
        sa.Column("queue", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "first", name="pk_one_time_keys"),
        sqlite_with_rowid=False,
    )


def _profile_fields() -> None:
    op.create_table(
        "profile_fields",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "name", name="pk_profile_fields"),
    )


def _push_cursor() -> None:
    op.create_table(
        "push_cursor",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_push_cursor"),
    )


def _pushers() -> None:
    op.create_table(
        "pushers",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("pushkey", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("app_display_name", sa.Text(), nullable=False),
        sa.Column("device_display_name", sa.Text(), nullable=False),
        sa.Column("profile_tag", sa.Text(), nullable=True),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("set_ms", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failing_ms", sa.BigInteger(), nullable=True),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("mails", sa.BigInteger(), nullable=False),
        sa.Column("mailed_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "app_id", "pushkey", name="pk_pushers"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_pushers_pushkey", "pushers", ["pushkey"], unique=False)


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("ord", sa.BigInteger(), nullable=True),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "user_id", "type", "thread_id", name="pk_receipts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_receipts_room_position", "receipts", ["room_nid", "position"], unique=False)


def _redactions_waiting() -> None:
    op.create_table(
        "redactions_waiting",
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "target_id", "event_nid", name="pk_redactions_waiting"),
        sqlite_with_rowid=False,
    )


def _refresh_tokens() -> None:
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_refresh_tokens"),
    )
    op.create_index("ix_refresh_tokens_expires_ms", "refresh_tokens", ["expires_ms"], unique=False)
    op.create_index("ix_refresh_tokens_session", "refresh_tokens", ["session_id", "generation"], unique=False)


def _registration_tokens() -> None:
    op.create_table(
        "registration_tokens",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("uses_allowed", sa.Integer(), nullable=True),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token", name="pk_registration_tokens"),
    )


def _reports() -> None:
    op.create_table(
        "reports",
        sa.Column("report_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("room_id", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name="pk_reports"),
    )
    op.create_index("ix_reports_ts", "reports", ["ts"], unique=False)


def _request_txns() -> None:
    op.create_table(
        "request_txns",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_request_txns"),
    )
    op.create_index("ix_request_txns_position", "request_txns", ["position"], unique=False)


def _room_aliases() -> None:
    op.create_table(
        "room_aliases",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name="pk_room_aliases"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_room_aliases_creator", "room_aliases", ["creator"], unique=False)
    op.create_index("ix_room_aliases_room_nid", "room_aliases", ["room_nid"], unique=False)


def _room_sizes() -> None:
    op.create_table(
        "room_sizes",
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", name="pk_room_sizes"),
        sqlite_with_rowid=False,
    )


def _rooms() -> None:
    op.create_table(
        "rooms",
        sa.Column(
            "room_nid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("room_version", sa.Text(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("head_version", sa.BigInteger(), nullable=False),
        sa.Column("extremities", sa.Text(), nullable=False),
        sa.Column("snapshot_nid", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", name="pk_rooms"),
        sa.UniqueConstraint("room_id", name="uq_rooms_room_id"),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_rooms_public",
        "rooms",
        ["room_nid"],
        unique=False,
        sqlite_where=sa.text("is_public"),
        postgresql_where=sa.text("is_public"),
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("refreshable", sa.Boolean(), nullable=False),
        sa.Column("confirmed", sa.BigInteger(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_device", "sessions", ["user_id", "device_id"], unique=True)


def _snapshot_deltas() -> None:
    op.create_table(
        "snapshot_deltas",
        sa.Column("snapshot_nid", sa.BigInteger(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_nid", "event_nid", name="pk_snapshot_deltas"),
        sqlite_with_rowid=False,
    )


def _snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column(
            "snapshot_nid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("parent_nid", sa.BigInteger(), nullable=False),
        sa.Column("chain_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_nid", name="pk_snapshots"),
    )


def _state_changes() -> None:
    op.create_table(
        "state_changes",
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=True),
        sa.Column("snapshot_nid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", "type", "state_key", name="pk_state_changes"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_state_changes_room", "state_changes", ["room_nid", "position"], unique=False)


def _support_blocked_addresses() -> None:
    op.create_table(
        "support_blocked_addresses",
        sa.Column("site_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "digest", "number", name="pk_support_blocked_addresses"),
    )
    op.create_index("ix_support_blocked_addresses_until_ms", "support_blocked_addresses", ["until_ms"], unique=False)


def _support_cases() -> None:
    op.create_table(
        "support_cases",
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("site_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("visitor_id", sa.Text(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("assignee", sa.Text(), nullable=True),
        sa.Column("offered", sa.Text(), nullable=True),
        sa.Column("offered_ms", sa.BigInteger(), nullable=True),
        sa.Column("card_id", sa.Text(), nullable=True),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("excerpt", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("resolved_ms", sa.BigInteger(), nullable=True),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("renewed", sa.Integer(), nullable=False),
        sa.Column("said_ms", sa.BigInteger(), nullable=True),
        sa.Column("mailed_ms", sa.BigInteger(), nullable=True),
        sa.Column("blocked_ms", sa.BigInteger(), nullable=True),
        sa.Column("blocked_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("room_id", name="pk_support_cases"),
    )
    op.create_index("ix_support_cases_card_id", "support_cases", ["card_id"], unique=False)
    op.create_index("ix_support_cases_number", "support_cases", ["site_id", "number"], unique=True)
    op.create_index("ix_support_cases_said", "support_cases", ["site_id", "said_ms"], unique=False)
    op.create_index("ix_support_cases_status", "support_cases", ["site_id", "status"], unique=False)
    op.create_index("ix_support_cases_visitor_id", "support_cases", ["visitor_id"], unique=False)


def _support_jtis() -> None:
    op.create_table(
        "support_jtis",
        sa.Column("site_id", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "jti", name="pk_support_jtis"),
    )
    op.create_index("ix_support_jtis_expires_ms", "support_jtis", ["expires_ms"], unique=False)


def _support_sites() -> None:
    op.create_table(
        "support_sites",
        sa.Column("site_id", sa.Text(), nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("space_id", sa.Text(), nullable=False),
        sa.Column("desk_id", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_case", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("seen_origin", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("site_id", name="pk_support_sites"),
    )


def _support_visitors() -> None:
    op.create_table(
        "support_visitors",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("site_id", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("begun", sa.LargeBinary(), nullable=True),
        sa.Column("room_id", sa.Text(), nullable=True),
        sa.Column("notice", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_support_visitors"),
    )
    op.create_index("ix_support_visitors_begun", "support_visitors", ["begun"], unique=True)
    op.create_index("ix_support_visitors_seen", "support_visitors", ["site_id", "seen_ms"], unique=False)
    op.create_index("ix_support_visitors_subject", "support_visitors", ["site_id", "subject"], unique=True)


def _to_device() -> None:
    op.create_table(
        "to_device",
        sa.Column("device", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pack", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("json", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("device", "pack", name="pk_to_device"),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_to_device_pack", "to_device", ["pack"], unique=False)


def _to_device_blocks() -> None:
    op.create_table(
        "to_device_blocks",
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pack", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("block", "pack", name="pk_to_device_blocks"),
        sqlite_with_rowid=False,
    )


def _to_device_packs() -> None:
    op.create_table(
        "to_device_packs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("devices", sa.Text(), nullable=False),
        sa.Column("json", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_to_device_packs"),
    )


def _url_previews() -> None:
    op.create_table(
        "url_previews",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("fetched_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_url_previews"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_url_previews_expires_ms", "url_previews", ["expires_ms"], unique=False)


def _user_addresses() -> None:
    op.create_table(
        "user_addresses",
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("validated_ms", sa.BigInteger(), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("medium", "address", name="pk_user_addresses"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_user_addresses_user_id", "user_addresses", ["user_id"], unique=False)


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("appservice_id", sa.Text(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("is_guest", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("deactivated", sa.Boolean(), nullable=False),
        sa.Column("erased", sa.Boolean(), nullable=False),
        sa.Column("site_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
    )


def _event_search() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS event_search USING fts5(words, detail=none, columnsize="
            "0, prefix='3', tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* Co Cn'\")"
        )
    else:
        op.execute(
            "CREATE TABLE IF NOT EXISTS event_search (nid bigint CONSTRAINT pk_event_search PRIMARY KEY"
            ", words tsvector NOT NULL)"
        )
        op.execute("CREATE INDEX IF NOT EXISTS ix_event_search_words ON event_search USING gin (words)")
