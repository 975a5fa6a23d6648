"""Media role: the content repository."""
