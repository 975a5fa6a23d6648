"""The words of messages, room names and topics, for `POST /search`: each database's own index over whole words.

Which words there are is decided by `core/searching`, alike for both; the databases cut nothing themselves. A row has
beside them a word for the room and one for the kind of text (`repos/search.py`), so that both narrow a search down
inside the index. SQLAlchemy has no such tables, so they stand here as they are written.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, event, text

from homeserver.storage.schema.base import metadata

CREATE = {
    "sqlite": (
        "CREATE VIRTUAL TABLE IF NOT EXISTS event_search USING fts5(words, detail=none, columnsize=0, prefix='3', "
        """tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* Co Cn'")""",
    ),
    "postgresql": (
        "CREATE TABLE IF NOT EXISTS event_search "
        "(nid bigint CONSTRAINT pk_event_search PRIMARY KEY, words tsvector NOT NULL)",
        "CREATE INDEX IF NOT EXISTS ix_event_search_words ON event_search USING gin (words)",
    ),
}


@event.listens_for(metadata, "after_create")
def _create(_metadata: MetaData, connection: Any, **_options: Any) -> None:
    for statement in CREATE[connection.dialect.name]:
        connection.execute(text(statement))


@event.listens_for(metadata, "after_drop")
def _drop(_metadata: MetaData, connection: Any, **_options: Any) -> None:
    connection.execute(text("DROP TABLE event_search"))
