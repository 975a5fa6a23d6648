"""Federation role: the Server-Server API, inbound and outbound."""
