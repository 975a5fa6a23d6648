"""SQLAlchemy Core implementation of the storage ports for SQLite and PostgreSQL."""
