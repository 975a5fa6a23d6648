"""The storage ports on SQLite and PostgreSQL, by plain statements through the drivers (ADR 0005)."""
