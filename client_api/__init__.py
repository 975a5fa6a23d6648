"""Client role: the Client-Server API over HTTP and WebSocket."""
