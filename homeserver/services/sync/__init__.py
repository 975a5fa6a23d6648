"""Sync: what changed for a user since a position. One computation, several faces (long poll, WebSocket, sliding)."""
