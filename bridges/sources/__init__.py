"""Databases that are captured."""
