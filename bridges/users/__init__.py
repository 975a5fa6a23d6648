"""The users of other sites, as they stand in those sites' databases: found, and their passwords checked."""
