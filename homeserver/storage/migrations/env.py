"""Run by Alembic: applies revisions on the connection that `migrate` opened, inside its transaction."""

from alembic import context

from homeserver.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can alter little in place; changes to tables are written as copies.
    render_as_batch=True,
    # We begin SQLite's transactions ourselves, and then its DDL is transactional.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
