"""Who does what one process does for all of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from homeserver.storage.schema.base import metadata

duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),  # for people who look; NULL: given back
    Column("term", BigInteger, nullable=False),  # one more with every holder: the former one's writes are refused
    Column("beat", BigInteger, nullable=False),  # counted on while the holder lives
)
