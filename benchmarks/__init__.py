"""The benchmark: drives any Matrix homeserver over HTTP and counts what the server and its database spend on it."""
