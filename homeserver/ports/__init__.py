"""Protocols between the services and the world (storage, bus, clock). No behaviour lives here."""
