"""What is kept for application services.  spec: application-service-api"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from homeserver.storage.schema.base import metadata

appservice_deliveries = Table(
    "appservice_deliveries",
    metadata,
    Column("service", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),  # one more with every write: two owners cannot both go on
    Column("position", BigInteger, nullable=False),  # of the log, up to which everything is told or in `body`
    Column("txn_id", Text),
    Column("body", LargeBinary),  # sent and not acknowledged yet; NULL: nothing is
)

appservice_rooms = Table(
    "appservice_rooms",
    metadata,
    # Rooms in the directories of third-party networks.
    Column("service", Text, primary_key=True),
    Column("network", Text, primary_key=True),
    Column("room_nid", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
