"""HTTP and WebSocket plumbing shared by the roles. Knows nothing of rooms."""
