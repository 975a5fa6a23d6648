"""The initial schema, written by `homeserver.storage.migrations.draft`; the schema modules explain it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _counters()
    _current_state()
    _event_txns()
    _events()
    _memberships()
    _room_aliases()
    _rooms()
    _snapshot_deltas()
    _snapshots()


def _counters() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
        postgresql_with={"fillfactor": "10"},
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('log', 0), ('outlier', 0), ('room', 0), ('snapshot', 0)")


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


def _event_txns() -> None:
    op.create_table(
        "event_txns",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("txn_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_event_txns"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_event_txns_event_nid", "event_txns", ["event_nid"], unique=False)


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
        sa.Column("json", sa.LargeBinary(), nullable=False),
        sa.Column("unsigned", sa.LargeBinary(), nullable=True),
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


def _memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("membership", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("forgotten", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_nid", name="pk_memberships"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_memberships_room", "memberships", ["room_nid", "membership"], unique=False)


def _room_aliases() -> None:
    op.create_table(
        "room_aliases",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name="pk_room_aliases"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_room_aliases_room_nid", "room_aliases", ["room_nid"], unique=False)


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
