"""Accounts of people who log in at login providers."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Table, Text

from homeserver.storage.schema.base import metadata

identities = Table(
    "identities",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # of the person, at the provider
    Column("user_id", Text, nullable=False, unique=True),
    Column("stamp", Text, nullable=False),  # of what was last seen of the person's profile
    Column("disabled", Boolean, nullable=False),
)
