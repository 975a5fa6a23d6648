"""Smaller pictures, made in worker processes."""
