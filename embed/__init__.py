"""Embed role: the support widget and the bundled web client."""
