"""Rooms: the one writer of events, what users do in rooms, and what they may read. See docs/subsystems/rooms.md."""
