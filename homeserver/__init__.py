"""Hromada: a Matrix homeserver. This package holds what all roles share (docs/adr/0001-packages-and-layers.md)."""

__version__ = "0.1.0"
