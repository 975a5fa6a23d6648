"""Media: what was uploaded, which stored content it is, and what pages on the web say of themselves.

A media id is a row of `media`; equal content is stored once, as a row of `blobs`. A blob without media is condemned
first and deleted after, so that a crash in between leaves something a sweep can find.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text, text

from homeserver.storage.schema.base import metadata

media = Table(
    "media",
    metadata,
    Column("origin", Text, primary_key=True),  # the server name in the mxc URI
    Column("media_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # upload, preview, remote
    Column("user_id", Text),  # who uploaded it, if that was somebody of this server
    Column("content_type", Text, nullable=False),
    Column("upload_name", Text),
    Column("size", BigInteger),  # of the content; NULL until it has been uploaded
    Column("digest", LargeBinary),  # SHA-256 of the content
    Column("created_ms", BigInteger, nullable=False),
    Column("accessed_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),  # the content must come before
    Column("quarantined_by", Text),
    Column("protected", Boolean, nullable=False),  # never quarantined or deleted by age
    Index("ix_media_user", "user_id", "size"),
    Index("ix_media_digest", "digest"),
    Index("ix_media_accessed", "kind", "accessed_ms"),
    Index(
        "ix_media_expires",
        "expires_ms",
        sqlite_where=text("expires_ms IS NOT NULL"),
        postgresql_where=text("expires_ms IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("store", Text, nullable=False),  # the name of the store that holds it
    Column("size", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("condemned_ms", BigInteger),  # since when no media refers to it
    Index(
        "ix_blobs_condemned",
        "condemned_ms",
        sqlite_where=text("condemned_ms IS NOT NULL"),
        postgresql_where=text("condemned_ms IS NOT NULL"),
    ),
    Index("ix_blobs_store", "store", "digest"),
    sqlite_with_rowid=False,
)

url_previews = Table(
    "url_previews",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of address and languages
    Column("fetched_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),  # what clients get, as JSON
    sqlite_with_rowid=False,
)
